"""The models of `edge.settings` seen as a flat list of keys: for units, for did-you-mean, for the documentation.

A key's pattern is its path in TOML with `[]` for any item of a list and `*` for any name: `site[].rule[].ttl`,
`origin.*.pool.idle`. Its kind follows from the field's name: one with the word `ms` in it takes a duration, one
with `bytes` a size; everything else is as typed.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge.settings import Settings
from edge.toml_lines import Path
from edge.units import duration_text, size_text

__all__ = ["Key", "Table", "keys", "pattern_of", "tables"]

_KINDS: Final = {str: "text", int: "number", bool: "true or false", dict: "table"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key that may stand in a file."""

    pattern: str
    kind: str
    """`duration`, `size`, `text`, `number`, `true or false`, `list of ...`, `table`, or the words it may be.

    A field whose input differs from what it holds says so itself, as `kind` in its `json_schema_extra`."""
    default: str
    """As it would be written in TOML; `required`, or empty where absence has its own meaning."""
    least: int | None
    most: int | None
    sentence: str

    @property
    def name(self) -> str:
        """The last part of the pattern, as it is written in the file."""
        return self.pattern.rpartition(".")[2].removesuffix("[]")

    def amount(self, number: int) -> str:
        """A number of this kind as it would be written in TOML."""
        if self.kind == "duration":
            return f'"{duration_text(number)}"'
        return f'"{size_text(number)}"' if self.kind == "size" else str(number)

    @property
    def range(self) -> str:
        """Its bounds as text; empty when it has none."""
        if self.least is None or self.most is None:
            return ""
        return f"{self.amount(self.least)} to {self.amount(self.most)}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file with the keys that stand directly in it."""

    pattern: str
    sentence: str
    keys: tuple[Key, ...]


@functools.cache
def tables() -> Mapping[str, Table]:
    """All tables by pattern, the root included as the empty one."""
    return {table.pattern: table for table in _tables("", Settings)}


@functools.cache
def keys() -> Mapping[str, Key]:
    """All keys by pattern."""
    return {key.pattern: key for table in tables().values() for key in table.keys}


def pattern_of(path: Path) -> str:
    """The pattern that a path of a document falls under; names of origins and of headers become `*`."""
    pattern = ""
    for step in path:
        if isinstance(step, int):
            pattern += "[]"
        elif f"{pattern}.*" in tables() or (pattern in keys() and keys()[pattern].kind.startswith("table")):
            pattern += ".*"
        else:
            pattern += f".{step}" if pattern else step
    return pattern


def _tables(pattern: str, model: type[BaseModel]) -> Iterator[Table]:
    nested: list[tuple[str, type[BaseModel]]] = []
    own: list[Key] = []
    for name, field in model.model_fields.items():
        path = f"{pattern}.{field.alias or name}" if pattern else (field.alias or name)
        suffix, inner = _inner_model(field.annotation)
        if inner is not None:
            nested.append((path + suffix, inner))
        if inner is None or field.description:
            own.append(_key(path, name, field))
    yield Table(pattern, (model.__doc__ or "").strip(), tuple(own))
    for path, inner in nested:
        yield from _tables(path, inner)


def _key(path: str, name: str, field: FieldInfo) -> Key:
    words = name.split("_")
    unit = "duration" if "ms" in words else "size" if "bytes" in words else None
    bounds = {word: getattr(item, word) for item in field.metadata for word in ("ge", "le") if hasattr(item, word)}
    key = Key(
        pattern=path,
        kind=_shown_kind(field, unit),
        default="",
        least=bounds.get("ge"),
        most=bounds.get("le"),
        sentence=field.description or "",
    )
    return Key(**{slot: getattr(key, slot) for slot in Key.__slots__} | {"default": _default(key, field)})


def _shown_kind(field: FieldInfo, unit: str | None) -> str:
    if isinstance(field.json_schema_extra, dict) and "kind" in field.json_schema_extra:
        return str(field.json_schema_extra["kind"])
    if unit and get_origin(_bare(field.annotation)) is dict:
        return f"table of {unit}s"
    return unit if unit and _bare(field.annotation) is int else _kind(field.annotation)


def _default(key: Key, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if key.name == "workers":
        return "cores"  # the only default that differs between machines
    value = field.get_default(call_default_factory=True)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return key.amount(value) if isinstance(value, int) else f'"{value}"'


def _inner_model(annotation: Any) -> tuple[str, type[BaseModel] | None]:
    """The model in an annotation, with what leads to it: nothing, `[]` or `.*`."""
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return "", bare
    arguments = get_args(bare)
    if get_origin(bare) is list:
        suffix, inner = _inner_model(arguments[0])
        return f"[]{suffix}", inner
    if get_origin(bare) is dict:
        suffix, inner = _inner_model(arguments[1])
        return f".*{suffix}", inner
    return "", None


def _kind(annotation: Any) -> str:
    bare = _bare(annotation)
    if get_origin(bare) is Literal:
        return " or ".join(f'"{word}"' if isinstance(word, str) else str(word) for word in get_args(bare))
    if get_origin(bare) is list:
        return f"list of {_kind(get_args(bare)[0])}"
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return "table"
    return _KINDS.get(get_origin(bare) or bare, "text")


def _bare(annotation: Any) -> Any:
    """An annotation without Annotated and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [part for part in get_args(annotation) if part is not type(None)]
        if len(rest) == 1:
            return _bare(rest[0])
    return annotation
