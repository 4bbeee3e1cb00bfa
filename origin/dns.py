"""Just enough DNS to find services: one question for SRV records (RFC 2782), asked over UDP, and over TCP if cut off.

    records, ttl_s = await srv("_http._tcp.app.example", nameserver="127.0.0.53")

`question` and `answers` are pure: bytes to bytes, bytes to records. What comes from the wire is bounded and checked; an
answer that is not to our question is ignored until the time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["DnsError", "Srv", "TruncatedError", "answers", "question", "srv", "system_nameserver"]

PORT: Final = 53
TYPE_SRV: Final = 33
CLASS_IN: Final = 1
NAME_BYTES_MAX: Final = 255
JUMPS_MAX: Final = 16
"""Pointers that one name may take (RFC 1035 4.1.4 sets no bound)."""
_HEADER: Final = struct.Struct("!6H")
_TRUNCATED: Final = 0x0200
_RESPONSE: Final = 0x8000
_WANT_RECURSION: Final = 0x0100


class DnsError(ValueError):
    """The name has no such records, or the server did not say."""


class TruncatedError(DnsError):
    """The answer did not fit: it has to be asked for over TCP."""


@dataclass(frozen=True, slots=True)
class Srv:
    """One server of a service."""

    priority: int
    weight: int
    port: int
    target: str
    ttl_s: int


def question(number: int, name: str) -> bytes:
    """The query for the SRV records of a name. Raises `DnsError` for what is no name."""
    labels = [label.encode("ascii", "replace") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > NAME_BYTES_MAX:
        raise DnsError(f'"{name}" is no name of DNS')
    encoded = b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"
    return _HEADER.pack(number, _WANT_RECURSION, 1, 0, 0, 0) + encoded + struct.pack("!2H", TYPE_SRV, CLASS_IN)


def answers(message: bytes, query: bytes) -> list[Srv] | None:
    """The records of an answer to a query; None when it answers another one. Raises `DnsError`."""
    if len(message) < _HEADER.size or message[:2] != query[:2]:
        return None
    _, flags, questions, count, _, _ = _HEADER.unpack_from(message)
    asked = query[_HEADER.size :]
    # Names compare without regard to case (RFC 1035 2.3.3).
    echoed = message[_HEADER.size : _HEADER.size + len(asked)].lower()
    if not flags & _RESPONSE or questions != 1 or echoed != asked.lower():
        return None
    if flags & _TRUNCATED:
        raise TruncatedError("the answer was cut off")
    if flags & 0xF:
        raise DnsError(f"the name server answered with code {flags & 0xF}")
    try:
        return _records(message, _HEADER.size + len(asked), count)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise DnsError("the answer breaks off") from error


def _records(message: bytes, at: int, count: int) -> list[Srv]:
    found = []
    for _ in range(count):
        _, at = _name(message, at)
        kind, class_, ttl_s, length = struct.unpack_from("!2HIH", message, at)
        at += 10
        if (kind, class_) == (TYPE_SRV, CLASS_IN):
            priority, weight, port = struct.unpack_from("!3H", message, at)
            target, _ = _name(message, at + 6)
            if target:  # a lone dot says that there is no such service
                # A value with the first bit set counts as zero (RFC 2181 8).
                found.append(Srv(priority, weight, port, target, ttl_s if ttl_s < 1 << 31 else 0))
        at += length
    return found


def _name(message: bytes, at: int) -> tuple[str, int]:
    """A name, and where it ends; pointers lead elsewhere (RFC 1035 4.1.4)."""
    labels: list[str] = []
    end, jumps = None, 0
    while (length := message[at]) != 0:
        if length >= 0xC0:
            end = at + 2 if end is None else end
            at = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if jumps > JUMPS_MAX:
                raise DnsError("a name that leads in circles")
            continue
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
        if sum(map(len, labels)) + len(labels) > NAME_BYTES_MAX:
            raise DnsError("a name that is too long")
    return ".".join(labels).lower(), at + 1 if end is None else end


def system_nameserver(file: Path = Path("/etc/resolv.conf")) -> str:
    """The first name server of the system; loopback when it names none."""
    with contextlib.suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                return words[1]
    return "127.0.0.1"


async def srv(name: str, nameserver: str) -> list[Srv]:
    """The SRV records of a name, at least one. Raises `DnsError`, `OSError`; the caller sets the time.

    Args:
        name: Such as `_https._tcp.app.example.com`.
        nameserver: An address, with or without a port: `10.0.0.53`, `127.0.0.1:5353`, `[::1]:53`.
    """
    host, port = _address(nameserver)
    query = question(secrets.randbelow(1 << 16), name)
    try:
        found = await _by_udp(host, port, query)
    except TruncatedError:
        found = await _by_tcp(host, port, query)
    if not found:
        raise DnsError(f"{name} has no SRV records")
    return found


def _address(nameserver: str) -> tuple[str, int]:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(nameserver)), PORT
    host, _, port = nameserver.rpartition(":")
    return host.strip("[]"), int(port)


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, query: bytes) -> None:
        self._query = query
        self.found: asyncio.Future[list[Srv]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Take what answers our question, and nothing else."""
        if self.found.done():
            return
        try:
            found = answers(data, self._query)
        except DnsError as error:
            self.found.set_exception(error)
        else:
            if found is not None:
                self.found.set_result(found)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there."""
        if not self.found.done():
            self.found.set_exception(exc)


async def _by_udp(host: str, port: int, query: bytes) -> list[Srv]:
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(lambda: _Asking(query), remote_addr=(host, port))
    try:
        transport.sendto(query)
        return await asking.found
    finally:
        transport.close()


async def _by_tcp(host: str, port: int, query: bytes) -> list[Srv]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return answers(await reader.readexactly(length), query) or []
    except asyncio.IncompleteReadError as error:
        raise DnsError("the answer breaks off") from error
    finally:
        writer.close()
