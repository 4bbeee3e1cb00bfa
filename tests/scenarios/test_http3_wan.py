"""HTTP/3 between two network namespaces with a long wire between them that loses packets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # perf is no part of the wheel

from perf import wan  # noqa: E402
from perf.errors import NotAvailableError  # noqa: E402
from perf.machine import plan_cores  # noqa: E402
from tests.processes import Headland  # noqa: E402
from tests.quic import HOST, client, configure, settings  # noqa: E402
from tests.scripted import ScriptedOrigin  # noqa: E402

FIELDS = {"Cache-Control": "max-age=600"}
BODY = random.Random(11).randbytes(2 << 20)  # noqa: S311 - the same bytes in every run
WAIT_S = 120.0

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not (shutil.which("cc") and shutil.which("ip")), reason="not installed: cc or ip"),
]


@contextlib.contextmanager
def _link(loss_percent: float, folder: Path) -> Iterator[wan.Wan]:
    try:
        link = wan.Link(delay_ms=50.0, loss_percent=loss_percent)
        with wan.up(link, folder, plan_cores().load) as up:
            yield up
    except NotAvailableError as error:
        pytest.skip(str(error))


async def _exchange(places: dict[str, str], path: str) -> None:
    """The object twice at a time and half of it, and what goes up comes to its end."""
    async with client(places, settings(max_data=4 << 20, max_stream_data=4 << 20)) as asked:
        whole = [asked.ask("GET", HOST, path) for _ in range(2)]
        half = asked.ask("GET", HOST, path, [("range", f"bytes={len(BODY) // 2}-")])
        up = asked.ask("POST", HOST, path + "/up", body=BODY[: 256 << 10])
        first, second, part, upload = await asyncio.wait_for(asyncio.gather(*whole, half, up), WAIT_S)
    assert first.body == BODY
    assert second.body == BODY
    assert (part.status, bytes(part.body)) == (206, BODY[len(BODY) // 2 :])
    assert upload.body == b"taken"


@pytest.mark.parametrize("loss_percent", [0.0, 1.0, 5.0])
def test_bodies_are_whole_over_a_long_way_that_loses(loss_percent: float, tmp_path: Path) -> None:
    with _link(loss_percent, tmp_path) as link, ScriptedOrigin() as origin:
        origin.says("/body", FIELDS, BODY)
        origin.says("/body/up", {}, "taken")
        file = configure(tmp_path, origin.url)
        file.write_text(file.read_text().replace('https = "127.0.0.1:0"', f'https = "{link.near_address}:0"'))
        with Headland("serve", "--config", file) as node:
            places = node.serving()
            # Sockets are made where the thread is; the client is at the far end.
            with wan.inside(link.far[-1]):
                asyncio.run(_exchange(places, "/body"))
            assert node.process.poll() is None, node.rest_of("stderr")
        assert origin.asked("/body/up")[0].body == BODY[: 256 << 10]
        assert len(origin.asked("/body")) == 1
