"""The words of the rule table: conditions and actions as the JSON that Rust compiles (`edge/src/settings.rs`).

Both forms of rules, `[[site.rule]]` in TOML and Python expressions, end here, so that what is refused, and with which
sentence, does not depend on the form. Each function checks its arguments and raises `ValueError` with one sentence.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "Action",
    "Condition",
    "Rule",
    "all_of",
    "check_phase",
    "cookie_name",
    "edit",
    "glob",
    "header_name",
    "header_value",
    "language",
    "location",
    "method",
    "named",
    "network",
    "pattern",
    "status_range",
    "token",
]

Condition = str | dict[str, Any]
"""`"always"`, or one word with its argument."""
Action = dict[str, Any]
"""One word with its argument."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110 5.5, without obs-text
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}(?:-[0-9A-Za-z]{1,8}){0,8}")
_LOCATION: Final = re.compile(r"[\x21-\x7e]+")
_NAME_BYTES_MAX: Final = 256
_VALUE_BYTES_MAX: Final = 8192
# Framing and connection fields belong to the node (RFC 9110 7.6.1, RFC 9112 6): a rule that edits them breaks messages.
_OWNED_BY_NODE: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# These are decided before the origin answers; a condition on its answer comes too late for them.
_BEFORE_ORIGIN: Final = {
    "key-query": "the key",
    "key-headers": "the key",
    "key-cookies": "the key",
    "key-body": "the key",
    "languages": "a request header",
    "request-header": "a request header",
    "redirect": "a redirect",
    "deny": "a denial",
    "origin": "the choice of an origin",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """When the condition holds, then the actions happen, in order."""

    name: str
    when: Condition = "always"
    then: tuple[Action, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        """The rule as it stands in the snapshot."""
        return {"name": self.name, "when": self.when, "then": list(self.then)}


def all_of(conditions: Sequence[Condition]) -> Condition:
    """Every one of them holds; of none, always."""
    if not conditions:
        return "always"
    return conditions[0] if len(conditions) == 1 else {"all": list(conditions)}


def named(word: str, name: str, test: Condition) -> Condition:
    """A test of a header field or a cookie by its name."""
    checked = name if word == "cookie" else header_name(name)
    return {word: {"name": token(checked, "a name"), "test": test}}


def pattern(text: str) -> Condition:
    """A test of a text in which `*` stands for any run of characters, slashes included: for values of fields."""
    literal = text.strip("*")
    if not literal or "*" in literal or "?" in literal:
        return {"glob": re.sub(r"\*+", "**", text)}
    starts, ends = text.startswith("*"), text.endswith("*")
    word = {(False, False): "equals", (False, True): "prefix", (True, False): "suffix", (True, True): "contains"}
    return {word[starts, ends]: literal}


def glob(text: str) -> Condition:
    """A test of a path: `*` is any run without a slash, `**` any run, `?` one character."""
    literal = text.removesuffix("**")
    if "*" in literal or "?" in literal:
        return {"glob": text}
    return {"equals": text} if literal == text else {"prefix": literal}


def token(text: str, what: str) -> str:
    """A token of RFC 9110, bounded in length."""
    if not _TOKEN.fullmatch(text) or len(text) > _NAME_BYTES_MAX:
        raise ValueError(f"expected {what} of letters, digits and hyphens, got {_quoted(text)}")
    return text


def header_name(name: str) -> str:
    """The lower-case name of a header field."""
    return token(name, "the name of a header field").lower()


def cookie_name(name: str) -> str:
    """The name of a cookie, in its own case."""
    return token(name, "the name of a cookie")


def language(tag: str) -> str:
    """A language tag such as "en" or "pt-BR" (RFC 5646 section 2.1, in its outline)."""
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError(f'expected a language such as "en" or "pt-BR", got {_quoted(tag)}')
    return tag


def header_value(value: str) -> str:
    """A field value in visible ASCII."""
    if not _FIELD_VALUE.fullmatch(value) or len(value) > _VALUE_BYTES_MAX:
        raise ValueError(
            f"expected a header value in visible ASCII of at most {_VALUE_BYTES_MAX} bytes, got {_quoted(value)}"
        )
    return value.strip()


def method(name: str) -> str:
    """A request method; its case matters (RFC 9110 9.1)."""
    return token(name, "a method such as GET")


def network(text: str) -> str:
    """A network in CIDR form, or one address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f'expected a network such as "10.0.0.0/8" or "2001:db8::/32": {error}') from error


def status_range(value: object) -> tuple[int, int]:
    """An inclusive range of response statuses from 404, "404", "200-299" or "5xx"."""
    expected = f'expected a status such as 404, "200-299" or "5xx", got {_quoted(value)}'
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-5]xx", text):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    match = re.fullmatch(r"([1-9]\d\d)(?:-([1-9]\d\d))?", text, re.ASCII)
    if match is None:
        raise ValueError(expected)
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(f"{expected}: it ends before it begins")
    return first, last


def location(text: str) -> str:
    """Where a redirect leads: an absolute URL or a path."""
    if not _LOCATION.fullmatch(text) or not text.startswith(("http://", "https://", "/")):
        raise ValueError(
            f'expected a URL or a path to redirect to, such as "https://www.example.com/", got {_quoted(text)}'
        )
    return text


def edit(word: str, how: str, name: str, value: str | None = None) -> Action:
    """An edit of a header field: word is `request-header` or `response-header`, how is `set`, `add` or `remove`."""
    field_name = header_name(name)
    if field_name in _OWNED_BY_NODE:
        hint = "; see host_header of the site" if field_name == "host" else ""
        raise ValueError(f"{field_name} is set by the node itself and cannot be edited{hint}")
    body = {"name": field_name} if value is None else {"name": field_name, "value": header_value(value)}
    return {word: {how: body}}


def check_phase(when: Condition, then: Iterable[Action]) -> None:
    """Refuse actions that happen before the origin answers under a condition on its answer."""
    if not _asks_response(when):
        return
    for action in then:
        for word in action:
            if word in _BEFORE_ORIGIN:
                what = _BEFORE_ORIGIN[word]
                raise ValueError(f"{what} is decided before the origin answers, but the condition asks for its answer")


def _asks_response(when: Condition) -> bool:
    if not isinstance(when, Mapping):
        return False
    ((word, argument),) = when.items()
    if word in {"all", "any"}:
        return any(map(_asks_response, argument))
    return _asks_response(argument) if word == "not" else word in {"status", "response-header"}


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
