"""`__all__` of every module names exactly what it shows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for room in ("edge", "cache", "origin", "purge_api") for path in (ROOT / room).rglob("*.py"))


def _public(tree):
    """Names that a module defines itself, without an underscore in front; imported ones are not its own."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def _exported(tree):
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_is_there_sorted_and_true(module):
    tree = ast.parse(module.read_text())
    exported = _exported(tree)
    if module.name == "__main__.py":
        assert exported is None
        return
    assert exported is not None, f"{module.relative_to(ROOT)} has no __all__"
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)  # also what is imported for types alone, and loaded when it is asked for
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    missing = set(exported) - _public(tree) - imported
    assert not missing, f"in __all__ but not there: {sorted(missing)}"
    # Constants are shown where others need them; functions and classes without an underscore always are.
    callables = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    hidden = {name for name in callables if not name.startswith("_")} - set(exported)
    assert not hidden, f"public but not in __all__: {sorted(hidden)}"
    assert len(exported) == len(set(exported))
