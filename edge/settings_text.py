"""The keys of a configuration as text: for the terminal, and as docs/settings.md."""

from __future__ import annotations

from typing import Final

from edge.schema import Key, Table, tables

__all__ = ["markdown", "plain"]

_HEAD: Final = """\
# Settings

Every key that a configuration may have. This page is made by `headland settings --markdown`, never edited by hand.

Durations are written with a unit (`"1500ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"`), and so are sizes (`"512KiB"`, `"1GiB"`,
`"100MB"`). File names are relative to the configuration. A list of one text may be written as the text alone where the
type says list. In the names of tables, `[]` means that there may be several, and `*` stands for a name of your choice.
"""


def plain(only: str | None = None) -> str:
    """All tables, or one with those below it, for a terminal; empty when there is no such table."""
    return "\n".join(_plain_table(table) for table in _chosen(only))


def markdown() -> str:
    """The whole page docs/settings.md."""
    return "\n".join([_HEAD, *(_markdown_table(table) for table in _chosen(None))])


def _chosen(only: str | None) -> list[Table]:
    wanted = (only or "").replace("[]", "").strip(".")
    named = ((table.pattern.replace("[]", "").replace(".*", ""), table) for table in tables().values() if table.keys)
    return [table for name, table in named if not wanted or name == wanted or name.startswith(f"{wanted}.")]


def _title(table: Table) -> str:
    """A table as its header is written in TOML."""
    name = table.pattern.replace(".*", ".NAME")
    return f"[[{name.removesuffix('[]').replace('[]', '')}]]" if name.endswith("[]") else f"[{name.replace('[]', '')}]"


def _facts(key: Key) -> str:
    facts = [key.kind]
    if key.default:
        facts.append(key.default if key.default == "required" else f"default {key.default}")
    return ", ".join([*facts, *([key.range] if key.range else [])])


def _plain_table(table: Table) -> str:
    lines = [_title(table), f"  # {table.sentence}"]
    for key in table.keys:
        lines += [f"  {key.name}", f"      {key.sentence}", f"      ({_facts(key)})"]
    return "\n".join([*lines, ""])


def _markdown_table(table: Table) -> str:
    rows = [
        f"| `{key.name}` | {key.kind} | {_code(key.default)} | {key.range} | {key.sentence.replace('|', '&#124;')} |"
        for key in table.keys
    ]
    head = ["| key | type | default | range | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## `{_title(table)}`", "", table.sentence, "", *head, *rows, ""])


def _code(default: str) -> str:
    return f"`{default}`" if default and default not in {"required", "cores"} else default
