"""Lists of servers as they are read."""

import pytest

from origin.discovery import LIST_BYTES_MAX, Source, parsed
from origin.settings import DiscoverySettings


@pytest.mark.parametrize(
    "text",
    [
        b"http://a\n# a comment\n\n  http://b:81\n",
        b'["http://a", {"url": "http://b:81"}]',
        b' {"servers": ["http://a", "http://b:81"]}',
    ],
)
def test_a_list_is_text_or_json(text):
    assert [server.url for server in parsed(text)] == ["http://a", "http://b:81"]


def test_tables_say_all_that_servers_say():
    (server,) = parsed(b'[{"url": "http://a", "weight": 3, "backup": true, "zone": "x"}]')
    assert (server.weight, server.backup, server.zone) == (3, True, "x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "at least 1"),
        (b"[]", "at least 1"),
        (b"http://a/path", "servers.0"),
        (b'{"hosts": []}', "servers"),
        (b'["http://a", {"url": "http://b", "port": 1}]', "servers.1.port"),
        (b"[", "unexpected"),
        (b"\xff", "utf-8"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(text, reason):
    with pytest.raises(ValueError, match=r"(?s).*") as refusal:
        parsed(text)
    assert reason.lower() in str(refusal.value).lower()


async def test_a_list_is_bounded(tmp_path):
    (tmp_path / "servers").write_bytes(b"#" * (LIST_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="bytes"):
        await Source(DiscoverySettings(file="servers"), tmp_path).read()


@pytest.mark.parametrize("places", [{}, {"file": "a", "url": "http://a"}])
def test_a_list_is_at_one_place(places):
    with pytest.raises(ValueError, match="one of file, url and srv"):
        DiscoverySettings(**places)
