"""Where each key of a TOML document stands: path to line number, for error messages.

`tomllib` gives values without places. This is a scanner for documents that `tomllib` has already accepted: it knows
where keys and values begin and end, and nothing of what they mean. A path is a tuple of keys and array indices, such as
`("site", 0, "rule", 1, "ttl")`. The line of a table is that of its header or, for tables made in passing, of the first
key that made it; the line of an array's item is where the item begins.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

__all__ = ["Path", "line_of", "path_text", "toml_lines"]

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t]|\r?\n|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_STRINGS: Final = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


def toml_lines(text: str) -> dict[Path, int]:
    """Lines, counted from 1, of every key, table and array item of a valid TOML document."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest thing around it that has one; 1 when nothing has."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def path_text(path: Path) -> str:
    """A path as it is written in messages: `site[0].rule[1].ttl`."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            key = step if _BARE_KEY.fullmatch(step) else f'"{step}"'
            parts.append(f".{key}" if parts else key)
    return "".join(parts)


class _Scanner:
    """A position in the text, and what was seen before it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # arrays of tables, and the index of the table that is open in each
        self._newlines = 0  # how many were counted, up to _counted_to
        self._counted_to = 0

    def document(self) -> None:
        """All statements: table headers and pairs."""
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            line = self._line()
            if self.text.startswith("[[", self.at):
                table = self._array_header(line)
            elif self.text.startswith("[", self.at):
                self.at += 1
                table = self._resolve(self._key("]"), line)
                self.lines[table] = line
                self.at += 1
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _array_header(self, line: int) -> Path:
        self.at += 2
        keys = self._key("]")
        self.at += 2
        parent = self._resolve(keys[:-1], line)
        array = (*parent, keys[-1])
        index = self._arrays.get(array, -1) + 1
        self._arrays[array] = index
        self.lines.setdefault(array, line)
        self.lines[(*array, index)] = line
        return (*array, index)

    def _resolve(self, keys: list[str], line: int) -> Path:
        """The path of a table header: a key that names an array of tables means its open table."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            self.lines.setdefault(path, line)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._key("="):
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1
        self._skip(_SPACE)
        self._value(path)

    def _key(self, end: str) -> list[str]:
        """A dotted key up to, and without, the character that ends it."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text[self.at] == ".":
                self.at += 1
            elif self.text[self.at] == end:
                return keys
            elif self.text[self.at] in "\"'":
                keys.append(_unquoted(self._string()))
            else:
                keys.append(self._skip(_BARE_KEY))

    def _value(self, path: Path) -> None:
        first = self.text[self.at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == "]":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            item = (*path, index)
            self.lines[item] = self._line()
            self._value(item)
            index += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == "}":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1

    def _string(self) -> str:
        for form in _STRINGS:
            match = form.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                return match[0]
        raise ValueError(f"no string at line {self._line()}: the document was not checked by tomllib first")

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"no key at line {self._line()}: the document was not checked by tomllib first")
        self.at = match.end()
        return match[0]

    def _line(self) -> int:
        self._newlines += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._newlines + 1


def _unquoted(key: str) -> str:
    (name,) = tomllib.loads(f"{key} = 0")
    return name
