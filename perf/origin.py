"""The origin of all scenarios: an NGINX of our own, on the load's cores, with bodies whose every byte is known.

Paths: /hit/SIZE and /sized/BYTES/ANYTHING cacheable, /nocache/ANYTHING 1 KiB no-store, /nocache/large/BYTES longer,
/miss/ANYTHING 1 KiB cacheable, /counted/ANYTHING the same but logged with the number of its connection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from perf import bodies, template
from perf.http_client import fetch
from perf.process import Process, free_ports

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where an origin stands, the words that start it there, and how long it keeps an idle connection."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    keepalive: str = "300s"


class Origin:
    """A running origin; `url` and `tls_url` are what peers are told."""

    def __init__(
        self, folder: Path, certificate: tuple[Path, Path], cores: tuple[int, ...], place: Place | None = None
    ) -> None:
        place = place or Place()
        self.folder = folder
        self.address = address = place.address
        self.http, self.https = free_ports(2)
        (folder / "www").mkdir(parents=True)
        for name in bodies.SIZES:
            (folder / "www" / name).write_bytes(bodies.body(name))
        values = {
            "dir": str(folder),
            "address": address,
            "http": str(self.http),
            "https": str(self.https),
            "cert": str(certificate[0]),
            "key": str(certificate[1]),
            "keepalive": place.keepalive,
            "user_line": user_line(),
            "text": bodies.body("1k").decode("ascii"),
        }
        (folder / "origin.conf").write_text(template.fill((HERE / "origin.conf").read_text(encoding="utf-8"), values))
        command = ["nginx", "-p", f"{folder}/", "-c", str(folder / "origin.conf"), "-e", "stderr"]
        self._process = Process(
            "origin",
            command,
            folder=folder,
            cores=cores,
            ready=lambda: fetch(address, self.http, "/ready").status == 200,
            prefix=place.prefix,
        )

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.http}"

    @property
    def tls_url(self) -> str:
        return f"https://{self.address}:{self.https}"

    def counted(self) -> list[tuple[int, str]]:
        """(number of the connection, path) of every request below /counted/, in the order they ended."""
        lines = (self.folder / "counted.log").read_text(encoding="utf-8").splitlines()
        words = (line.split() for line in lines)
        return [(int(each[0]), each[3]) for each in words]

    def make_sized(self, sizes: Iterable[int]) -> None:
        """Make the bodies below /sized/."""
        folder = self.folder / "www" / "sized"
        folder.mkdir()
        for size in sizes:
            (folder / str(size)).write_bytes(bodies.body(str(size)))

    def make_large(self, size: int) -> str:
        """Make the body below /nocache/large/, piece by piece, and tell its hash."""
        folder = self.folder / "www" / "large"
        folder.mkdir()
        hashed = xxhash.xxh3_128()
        with (folder / str(size)).open("wb") as file:
            for piece in bodies.pieces(size):
                hashed.update(piece)
                file.write(piece)
        return hashed.hexdigest()

    def stop(self) -> None:
        self._process.stop()


def user_line() -> str:
    """NGINX started by root gives its workers to another user, who may not read our folder: keep them ours."""
    return "user root;" if os.geteuid() == 0 else ""
