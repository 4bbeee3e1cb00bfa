"""What real clients send to purge, as their sources write it, and what it means here."""

from __future__ import annotations

import pytest

from purge_api.errors import Refused
from purge_api.wire import Meaning, meaning_of
from tests.purging import Wire

HOST = "https://www.example.com"


@pytest.mark.parametrize(
    ("client", "purge", "meaning"),
    [
        ("MediaWiki, W3TC", Wire(url=f"{HOST}/a?b"), Meaning("url", (f"{HOST}/a?b",), False)),
        ("Fastly", Wire(fields=(("fastly-soft-purge", "1"),)), Meaning("url", (f"{HOST}/a",), True)),
        ("Fastly keys", Wire(fields=(("surrogate-key", "a b  c"),)), Meaning("tag", ("a", "b", "c"), False)),
        ("Cloudflare tags", Wire(fields=(("cache-tag", "a,b, a"),)), Meaning("tag", ("a", "b"), False)),
        ("WordPress page", Wire(fields=(("x-purge-method", "default"),)), Meaning("url", (f"{HOST}/a",), False)),
        (
            "WordPress below a page",
            Wire(url=f"{HOST}/2026/.*", fields=(("x-purge-method", "regex"),)),
            Meaning("prefix", (f"{HOST}/2026/",), False),
        ),
        (
            "WordPress everything",
            Wire(url=f"{HOST}/.*", fields=(("x-purge-method", "regex"),)),
            Meaning("host", ("www.example.com",), False),
        ),
        (
            "Magento",
            Wire(fields=(("x-magento-tags-pattern", "((^|,)cat_p_1(,|$))|((^|,)cat_c_2(,|$))"),)),
            Meaning("tag", ("cat_p_1", "cat_c_2"), False),
        ),
        ("Magento everything", Wire(fields=(("x-magento-tags-pattern", ".*"),)), Meaning("all", ("",), False)),
        (
            "FOSHttpCache tags by ban",
            Wire("BAN", f"{HOST}/", (("x-cache-tags", r"(^|,)(post\-1|tag\.2)(,|$)"),)),
            Meaning("tag", ("post-1", "tag.2"), False),
        ),
        (
            "FOSHttpCache xkey",
            Wire("PURGEKEYS", f"{HOST}/", (("xkey-softpurge", "post-1 post-2"),)),
            Meaning("tag", ("post-1", "post-2"), True),
        ),
        (
            "FOSHttpCache ban of paths",
            Wire("BAN", f"{HOST}/", (("x-host", "^(www.example.com|example.com)$"), ("x-url", "^/news/.*"))),
            Meaning("prefix", (f"{HOST}/news/", "https://example.com/news/"), False),
        ),
        (
            "FOSHttpCache ban of a type",
            Wire("BAN", f"{HOST}/", (("x-host", ".*"), ("x-url", r"\.png$"), ("x-content-type", "image/png"))),
            Meaning("regex", (r"*~\.png$",), False),
        ),
        (
            "an expression that is not anchored is no prefix",
            Wire("BAN", f"{HOST}/", (("x-host", "h.example"), ("x-url", "/img/.*"))),
            Meaning("regex", ("h.example~/img/.*",), False),
        ),
        (
            "FOSHttpCache clears all",
            Wire("BAN", f"{HOST}/", (("x-host", ".*"), ("x-url", ".*"), ("x-content-type", ".*"))),
            Meaning("all", ("",), False),
        ),
        (
            "Drupal",
            Wire("BAN", f"{HOST}/", (("purge-cache-tags", "node:1 node_list"),)),
            Meaning("tag", ("node:1", "node_list"), False),
        ),
        ("nginx-helper everything", Wire("PURGEALL", f"{HOST}/"), Meaning("all", ("",), False)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_clients_send_is_understood(client, purge, meaning):
    assert meaning_of(purge) == meaning


@pytest.mark.parametrize(
    ("purge", "says"),
    [
        (Wire("PURGEKEYS"), "xkey-purge"),
        (Wire(fields=(("x-magento-tags-pattern", "cat_.*"),)), "only an alternation"),
        (Wire(fields=(("x-cache-tags", "(^|,)()(,|$)"),)), "names no tag"),
        (Wire("BAN", HOST, (("x-host", r"www\d.example"), ("x-url", ".*"))), "only an alternation"),
    ],
)
def test_patterns_that_are_more_than_names_are_refused(purge, says):
    with pytest.raises(Refused, match=says) as caught:
        meaning_of(purge)
    assert caught.value.status == 400
