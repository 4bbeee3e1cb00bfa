"""Where a peer's CPU goes: its stacks under load, sampled by `perf` and drawn as a flame graph (one SVG, no network).

The width of a box is its share of the samples; what it calls stands on it. Needs `perf` and the right to use it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from perf.machine import find_program

SAMPLES_PER_S = 997
WIDTH, ROW, LEAST = 1200.0, 16.0, 0.4
"""Pixels: of the picture, of one row, and of the narrowest box that is drawn."""
KERNEL, OWN = "#d08770", "#88a9c8"


@dataclass(slots=True)
class Node:
    """One function below its callers; `samples` counts those in it and in what it calls."""

    samples: int = 0
    callees: dict[str, Node] = field(default_factory=dict)


@contextlib.contextmanager
def recorded(pids: list[int], out: Path) -> Iterator[None]:
    """Sample the processes while the context lasts; without `perf` nothing is recorded."""
    program = find_program("perf")
    if program is None:
        yield
        return
    names = ",".join(map(str, pids))
    command = [program, "record", "-q", "-F", str(SAMPLES_PER_S), "-e", "cpu-clock", "-g", "-p", names, "-o", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def stacks(data: Path) -> Iterator[list[str]]:
    """The stacks of a recording, outermost function first; nothing when there is none."""
    program = find_program("perf")
    if program is None or not data.exists():
        return
    command = [program, "script", "-F", "comm,ip,sym", "-i", str(data)]
    text = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace").stdout
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if len(lines) > 1:
            yield [lines[0].strip(), *(_symbol(line) for line in reversed(lines[1:]))]


def _symbol(line: str) -> str:
    address, _, name = line.strip().partition(" ")
    kernel = address.startswith("ffff")
    return f"{name or '[unknown]'}{'_[k]' if kernel else ''}"


def tree(found: Iterator[list[str]]) -> Node:
    """All stacks in one tree."""
    root = Node()
    for stack in found:
        root.samples += 1
        node = root
        for name in stack:
            node = node.callees.setdefault(name, Node())
            node.samples += 1
    return root


def svg(root: Node, title: str) -> str:
    """The tree as a picture; the outermost functions stand at the bottom."""
    depth = _depth(root)
    height = (depth + 2) * ROW
    boxes = list(_boxes(root, 0.0, 0, height))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" '
        f'font-family="monospace" font-size="11">'
        f'<text x="4" y="12">{escape(title)}: {root.samples:,} samples</text>{"".join(boxes)}</svg>\n'
    )


def _depth(node: Node) -> int:
    return 1 + max((_depth(callee) for callee in node.callees.values()), default=0)


def _boxes(node: Node, left: float, level: int, height: float, scale: float = 0.0) -> Iterator[str]:
    scale = scale or WIDTH / max(1, node.samples)
    for name, callee in sorted(node.callees.items()):
        width = callee.samples * scale
        if width >= LEAST:
            top = height - (level + 1) * ROW
            colour = KERNEL if name.endswith("_[k]") else OWN
            share = f"{name} ({callee.samples * scale / WIDTH:.1%})"
            label = escape(name[: int(width / 7)]) if width > 28 else ""
            box = f'x="{left:.1f}" y="{top:g}" width="{width - 0.3:.1f}" height="{ROW - 1:g}" fill="{colour}"'
            text = f'<text x="{left + 2:.1f}" y="{top + 11:g}">{label}</text>'
            yield f"<g><title>{escape(share)}</title><rect {box}/>{text}</g>"
            yield from _boxes(callee, left, level + 1, height, scale)
        left += width
