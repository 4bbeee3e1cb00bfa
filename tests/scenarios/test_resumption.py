"""An origin that breaks off in the middle is asked for the rest; only the same representation is joined."""

from __future__ import annotations

import random

import pytest

from tests.curls import Client
from tests.scripted import Exchange, ScriptedOrigin

BODY = random.Random(3).randbytes(200_000)  # noqa: S311 - the same bytes in every run
TAG = '"v1"'
FIELDS = {"Cache-Control": "max-age=60", "ETag": TAG, "Content-Type": "application/octet-stream"}


def _first(exchange: Exchange) -> int:
    return int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))


def _breaks_at(*places: int, length: int | None = len(BODY), **changed: str):
    """A script that breaks off at these bytes, one after the other, and continues each time when asked to."""

    def script(exchange: Exchange) -> None:
        if exchange.headers.get("Range") is None:
            exchange.begin(200, FIELDS, length)
            first = 0
        else:
            first = _first(exchange)
            part = {**FIELDS, "Content-Range": f"bytes {first}-{len(BODY) - 1}/{len(BODY)}"}
            exchange.begin(
                206, {**part, **{name.replace("_", "-"): value for name, value in changed.items()}}, len(BODY) - first
            )
        number = exchange.number - 1
        if number < len(places):
            exchange.send(BODY[first : places[number]])
            exchange.cut()
        else:
            exchange.send(BODY[first:])

    return script


def test_the_rest_is_asked_for_and_the_client_sees_one_whole_answer(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    origin.at(path, _breaks_at(70_000, 150_000))
    answer = client.get(path)
    assert answer.ended == 0
    assert answer.body == BODY
    asked = origin.asked(path)
    assert [each.headers.get("Range") for each in asked] == [None, "bytes=70000-", "bytes=150000-"]
    assert [each.headers.get("If-Range") for each in asked] == [None, TAG, TAG]
    again = client.get(path)
    assert again.cache == "hit"
    assert again.body == BODY


def test_an_origin_that_never_comes_to_the_end_is_given_up(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, _breaks_at(*range(10_000, 200_000, 10_000)))
    assert client.get(path).ended != 0
    assert len(origin.asked(path)) == 4
    origin.says(path, FIELDS, BODY)
    assert client.get(path).cache == "fwd=uri-miss; stored"


@pytest.mark.parametrize(
    "changed",
    [
        {"ETag": '"v2"'},
        {"ETag": 'W/"v1"'},
        {"Content_Range": f"bytes 69999-{len(BODY) - 2}/{len(BODY) - 1}"},
        {"Content_Range": f"bytes 70000-{len(BODY)}/{len(BODY) + 1}"},
        {"Content_Range": "bytes 70000-/*"},
    ],
    ids=str,
)
def test_what_is_not_the_rest_of_the_same_is_never_joined(
    client: Client, origin: ScriptedOrigin, path: str, changed: dict[str, str]
) -> None:
    origin.at(path, _breaks_at(70_000, **changed))
    answer = client.get(path)
    assert answer.ended != 0
    assert BODY.startswith(answer.body)
    origin.says(path, FIELDS, BODY)
    assert client.get(path).cache == "fwd=uri-miss; stored"


def test_a_new_version_is_never_joined_to_the_old_one(client: Client, origin: ScriptedOrigin, path: str) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.begin(200, FIELDS, len(BODY))
            exchange.send(BODY[:70_000])
            exchange.cut()
        else:
            exchange.answer(200, {**FIELDS, "ETag": '"v2"'}, BODY[::-1])

    origin.at(path, script)
    answer = client.get(path)
    assert answer.ended != 0
    assert BODY.startswith(answer.body)
    assert client.get(path).body == BODY[::-1]


@pytest.mark.parametrize("fields", [{"ETag": 'W/"v1"'}, {"ETag": ""}, {"Accept-Ranges": "none"}], ids=str)
def test_without_a_strong_tag_or_ranges_nothing_is_continued(
    client: Client, origin: ScriptedOrigin, path: str, fields: dict[str, str]
) -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin(200, {**FIELDS, **fields}, len(BODY))
        exchange.send(BODY[:70_000])
        exchange.cut()

    origin.at(path, script)
    assert client.get(path).ended != 0
    assert [each.headers.get("Range") for each in origin.asked(path)] == [None]
