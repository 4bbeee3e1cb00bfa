"""`headland cache`: what is on disk, whether it is whole, and away with it; of a running node or of its files.

With a configuration, the files are looked at when no node has them, and else the node that it describes is asked.
Without one, the node at the admin address is asked.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

import _headland
from edge.configuration import Configuration
from edge.exits import Exit
from edge.remote import Remote, failed

__all__ = ["inspect", "text"]

ANSWER_S: Final = 3600.0
"""Seconds that a node may take: a whole disk is read to verify it."""
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
IN_USE: Final = "another node has it"
"""How the core says that a node runs."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Question = Mapping[str, Any]


def inspect(configuration: Configuration | None, remote: Remote, question: Question, *, as_json: bool) -> Exit:
    """Ask, and print the answer.

    Args:
        configuration: Of the node whose files are meant; None asks the node at `remote`.
        remote: Whom to ask when a node runs.
        question: What the core understands: `what` and its arguments.
        as_json: Print the document as it is.
    """
    document = None if configuration is None else _of_files(configuration, question)
    if isinstance(document, Exit):
        return document
    if document is None:
        document = _of_node(remote, question)
        if isinstance(document, Exit):
            return document
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() if as_json else text(question["what"], document))
    bad = question["what"] == "verify" and document["damaged"] + document["unreadable"] > 0
    return Exit.INCOMPLETE if bad else Exit.OK


def _of_files(configuration: Configuration, question: Question) -> dict[str, Any] | Exit | None:
    """The answer of the files; None when a node has them."""
    try:
        disk = _headland.Disk(configuration.snapshot)
    except _headland.SettingsError as error:
        return failed(Exit.CONFIGURATION, str(error))
    except _headland.DiskError as error:
        return None if str(error).endswith(IN_USE) else failed(Exit.STATE, str(error))
    try:
        answer: dict[str, Any] = orjson.loads(disk.inspect(orjson.dumps(question)))
    except ValueError as error:
        return failed(Exit.USAGE, str(error))
    finally:
        disk.close()
    return answer


def _of_node(remote: Remote, question: Question) -> dict[str, Any] | Exit:
    parts = urlsplit(remote.base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_S)
    fields = {"Content-Type": "application/json"}
    if remote.token:
        fields["Authorization"] = f"Bearer {remote.token}"
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/v1/cache", orjson.dumps(question), fields)
        response = connection.getresponse()
        document = orjson.loads(response.read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        return failed(Exit.UNREACHABLE, f"no answer from {remote.base}: {error}")
    finally:
        connection.close()
    if response.status >= 300:
        return failed(Exit.REFUSED, f"{remote.base} answered {response.status}: {document.get('detail')}")
    return document if isinstance(document, dict) else failed(Exit.REFUSED, f"{remote.base} is no node")


def text(what: str, document: Mapping[str, Any]) -> str:
    """The document as tables for people."""
    writers: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
        "stat": _stat,
        "verify": _verify,
        "list": _list,
        "evict": _evicted,
    }
    return "\n".join(writers[what](document))


def _stat(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (disk["path"], disk["records"], _size(disk["bytes"]), _share(disk), _size(disk["index_bytes"]), _service(disk))
        for disk in document["disks"]
    ]
    yield from _table(("disk", "records", "used", "of its size", "index", "in service"), rows)
    yield ""
    sites = sorted(document["sites"].items(), key=lambda site: -site[1]["bytes"])
    yield from _table(("site", "records", "bytes"), [(name, *_amount(amount)) for name, amount in sites])
    for title, key, unit in (("body and head", "sizes", _size), ("written ago", "ages_s", _span)):
        classes = [each for each in document[key] if each["records"]]
        yield ""
        yield from _table((title, "records", "bytes"), [(_class(each, unit), *_amount(each)) for each in classes])
    yield ""
    yield "expired: {} records, {}".format(*_amount(document["expired"]))


def _verify(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"whole       {document['records']} records, {_size(document['bytes'])}"
    yield f"damaged     {document['damaged']}"
    yield f"unreadable  {document['unreadable']}"


def _list(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (each["status"], _size(each["body_bytes"]), _span(each["age_s"]), each["ttl_s"], each["url"])
        for each in document["records"]
    ]
    yield from _table(("status", "body", "age", "ttl s", "url"), rows)


def _evicted(document: Mapping[str, Any]) -> Iterator[str]:
    yield "evicted {} records, {}".format(*_amount(document))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    lines = [tuple(str(cell) for cell in row) for row in (head, *rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _amount(amount: Mapping[str, int]) -> tuple[int, str]:
    return amount["records"], _size(amount["bytes"])


def _share(disk: Mapping[str, int]) -> str:
    return f"{disk['bytes'] / disk['capacity_bytes']:.1%}"


def _service(disk: Mapping[str, bool]) -> str:
    words = [word for word, key in (("reading", "is_read"), ("writing", "is_written")) if disk[key]]
    return ", ".join(words) or "no"


def _class(each: Mapping[str, int | None], unit: Callable[[int], str]) -> str:
    return "more" if each["up_to"] is None else f"up to {unit(each['up_to'])}"


def _size(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit + 1 < len(_UNITS):
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _span(seconds: int) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds} s"
