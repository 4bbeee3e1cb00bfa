"""One item of a purge, checked and brought into the form of a rule. Pure, but for asking the node how it canonicalises.

    url, path   scheme://host/path(?query), canonical by the key rules of the site; the rule takes both schemes
    prefix      scheme://host/path, without query; the rule takes both schemes
    wildcard    host/path, in which * stands for anything; the host may be *
    regex       host~expression, searched for in path and query; the host may be *
    host        the name, with its port where that is not the default of https
    site        a site of the node, or a host of one: its host patterns, one rule each
    tag         as it stands in the response
    all         the empty string

Each check raises `ValueError` with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from cache.purge import Kind, PurgeRule, canonical
from purge_api.context import Canonicalise
from purge_api.sites import ANY_HOST, Sites
from purge_api.vocabulary import HOST_BYTES_MAX, PATTERN_BYTES_MAX, TAG_BYTES_MAX, URL_BYTES_MAX

__all__ = ["host_of", "shown", "values_of"]

SHOWN_CHARACTERS_MAX = 200
"""Characters of a bad value that an error repeats."""


def values_of(kind: str, item: Any, canonicalise: Canonicalise, sites: Sites) -> tuple[str, ...]:
    """The values of the rules that an item stands for: one, but for a site with several hosts."""
    if kind == "site":
        return _site(item, sites)
    return (_CHECKS[kind](item, canonicalise),)


def host_of(kind: str, value: str) -> str | None:
    """The host that a canonical value concerns; None for a value that is not bound to one (a tag, every host)."""
    if kind in {"url", "path", "prefix"}:
        return value.partition("://")[2].partition("/")[0]
    if kind in {"wildcard", "regex"}:
        host = value.partition("/" if kind == "wildcard" else "~")[0]
        return None if host == ANY_HOST else host
    return value if kind in {"host", "site"} else None


def shown(value: Any) -> str:
    """A value from outside, short enough for an answer and a log line."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "..."


def _url(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, URL_BYTES_MAX)
    if not text.lower().startswith(("http://", "https://")):
        raise ValueError("expected an absolute URL such as https://www.example.com/a")
    scheme, host, target = canonicalise(text)
    return f"{scheme}://{host}{target}"


def _path(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, URL_BYTES_MAX)
    if "?" in text or "#" in text:
        raise ValueError("a path has no query and no fragment; every query of it is purged")
    return _url(text, canonicalise)


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


def _pattern(kind: Kind) -> Callable[[Any, Canonicalise], str]:
    def check(item: Any, _canonicalise: Canonicalise) -> str:
        return canonical(PurgeRule(kind, _text(item, PATTERN_BYTES_MAX), soft=False, at_ms=0)).value

    return check


def _host(item: Any, canonicalise: Canonicalise) -> str:
    text = _text(item, HOST_BYTES_MAX)
    if "*" in text:
        raise ValueError("a host has no wildcard; name each host, or purge a site, or all")
    if any(letter in text for letter in "/?#@"):
        raise ValueError("expected a host name such as www.example.com, without scheme and path")
    _, host, _ = canonicalise(f"https://{text}/")
    return host


def _site(item: Any, sites: Sites) -> tuple[str, ...]:
    text = _text(item, HOST_BYTES_MAX)
    name = sites.named(text)
    if name is None:
        raise ValueError("there is no such site; a site is named by one of its hosts, as the configuration spells it")
    hosts = sites.hosts(name)
    if ANY_HOST in hosts:
        raise ValueError("this site takes every other host; purge all, or the hosts by type host")
    return tuple(canonical(PurgeRule("site", host, soft=False, at_ms=0)).value for host in hosts)


def _tag(item: Any, _canonicalise: Canonicalise) -> str:
    text = _text(item, TAG_BYTES_MAX)
    if "," in text:
        raise ValueError("a tag has no comma, which separates tags; give each tag as an item of its own")
    return text


def _text(item: Any, bytes_max: int) -> str:
    if not isinstance(item, str):
        raise ValueError(f"expected a string, not {shown(item)}")  # noqa: TRY004 - one kind of error for all items
    if not item:
        raise ValueError("is empty")
    if len(item.encode()) > bytes_max:
        raise ValueError(f"is longer than {bytes_max} bytes")
    if " " in item or not item.isprintable():  # of all that is white space, the space alone is printable
        raise ValueError("contains a space or a control character")
    return item


_CHECKS: dict[str, Callable[[Any, Canonicalise], str]] = {
    "url": _url,
    "path": _path,
    "prefix": _prefix,
    "wildcard": _pattern("wildcard"),
    "regex": _pattern("regex"),
    "host": _host,
    "tag": _tag,
}
