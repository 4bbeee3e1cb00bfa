"""Header selection: a purge of a URL that is for the one variant that a certain request would get.

The fields come as `{"accept-language": "de", "accept-encoding": null}`; null, and whatever is not named, is a field
that the request does not have. The rules of the site edit them as they edit those of a client, because stored variants
are told apart by what the rules leave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cache.purge import HeaderFields, check
from purge_api.errors import Refused

if TYPE_CHECKING:
    from purge_api.models import PurgeRequest

__all__ = ["chosen", "headers_of"]

HEADERS_MAX = 16
"""Header fields that a request may name: a response that varies by more is not stored."""
WORD = "bad-headers"


def headers_of(document: dict[str, Any], kind: str) -> HeaderFields | None:
    """The fields in a request; None without the member. Raises `Refused` with 400."""
    given = document.get("headers")
    if given is None:
        return None
    if kind != "url":
        raise Refused(400, WORD, f"headers select a variant of a url; they mean nothing for type {kind}")
    if not isinstance(given, dict) or not given:
        raise Refused(400, WORD, 'headers must be an object such as {"accept-language": "de"}; leave it out for all')
    if len(given) > HEADERS_MAX:
        raise Refused(400, WORD, f"{len(given)} headers; at most {HEADERS_MAX}")
    if len({name.lower() for name in given}) < len(given):
        raise Refused(400, WORD, "headers names a field twice; names have no case")
    for name, value in given.items():
        if not isinstance(value, str | None):
            raise Refused(400, WORD, f"the value of {name!r} must be a string, or null for a request without the field")
    fields = tuple((name.lower(), value) for name, value in given.items() if value is not None)
    # Also of the names that are absent: a misspelt one would select another variant.
    _refuse_unusable(tuple((name, value or "") for name, value in given.items()))
    return fields


def chosen(order: PurgeRequest, varied: Callable[[str, list[tuple[str, str]]], list[tuple[str, str]]]) -> PurgeRequest:
    """The order with its fields as the rules of the site leave them.

    Args:
        order: Checked.
        varied: The fields that choose the variant of a URL; raises `ValueError`.

    Raises:
        Refused: 400, when they are too many, or not the same for all items.
    """
    if order.headers is None:
        return order
    given = list(order.headers)
    each = [tuple(varied(item, given)) for item in order.items]
    for index, fields in enumerate(each):
        if fields != each[0]:
            detail = f"the rules leave other headers for item {index} than for item 0; purge them one by one"
            raise Refused(400, WORD, detail, extra={"index": index})
    _refuse_unusable(each[0])
    return replace(order, headers=each[0])


def _refuse_unusable(fields: HeaderFields) -> None:
    try:
        check("url", "https://headers.invalid/", fields)
    except ValueError as error:
        raise Refused(400, WORD, str(error)) from None
