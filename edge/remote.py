"""A running node, asked through its admin address; and what `headland explain` prints."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from edge.exits import Exit

__all__ = ["TIMEOUT_S", "Remote", "explain", "failed"]

TOKEN_VARIABLE: Final = "HEADLAND_TOKEN"  # noqa: S105 - the name of the variable
TIMEOUT_S: Final = 30.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """A node's admin address and the token for it; None sends none."""

    admin: str
    token: str | None = field(repr=False)

    @classmethod
    def from_environment(cls, admin: str) -> Remote:
        """With the token of `HEADLAND_TOKEN`, if there is one."""
        return cls(admin, os.environ.get(TOKEN_VARIABLE) or None)

    @property
    def base(self) -> str:
        """The admin address as a URL."""
        return self.admin if "://" in self.admin else f"http://{self.admin}"


def explain(
    remote: Remote, url: str, headers: Sequence[tuple[str, str]], *, method: str = "GET", as_json: bool
) -> Exit:
    """Ask the node what it would do, and print it."""
    query = urlencode([("url", url), ("method", method), *(("header", f"{name}:{value}") for name, value in headers)])
    try:
        status, body = _get(remote, f"/v1/explain?{query}")
    except ValueError as error:
        return failed(Exit.USAGE, str(error))
    except (OSError, http.client.HTTPException) as error:
        return failed(Exit.UNREACHABLE, f"no answer from {remote.base}: {_reason(error)}")
    document = _document(body)
    if status >= 300 or document is None:
        reason = (
            (document or {}).get("detail") or (document or {}).get("title") or "is this the admin address of a node?"
        )
        return failed(Exit.REFUSED, f"{remote.base} answered {status}: {reason}")
    if as_json:
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(_lines(document)))
    return Exit.OK


def _get(remote: Remote, target: str) -> tuple[int, bytes]:
    parts = urlsplit(remote.base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f'expected an admin address such as 127.0.0.1:9090, got "{remote.admin}"')
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        fields = {"Accept": "application/json"} | ({"Authorization": f"Bearer {remote.token}"} if remote.token else {})
        connection.request("GET", parts.path.rstrip("/") + target, headers=fields)
        response = connection.getresponse()
        return response.status, response.read(ANSWER_BYTES_MAX)
    finally:
        connection.close()


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _lines(document: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The document as aligned text; what is nested is indented below its name."""
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        label = f"{indent}{name.replace('_', ' '):<{width}}"
        if isinstance(value, dict) and value:
            yield f"{indent}{name.replace('_', ' ')}"
            yield from _lines(value, f"{indent}  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value, 1):
                yield f"{indent}{name.replace('_', ' ')} {number}"
                yield from _lines(item, f"{indent}  ")
        elif isinstance(value, list):
            yield f"{label}  {', '.join(_text(item) for item in value) or '-'}"
        else:
            yield f"{label}  {_text(value)}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _reason(error: Exception) -> str:
    """Without the number that Python puts in front."""
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)


def failed(status: Exit, sentence: str) -> Exit:
    """Say why on standard error; the answer is the status."""
    print(f"headland: {sentence}", file=sys.stderr)
    return status
