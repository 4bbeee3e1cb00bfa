"""What clients mean that purge by request methods: `PURGE`, `BAN` and `PURGEKEYS` on the data port. Pure.

    PURGE /a                                      that URL (MediaWiki, W3TC, WP Rocket, FOSHttpCache, the Fastly plugin)
    PURGE /a + X-Purge-Method: regex              what begins so, or an expression (WordPress Proxy Cache Purge: /a/.*)
    PURGE + Surrogate-Key, Cache-Tag, xkey...     tags
    PURGE or BAN + a field of tags as a pattern   the tags of its alternation (Magento, FOSHttpCache, Drupal)
    BAN + X-Host, X-Url                           expressions over host and path (FOSHttpCache)
    PURGEKEYS + xkey-purge, xkey-softpurge        tags
    PURGEALL                                      everything (GET /purgeall of nginx-helper)

Patterns of tags are taken apart into a set of tags: no expression is run over tags. What cannot be taken apart is
refused. An expression over content types is not a rule that a ledger can hold; such a ban covers every type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from purge_api.context import DataPortPurge
from purge_api.errors import Refused

__all__ = ["Meaning", "meaning_of"]

TAG_FIELDS = ("surrogate-key", "cache-tag", "cache-tags", "xkey", "xkey-purge", "xkey-softpurge")
"""Fields that list tags."""
PATTERN_FIELDS = ("x-magento-tags-pattern", "x-cache-tags", "purge-cache-tags")
"""Fields with a pattern over tags."""
SOFT_FIELDS = ("soft-purge", "fastly-soft-purge")
EVERYTHING = frozenset({".*", "^.*$", ".+", "*"})
"""Patterns that match whatever there is."""
LITERAL = re.compile(r"[^\\.*+?()\[\]{}|^$]*")
"""What an expression can hold without meaning anything by it."""
BACKSLASH = "\\"
BORDERS = ("(^|,)", "(,|$)", r"(^|\s)", r"(\s|$)", "(^| )", "( |$)", "(?:^|,)", "(?:,|$)", "^", "$")
"""What clients put around a tag, so that it matches as a whole."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One purge: a kind, its items as the API takes them, and the mode."""

    kind: str
    items: tuple[str, ...]
    soft: bool


def meaning_of(purge: DataPortPurge) -> Meaning:
    """What a request means.

    Raises:
        Refused: 400 for a pattern that is more than names, with the field that has it.
    """
    fields = dict(reversed(purge.fields))  # the first of a name wins
    soft = any(fields.get(name, "0") != "0" for name in SOFT_FIELDS) or "xkey-softpurge" in fields
    if purge.method == "PURGEALL":
        return Meaning("all", ("",), soft)
    tags = [tag for name, value in purge.fields if name in TAG_FIELDS for tag in re.split(r"[\s,]+", value) if tag]
    if tags:
        return Meaning("tag", tuple(dict.fromkeys(tags)), soft)
    if purge.method == "PURGEKEYS":
        raise Refused(400, "bad-items", "PURGEKEYS names its tags in xkey-purge or xkey-softpurge")
    for name in PATTERN_FIELDS:
        if name in fields:
            return _by_tags(name, fields[name], soft)
    if "x-host" in fields or "x-url" in fields:
        return _by_place(fields.get("x-host", ".*"), fields.get("x-url", ".*"), soft)
    if fields.get("x-purge-method", "").lower() == "regex":
        parts = urlsplit(purge.url)
        return _by_path((parts.netloc,), "^" + purge.url.partition(parts.netloc)[2], soft)
    return Meaning("url", (purge.url,), soft)


def _by_tags(name: str, pattern: str, soft: bool) -> Meaning:
    if pattern.strip() in EVERYTHING:
        return Meaning("all", ("",), soft)
    for border in BORDERS:
        pattern = pattern.replace(border, " ")
    tags = [_unescaped(name, tag) for tag in re.split(r"[\s,|()]+", pattern) if tag]
    if not tags:
        raise Refused(400, "bad-items", f"{name} names no tag")
    return Meaning("tag", tuple(dict.fromkeys(tags)), soft)


def _by_place(host: str, url: str, soft: bool) -> Meaning:
    hosts: tuple[str, ...] = ("*",)
    if host not in EVERYTHING:
        inner = re.sub(r"^\^?(?:\(\?:|\()?|\)?\$?$", "", host)
        hosts = tuple(_unescaped("x-host", name) for name in inner.split("|"))
    return _by_path(hosts, url, soft)


def _by_path(hosts: Sequence[str], expression: str, soft: bool) -> Meaning:
    """An expression over the path: by the cheapest kind that says the same."""
    whole = "*" in hosts
    if expression.removeprefix("^").removeprefix("/") in EVERYTHING | {""}:
        return Meaning("all", ("",), soft) if whole else Meaning("host", tuple(hosts), soft)
    stem = expression.removeprefix("^").removesuffix(".*")
    plain = LITERAL.fullmatch(re.sub(r"\\[./_~-]", "", stem))
    # An expression that is not anchored matches in the middle, too, which no prefix does.
    if plain and expression.startswith("^/") and not whole:
        return Meaning("prefix", tuple(f"https://{host}{stem.replace(BACKSLASH, '')}" for host in hosts), soft)
    return Meaning("regex", tuple(f"{host}~{expression}" for host in hosts), soft)


def _unescaped(name: str, text: str) -> str:
    """A name as it stands in an expression, without its escapes."""
    plain = re.sub(r"\\([^A-Za-z0-9])", "", text)
    if LITERAL.fullmatch(plain.replace(".", "")) is None:
        raise Refused(400, "bad-items", f"{name}: only an alternation of names is understood, and {text!r} is more")
    return re.sub(r"\\([^A-Za-z0-9])", r"\1", text)
