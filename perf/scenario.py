"""A scenario: a name, what it asks, what the node must reach, and a function that measures.

One file each in scenarios/.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from perf import scenarios
from perf.bench import Bench
from perf.results import Bar, Measure


@dataclass(frozen=True, slots=True)
class Scenario:
    """`run` gets a bench and returns its measures; it raises a `PerfError` when there is nothing to report."""

    name: str
    title: str
    about: str
    bars: tuple[Bar, ...]
    run: Callable[[Bench], list[Measure]]
    by_name: bool = False
    """Runs only when it is named, so that the suite as a whole ends within half an hour."""


def load_all() -> dict[str, Scenario]:
    """Every `SCENARIO` found in scenarios/, by its name, in the order of the files' ORDER (else of their names)."""
    modules = [
        importlib.import_module(f"{scenarios.__name__}.{found.name}")
        for found in pkgutil.iter_modules(scenarios.__path__)
    ]
    modules.sort(key=lambda module: (getattr(module, "ORDER", 1000), module.__name__))
    found = [module.SCENARIO for module in modules]
    return {each.name: each for each in found}
