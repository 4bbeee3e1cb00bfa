"""A peer that runs: its profile, a folder with its filled configuration, its ports and its process.

A peer lives for one scenario and begins empty. `direct` has no process: it is the origin itself, the floor for misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perf import accounting, template
from perf.accounting import Cost
from perf.errors import NotStartedError
from perf.http_client import fetch
from perf.machine import find_program
from perf.origin import Origin, user_line
from perf.process import Process, free_ports
from perf.profile import FOLDER, Profile

READY_PATH = "/ready"


@dataclass(frozen=True, slots=True)
class Site:
    """Where every peer of a scenario stands: before which origin, with which certificate (and key), on which cores."""

    origin: Origin
    certificate: tuple[Path, Path]
    cores: tuple[int, ...]


class Peer:
    """One running peer. `name` is the profile's, with `/variant` when one was chosen."""

    def __init__(
        self,
        profile: Profile,
        variant: str,
        folder: Path,
        site: Site,
        overrides: Mapping[str, str],
    ) -> None:
        origin = site.origin
        self.profile = profile
        self.name = f"{profile.name}/{variant}" if variant else profile.name
        self.folder = folder
        self.address = "127.0.0.1"
        self.process: Process | None = None
        if not profile.start:
            self.http, self.https, self.address = origin.http, origin.https, origin.address
            return
        self.http, self.https, self.admin = free_ports(3)
        values = {
            "dir": str(folder),
            "listen": self.address,
            "http": str(self.http),
            "https": str(self.https),
            "admin": str(self.admin),
            "origin": f"{origin.address}:{origin.http}",
            "origin_host": origin.address,
            "origin_port": str(origin.http),
            "origin_scheme": "http",
            "bodies": str(origin.folder / "www"),
            "cert": str(site.certificate[0]),
            "key": str(site.certificate[1]),
            "user_line": user_line(),
            "workers": "1",
        }
        values |= profile.values | (profile.variants[variant] if variant else {}) | dict(overrides)
        self.values, self.address = values, values["listen"]
        self._configure()
        command = [template.fill(word, values) for word in profile.start]
        command[0] = find_program(command[0]) or command[0]
        self.process = Process(self.name, command, folder=folder, cores=site.cores, ready=self._ready)

    def cost(self, *, memory: bool = True) -> Cost:
        """What it has used so far; nothing for a peer without a process."""
        return accounting.cost(self.process.pid, memory=memory) if self.process else Cost()

    def forget_peak(self) -> None:
        """Its peak of memory is counted anew from here."""
        if self.process:
            accounting.forget_peak(self.process.pid)

    def check_alive(self) -> None:
        if self.process and not accounting.tree(self.process.pid):
            raise NotStartedError(f"{self.name} ended during the run: {self.process.log_tail()}")

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def _configure(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "cache").mkdir()
        for target, source in self.profile.files.items():
            text = (FOLDER / source).read_text(encoding="utf-8")
            (self.folder / target).write_text(template.fill(text, self.values), encoding="utf-8")

    def _ready(self) -> bool:
        return fetch(self.address, self.http, READY_PATH).status == 200
