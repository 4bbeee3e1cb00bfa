"""Requests as they come to a CDN: real ones of a shop, and ones drawn from the popularity and sizes of Meta's CDN.

A request is (key, size of the body in bytes). Drawn traces are the same in every run: the seed is fixed. data/README.md
tells where the data is from.
"""

from __future__ import annotations

import gzip
import itertools
import random
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

DATA = Path(__file__).parent / "data"
SHOP_BYTES = 16 * 1024  # the shop's traces have no sizes: pages of one size
SEED = 20260401

Request = tuple[int, int]


def shop(name: str) -> list[Request]:
    """A real trace: `web07` or `web12`."""
    raw = gzip.decompress((DATA / f"{name}.trace.gz").read_bytes())
    return [(key, SHOP_BYTES) for (key,) in struct.iter_unpack(">i", raw)]


def meta(keys: int, requests: int) -> list[Request]:
    """About `keys` keys sampled from Meta's 7.5 million, `requests` requests for them, each independent of the last."""
    draw = random.Random(SEED)
    popularity = _read("meta-cdn-popularity")
    share = keys / sum(popularity["popularityBuckets"])
    weights: list[float] = []
    for count, weight in zip(popularity["popularityBuckets"], popularity["popularityWeights"], strict=True):
        sampled = int(count * share + draw.random())
        weights.extend([weight / count] * sampled)
    sizes = _sizes(draw, len(weights))
    chosen = draw.choices(range(len(weights)), cum_weights=list(itertools.accumulate(weights)), k=requests)
    return [(key, sizes[key]) for key in chosen]


def visits() -> tuple[list[str], list[str]]:
    """Of a real access log: its paths, the most asked for first, and the User-Agent of each request in order."""
    text = gzip.decompress((DATA / "apache-requests.tsv.gz").read_bytes()).decode("ascii")
    pairs = [line.split("\t") for line in text.splitlines()]
    asked = Counter(path for path, _ in pairs)
    return [path for path, _ in asked.most_common()], [agent for _, agent in pairs]


def pack(requests: Sequence[Request]) -> bytes:
    """The form that perf/replay reads."""
    record = struct.Struct("<QI")
    return b"".join(itertools.starmap(record.pack, requests))


def _sizes(draw: random.Random, count: int) -> list[int]:
    found = _read("meta-cdn-sizes")
    return draw.choices(found["valSizeRange"], weights=found["valSizeRangeProbability"], k=count)


def _read(name: str) -> dict[str, list[int]]:
    data = orjson.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    return {key: value for key, value in data.items() if isinstance(value, list)}
