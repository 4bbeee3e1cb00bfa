"""Peers as data: a TOML file says what a peer needs, how it is configured and started, and how it names a hit.

Adding a peer is adding one file to profiles/ (and its configuration template beside it). A *variant* is the same
peer with some values changed: where no setting is best for every size, both are run and the better one counts.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from perf.machine import find_program, first_line

FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True)
class Profile:
    """One peer as its file describes it."""

    name: str
    title: str
    about: str
    needs: tuple[str, ...]
    version: tuple[str, ...]
    start: tuple[str, ...]
    capabilities: frozenset[str]
    files: dict[str, str]
    values: dict[str, str]
    variants: dict[str, dict[str, str]]
    verdict_header: str
    hit: re.Pattern[str]
    miss: re.Pattern[str]
    aside: bool = False
    """Only scenarios that name it start it."""

    def missing(self) -> list[str]:
        """Programs that this peer needs and this machine lacks."""
        return [name for name in self.needs if find_program(name) is None]

    def version_line(self) -> str:
        if not self.version or self.missing():
            return ""
        return first_line([find_program(self.version[0]) or self.version[0], *self.version[1:]])


def load(path: Path) -> Profile:
    """Read one file; a key that is missing is a `KeyError` that names it."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    answer = data["answer"]
    return Profile(
        name=path.stem,
        title=data["title"],
        about=data["about"],
        needs=tuple(data["needs"]),
        version=tuple(data["version"]),
        start=tuple(data["start"]),
        capabilities=frozenset(data["capabilities"]),
        files=data.get("files", {}),
        values=data.get("values", {}),
        variants=data.get("variants", {}),
        verdict_header=answer["header"].lower(),
        hit=re.compile(answer["hit"]),
        miss=re.compile(answer["miss"]),
        aside=data.get("aside", False),
    )


def load_all(folder: Path = FOLDER) -> dict[str, Profile]:
    """Every profile by name."""
    return {path.stem: load(path) for path in sorted(folder.glob("*.toml"))}
