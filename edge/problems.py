"""What is wrong with a configuration: a list of places and sentences, never only the first.

    edge.toml:17: site[0].rule[1].ttl: expected a duration such as "10s" or "1d", got "10 parsecs"

The sentences name what was expected and what was found. Texts of the validating library do not reach people, since they
speak of Python types.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic_core import ErrorDetails

from edge import schema
from edge.toml_lines import Path, path_text

__all__ = ["ConfigurationError", "Problem", "problem_of", "shown", "value_at"]

_SHOWN_MAX: Final = 60
_TYPES: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, at one place."""

    path: Path
    sentence: str
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        return ": ".join(part for part in (place, path_text(self.path), self.sentence) if part)


class ConfigurationError(Exception):
    """A configuration that was refused as a whole; `problems` has every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def of(cls, sentence: str, file: str = "") -> ConfigurationError:
        """An error with one problem that has no place."""
        return cls([Problem((), sentence, file)])


def shown(value: object) -> str:
    """A value as it would stand in TOML, shortened."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except orjson.JSONEncodeError:
        text = str(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def value_at(document: Any, path: Path) -> tuple[Any, Path]:
    """The value at a path and the path itself, or those of the deepest thing on the way that exists."""
    way: list[str | int] = []
    for step in path:
        if step == 0 and not isinstance(document, list):
            continue  # one item stands for a list of one
        exists = (isinstance(document, Mapping) and step in document) or (
            isinstance(document, list) and isinstance(step, int) and step < len(document)
        )
        if not exists:
            break
        document = document[step]
        way.append(step)
    return document, tuple(way)


def problem_of(error: ErrorDetails, document: Mapping[str, Any]) -> Problem:
    """Translate one error of the models; `document` is what the file said, units and all."""
    value, path = value_at(document, error["loc"])
    kind = error["type"]
    if kind == "missing":
        path = error["loc"]
        return Problem(path, f"required and not there{_meaning(path)}")
    if kind == "extra_forbidden":
        return Problem(path, _unknown(path))
    return Problem(path, _sentence(error, path, value))


def _sentence(error: ErrorDetails, path: Path, value: object) -> str:
    kind, context = error["type"], error.get("ctx", {})
    # Where one item stands for a list of one, only the models' own path has the key's pattern.
    key = schema.keys().get(schema.pattern_of(path)) or schema.keys().get(schema.pattern_of(error["loc"]))
    if kind in _TYPES:
        return f"expected {_TYPES[kind]}, got {shown(value)}"
    if kind == "literal_error":
        return f"expected {context['expected'].replace(chr(39), chr(34))}, got {shown(value)}"
    if kind in {"greater_than_equal", "less_than_equal"} and key is not None and key.range:
        return f"expected {key.range}, got {shown(value)}"
    if kind in {"too_short", "string_too_short"}:
        return "expected something, got nothing"
    if kind in {"too_long", "string_too_long"}:
        return f"expected at most {context['max_length']} {'items' if kind == 'too_long' else 'characters'}"
    if kind == "value_error":
        return str(context["error"])
    return f"{error['msg'].lower()}, got {shown(value)}"


def _meaning(path: Path) -> str:
    key = schema.keys().get(schema.pattern_of(path))
    return f". {key.sentence}" if key is not None else ""


def _unknown(path: Path) -> str:
    parent = schema.pattern_of(path[:-1])
    known = {key.name for key in schema.tables()[parent].keys} if parent in schema.tables() else set()
    prefix = f"{parent}." if parent else ""
    below = {other.removeprefix(prefix) for other in schema.tables() if other.startswith(prefix) and other != parent}
    known |= {other.split(".")[0].split("[")[0] for other in below}
    close = difflib.get_close_matches(str(path[-1]), sorted(known), n=1)
    return f"unknown key; did you mean {close[0]}?" if close else f"unknown key; known are {', '.join(sorted(known))}"
