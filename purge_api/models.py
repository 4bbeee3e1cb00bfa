"""What a purge request may say, and its rules in canonical form. Pure, but for asking the node how it canonicalises.

A request is checked as a whole before anything is applied: every bad item is named with its index and the reason, and
one bad item refuses all. Values of rules, as the ledger in memory expects them:

    url      scheme://host/path?query, canonical by the key rules of the site; the rule takes both schemes
    prefix   scheme://host/path, without query; the rule takes both schemes
    host     the name, with its port where that is not the default of https
    tag      as it stands in the response
    all      the empty string
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from purge_api.context import Canonicalise
from purge_api.errors import Refused

__all__ = ["API_PREFIX", "ITEMS_MAX", "KINDS", "MODES", "URLS_MAX", "PurgeRequest", "parse"]

API_PREFIX = "/v1/purges"
"""Where the API stands on the admin address."""
KINDS = ("url", "prefix", "host", "tag", "all")
MODES = ("hard", "soft")
URLS_MAX = 500
"""Items of kind `url` in one request."""
ITEMS_MAX = 256
"""Items of any other kind in one request."""
URL_BYTES_MAX = 8_192
"""Bytes of one URL or prefix."""
TAG_BYTES_MAX = 1_024
"""Bytes of one tag."""
HOST_BYTES_MAX = 261
"""Bytes of one host: a name of 253, a colon and a port, and the brackets of an IPv6 address."""
ERRORS_SHOWN_MAX = 20
"""Bad items listed in one answer."""
FIELDS = frozenset({"type", "items", "mode"})


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """A request that may be applied."""

    kind: str
    items: tuple[str, ...]
    """Canonical, without repetitions, in the order given."""
    soft: bool


def parse(body: bytes, canonicalise: Canonicalise) -> PurgeRequest:
    """The request in a body of JSON.

    Args:
        body: The bytes of the request.
        canonicalise: Scheme, host and target of a URL as the cache knows it; raises `ValueError`.

    Raises:
        Refused: 400, with the member `errors` where items are bad.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "bad-json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refused(400, "bad-request", "the body must be a JSON object with the members type, items and mode")
    unknown = sorted(set(document) - FIELDS)
    if unknown:
        raise Refused(400, "unknown-member", f"unknown member {unknown[0]!r}; known are items, mode and type")
    kind = _word(document, "type", KINDS, None)
    mode = _word(document, "mode", MODES, "hard")
    items = document.get("items")
    rules = _everything(items) if kind == "all" else _items(kind, items, canonicalise)
    return PurgeRequest(kind, rules, soft=mode == "soft")


def _word(document: dict[str, Any], name: str, words: tuple[str, ...], default: str | None) -> str:
    value = document.get(name, default)
    if value is None:
        raise Refused(400, "missing-member", f"the member {name} is missing; expected one of {', '.join(words)}")
    if value not in words:
        raise Refused(400, f"bad-{name}", f"{name} is {_shown(value)}; expected one of {', '.join(words)}")
    return str(value)


def _everything(items: Any) -> tuple[str, ...]:
    if items not in (None, [], ["*"]):
        raise Refused(400, "bad-items", 'a purge of type all takes no items (or ["*"])')
    return ("",)


def _items(kind: str, items: Any, canonicalise: Canonicalise) -> tuple[str, ...]:
    if not isinstance(items, list):
        raise Refused(400, "bad-items", "items must be a list of strings")
    if not items:
        raise Refused(400, "bad-items", f"items is empty; expected at least one {kind}")
    limit = URLS_MAX if kind == "url" else ITEMS_MAX
    if len(items) > limit:
        raise Refused(413, "too-many-items", f"{len(items)} items; at most {limit} of type {kind} in one request")
    check = CHECKS[kind]
    rules: dict[str, None] = {}
    errors = []
    for index, item in enumerate(items):
        try:
            rules[check(item, canonicalise)] = None
        except ValueError as error:
            errors.append({"index": index, "item": _shown(item), "reason": str(error)})
    if errors:
        first = errors[0]
        raise Refused(
            400,
            "bad-item",
            f"item {first['index']} is refused: {first['reason']}; nothing was purged",
            extra={"errors": errors[:ERRORS_SHOWN_MAX], "errors_total": len(errors)},
        )
    return tuple(rules)


def _url(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, URL_BYTES_MAX)
    if not text.lower().startswith(("http://", "https://")):
        raise ValueError("expected an absolute URL such as https://www.example.com/a")
    scheme, host, target = canonicalise(text)
    return f"{scheme}://{host}{target}"


def _prefix(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, URL_BYTES_MAX)
    address = text if text.lower().startswith(("http://", "https://")) else f"https://{text}"
    rest = address.partition("://")[2]
    if "?" in rest or "#" in rest:
        raise ValueError("a prefix has no query and no fragment")
    if "*" in rest:
        raise ValueError("a prefix has no wildcard; it matches whatever follows")
    host, slash, _ = rest.partition("/")
    if not host or not slash:
        raise ValueError("expected host and path, such as www.example.com/img/; a whole host is purged by type host")
    scheme, host, target = canonicalise(address)
    return f"{scheme}://{host}{target}"


def _host(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, HOST_BYTES_MAX)
    if "*" in text:
        raise ValueError("a host has no wildcard; name each host, or purge all")
    if any(letter in text for letter in "/?#@"):
        raise ValueError("expected a host name such as www.example.com, without scheme and path")
    _, host, _ = canonicalise(f"https://{text}/")
    return host


def _tag(item: Any, _canonicalise: Canonicalise) -> str:
    text = _text(item, TAG_BYTES_MAX)
    if "," in text:
        raise ValueError("a tag has no comma, which separates tags; give each tag as an item of its own")
    return text


def _text(item: Any, bytes_max: int) -> str:
    if not isinstance(item, str):
        raise ValueError(f"expected a string, not {_shown(item)}")  # noqa: TRY004 - one kind of error for all items
    if not item:
        raise ValueError("is empty")
    if len(item.encode()) > bytes_max:
        raise ValueError(f"is longer than {bytes_max} bytes")
    if any(letter.isspace() or not letter.isprintable() for letter in item):
        raise ValueError("contains a space or a control character")
    return item


def _shown(value: Any) -> str:
    """A value from outside, short enough for an answer and a log line."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "..."


SHOWN_CHARACTERS_MAX = 200
"""Characters of a bad value that an error repeats."""

CHECKS: dict[str, Callable[[Any, Canonicalise], str]] = {
    "url": _url,
    "prefix": _prefix,
    "host": _host,
    "tag": _tag,
}
