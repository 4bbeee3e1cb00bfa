"""The words between nodes: versioned, taken twice without harm, and never believed."""

from __future__ import annotations

import orjson
import pytest

from purge_api.fleet.blocks import BLOCK_MESSAGES, Blocks
from purge_api.fleet.merge import drafts_of
from purge_api.fleet.message import (
    BATCH_PURGES_MAX,
    Malformed,
    News,
    Presence,
    decoded,
    decoded_news,
    decoded_presence,
    encoded,
)
from purge_api.record import Draft, PurgeRecord


def record(number: int, *items: str, kind: str = "tag", headers=None) -> PurgeRecord:
    return PurgeRecord(f"{number}-0", number, kind, items or ("a",), False, "ci", "", 5, 6, headers=headers)


def test_a_batch_says_what_its_purges_are():
    data, taken = encoded("pop1", [record(1, "a", "b"), record(3, "h.example", kind="host")])
    node, purges = decoded(data)
    assert len(taken) == 2
    assert node == "pop1"
    assert [(each.id, each.kind, each.items, each.soft, each.received_ms) for each in purges] == [
        ("1-0", "tag", ("a", "b"), False, 5),
        ("3-0", "host", ("h.example",), False, 5),
    ]


def test_a_purge_of_one_variant_is_one_of_the_whole_url_for_whoever_reads_over_its_headers():
    data, _ = encoded("pop1", [record(1, "h.example/a", kind="url", headers=(("a", "b"),))])
    (purge,) = decoded(data)[1]
    assert (purge.kind, purge.headers) == ("url", (("a", "b"),))
    document = orjson.loads(data)
    assert (document["v"], document["purges"][0].pop("headers")) == (1, [["a", "b"]])
    assert decoded(orjson.dumps(document))[1][0].items == ("h.example/a",)
    (absent,) = decoded(encoded("pop1", [record(1, "h.example/a", kind="url", headers=())])[0])[1]
    assert absent.headers == (), "a request without any of the fields"


def test_a_batch_is_bounded_and_holds_one_purge_at_least():
    data, taken = encoded("pop1", [record(number) for number in range(1, 1_000)])
    assert len(taken) == len(decoded(data)[1]) == BATCH_PURGES_MAX
    large = [record(number, *(f"{number}-{item}-{'x' * 1000}" for item in range(500))) for number in (1, 501)]
    assert [len(encoded("pop1", large[:count])[1]) for count in (1, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 2}, "version 2 is not understood"),
        ({"v": None}, "version None is not understood"),
        ({"node": ""}, "node is a text"),
        ({"node": "x" * 300}, "node is a text"),
        ({"purges": {}}, "list of purges"),
        ({"purges": [[]]}, "a purge is an object"),
        ({"id": 7}, "id is a text"),
        ({"type": "ban"}, "is not known"),
        ({"mode": "gone"}, "is not known"),
        ({"items": []}, "list of strings"),
        ({"items": [7]}, "list of strings"),
        ({"items": ["a b"]}, "an item is no rule"),
        ({"headers": {}}, "headers is a list"),
        ({"headers": [["a"]]}, "headers is a list"),
        ({"headers": [["a", "b"]]}, "an item is no rule"),
        ({"received_ms": -1}, "received_ms is a number"),
        ({"received_ms": True}, "received_ms is a number"),
    ],
)
def test_what_no_node_sends_is_refused(change, says):
    document = orjson.loads(encoded("pop1", [record(1)])[0])
    target = document if change.keys() <= document.keys() else document["purges"][0]
    target |= change
    with pytest.raises(Malformed, match=says):
        decoded(orjson.dumps(document))


def test_members_of_a_newer_version_are_read_over():
    document = orjson.loads(encoded("pop1", [record(1)])[0])
    document["more"] = document["purges"][0]["more"] = {"x": 1}
    assert decoded(orjson.dumps(document))[1][0].id == "1-0"


def test_news_and_presence_come_back_as_they_were():
    news = News("pop2", 1, 2, ("1-0", "2-0"))
    presence = Presence("pop2", 17, {3: "9f"})
    assert decoded_news(news.encoded()) == news
    assert decoded_presence(presence.encoded()) == presence
    for bad in (b"[]", b"{}", b'{"v":1,"node":"a","sequence":1,"digests":{"x":"y"}}'):
        with pytest.raises(Malformed):
            decoded_presence(bad)
    with pytest.raises(Malformed):
        decoded_news(b'{"v":1,"node":"a","received_ms":1,"applied_ms":1,"ids":[1]}')


def test_digests_differ_where_a_purge_is_missing_and_only_for_whole_blocks():
    blocks = Blocks(4 * BLOCK_MESSAGES)
    last = 3 * BLOCK_MESSAGES + 10
    for sequence in range(10, last + 1):
        blocks.add(sequence, [f"{sequence}-0"])
    held = {f"{sequence}-0" for sequence in range(last + 1)}
    whole = blocks.digests(last, held)
    assert list(whole) == [1, 2]
    lost = blocks.digests(last, held - {f"{BLOCK_MESSAGES}-0"})
    assert (lost[1] != whole[1], lost[2] == whole[2]) == (True, True)
    blocks.cut(2 * BLOCK_MESSAGES)
    assert max(blocks.all_ids(), key=lambda each: int(each[:-2])) == f"{2 * BLOCK_MESSAGES}-0"


def test_the_newest_purges_are_those_behind_a_message():
    blocks = Blocks(100)
    for sequence in range(1, 6):
        blocks.add(sequence, [f"{sequence}-{number}" for number in range(10)])
    assert [blocks.behind(count, 5) for count in (0, 9, 10, 25, 50, 1_000)] == [5, 5, 4, 3, 0, 0]
    assert Blocks(100).behind(10, 5) == 5


def test_purges_of_different_variants_are_not_merged():
    def draft(number: int, *headers: tuple[str, str]) -> Draft:
        return Draft("url", (f"h/{number}",), False, "ci", "", 1, id=f"{number}-0", headers=headers)

    drafts = [draft(1), draft(2), draft(3, ("a", "b")), draft(4, ("a", "b")), draft(5, ("a", "c"))]
    merged = drafts_of(drafts, 0)
    assert [(each.items, each.headers) for each in merged] == [
        (("h/1", "h/2"), ()),
        (("h/3", "h/4"), (("a", "b"),)),
        (("h/5",), (("a", "c"),)),
    ]


def test_many_purges_become_few_and_the_newest_stay():
    def draft(number: int, kind: str = "tag", origin: str = "pop1") -> Draft:
        return Draft(kind, (f"t{number}",), False, "ci", "", 1, id=f"{number}-0", origin=origin)

    drafts = [draft(number) for number in range(2_000)] + [draft(2_000, "host"), draft(2_001), draft(2_002)]
    merged = drafts_of(drafts, 2)
    assert [(each.kind, len(each.items)) for each in merged] == [
        ("tag", 1_024),
        ("tag", 976),
        ("host", 1),
        ("tag", 1),
        ("tag", 1),
    ]
    assert {item for each in merged for item in each.items} == {f"t{number}" for number in range(2_003)}
    assert [each.id for each in merged[-2:]] == ["2001-0", "2002-0"]
