"""From a TOML file, or a few words of the command line, to `Settings`: reading, units, places of errors.

A `Document` is what the file said, with the line of each key. `settings` turns units into numbers by the kinds of
`edge.schema`, lets the models judge the rest, and raises `ConfigurationError` with every problem it found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError

from edge import schema
from edge.problems import ConfigurationError, Problem, problem_of, shown
from edge.settings import Settings
from edge.toml_lines import Path, line_of, toml_lines
from edge.units import duration_ms, size_bytes

__all__ = ["COMMAND_LINE", "FILE_BYTES_MAX", "Document"]

COMMAND_LINE: Final = "command line"
"""The source of what stands in no file."""

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
_UNITS: Final[dict[str, Callable[[str], int]]] = {"duration": duration_ms, "size": size_bytes}
_LINE: Final = re.compile(r" ?\(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """What was asked for, before it was judged."""

    source: str
    """The file as the user named it, or `COMMAND_LINE`."""
    base: FilePath
    """Where relative file names in it are looked up."""
    values: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)
    """Empty when it is no file."""
    foreign: frozenset[Path] = frozenset()
    """Keys that come from the command line instead."""

    @classmethod
    def read(cls, file: FilePath) -> Document:
        """Read a TOML file; raises `ConfigurationError` when it cannot be read or is not TOML."""
        try:
            with file.open("rb") as stream:
                raw = stream.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigurationError([Problem((), f"cannot be read: {error.strerror}", str(file))]) from error
        if len(raw) > FILE_BYTES_MAX:
            raise ConfigurationError([Problem((), f"larger than {FILE_BYTES_MAX} bytes", str(file))])
        try:
            text = raw.decode()
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError([_syntax_problem(str(file), str(error))]) from error
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigurationError([Problem((), "not UTF-8", str(file), line)]) from error
        return cls(str(file), file.parent, values, toml_lines(text))

    def overridden(self, values: Mapping[Path, Any]) -> Document:
        """The document with some keys from elsewhere, such as the command line."""
        merged = _copy(self.values)
        for path, value in values.items():
            table = merged
            for step in path[:-1]:
                if not isinstance(table.setdefault(step, {}), dict):
                    table[step] = {}  # the file has no table there, which is an error that the value's own would hide
                table = table[step]
            table[path[-1]] = value
        return replace(self, values=merged, foreign=frozenset(values))

    def settings(self) -> Settings:
        """The validated settings; raises `ConfigurationError` with every problem."""
        problems: list[Problem] = []
        numbers = _with_units(self.values, (), problems)
        refused = [problem.path for problem in problems]
        try:
            settings = Settings.model_validate(numbers, by_alias=True, by_name=False)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                problem = problem_of(detail, self.values)
                # What a table lacks because one of its values was refused is no problem of its own.
                if not any(path[: len(problem.path)] == problem.path for path in refused):
                    problems.append(problem)
            raise self.error(problems) from error
        if problems:
            raise self.error(problems)
        return settings

    def error(self, problems: Iterable[Problem]) -> ConfigurationError:
        """An error with the problems in the order of their lines."""
        placed = dict.fromkeys(self._placed(problem) for problem in problems)
        return ConfigurationError(sorted(placed, key=lambda problem: problem.line or 0))

    def _placed(self, problem: Problem) -> Problem:
        if any(problem.path[: len(path)] == path for path in self.foreign):
            return replace(problem, file=COMMAND_LINE)
        line = line_of(self.lines, problem.path) if self.lines else None
        return replace(problem, file=self.source, line=line)


def _with_units(value: Any, path: Path, problems: list[Problem]) -> Any:
    """A copy with durations and sizes as numbers; what is none is left out, so that it is reported once."""
    if isinstance(value, dict):
        pairs = {key: _with_units(item, (*path, key), problems) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not _REFUSED}
    if isinstance(value, list):
        return [_with_units(item, (*path, index), problems) for index, item in enumerate(value)]
    unit = _unit(path)
    if unit is None:
        return value
    try:
        return _UNITS[unit](value if isinstance(value, str) else "")
    except ValueError as error:
        problems.append(Problem(path, f"{error}, got {shown(value)}"))
        return _REFUSED


_REFUSED: Final = object()


def _unit(path: Path) -> str | None:
    pattern = schema.pattern_of(path)
    known = schema.keys()
    if pattern in known:
        return known[pattern].kind if known[pattern].kind in _UNITS else None
    parent = known.get(pattern.removesuffix(".*"))
    return "duration" if parent is not None and parent.kind == "table of durations" else None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _syntax_problem(file: str, message: str) -> Problem:
    match = _LINE.search(message)
    line = int(match[1]) if match else None
    where = f" at column {match[2]}" if match else " at the end of the file"
    reason = message[: match.start()] if match else message.removesuffix(" (at end of document)")
    return Problem((), f"not TOML{where}: {reason[:1].lower()}{reason[1:]}", file, line)
