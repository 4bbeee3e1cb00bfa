"""House rules that no linter knows; each assertion says what to do about it.

Imports follow the arrows of ARCHITECTURE.md in both languages; pyo3 is named in `*/src/python.rs` only; functions and
files stay short (what is longer is listed below with its length, and may only shrink); nothing is left for later;
nothing lies around unused.
"""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("edge", "cache", "origin", "purge_api")
ARROWS = {
    "edge": {"edge", "cache", "origin"},
    "cache": {"cache"},
    "origin": {"origin"},
    "purge_api": {"purge_api", "cache"},
}
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
TEST_FILE_LINES_MAX = 700  # tables of cases are long and easy to read
# What is longer than that, with its length: the number may only shrink, and the entry goes when it fits.
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES: dict[str, int] = {}


def _tracked(*patterns):
    """Files of the repository; of a tree without one (an unpacked sdist), all files."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        return sorted(path for pattern in patterns for path in ROOT.rglob(pattern) if ".venv" not in path.parts)
    return sorted(path for name in listing.stdout.splitlines() if (path := ROOT / name).is_file())


PYTHON = _tracked("*.py")
RUST = _tracked("*.rs")


def _name(path):
    return str(path.relative_to(ROOT))


def _of_rooms(paths):
    return [path for path in paths if path.relative_to(ROOT).parts[0] in ROOMS]


@pytest.mark.parametrize("path", _of_rooms(PYTHON), ids=_name)
def test_python_imports_follow_the_arrows(path):
    room = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            assert node.level == 0, f"line {node.lineno}: name the package instead of dots"
        for name in names:
            top = name.split(".")[0]
            assert top not in ROOMS or top in ARROWS[room], f"line {node.lineno}: {room} must not import {top}"
            assert top not in {"tests", "perf"}, f"line {node.lineno}: the product does not import its tests"


@pytest.mark.parametrize("room", ["edge", "cache", "origin"])
def test_crates_follow_the_arrows(room):
    manifest = tomllib.loads((ROOT / room / "Cargo.toml").read_text())
    tables = [manifest.get(kind, {}) for kind in ("dependencies", "dev-dependencies", "build-dependencies")]
    crates = {name for table in tables for name in table if name.startswith("headland-")}
    assert crates <= {f"headland-{other}" for other in ARROWS[room] - {room}}


def test_pyo3_is_named_at_the_border_only():
    offenders = [
        _name(path)
        for path in RUST
        if not (path.name == "python.rs" and path.parent.name == "src")
        and re.search(r"\bpyo3\b", _code(path.read_text()))
    ]
    assert not offenders, f"pyo3 belongs into */src/python.rs: {offenders}"


def test_the_stack_of_quic_is_named_below_its_trait_only():
    below = ROOT / "edge/src/quic"
    offenders = [
        _name(path)
        for path in RUST
        if path.is_relative_to(ROOT / "edge")
        and not (path.is_relative_to(below) or path == below.with_suffix(".rs"))
        and re.search(r"\bquinn\b", _code(path.read_text()))
    ]
    assert not offenders, f"what HTTP/3 needs of QUIC stands in edge/src/quic/stack.rs: {offenders}"


def test_cache_reads_no_clock():
    clocks = re.compile(r"\b(?:Instant|SystemTime)::now\b")
    offenders = [
        _name(path)
        for path in RUST
        if path.is_relative_to(ROOT / "cache/src") and clocks.search(_code(path.read_text()))
    ]
    assert not offenders, f"time is an argument in cache: {offenders}"


def test_nothing_is_left_for_later():
    # Spelled in pieces, so that this file does not find itself.
    words = re.compile(
        r"\b(?:"
        + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"])
        + r")\b|\bun"
        + r"implemented!|\bto"
        + "do!"
    )
    offenders = [
        f"{_name(path)}:{number}"
        for path in [*PYTHON, *RUST, *_tracked("*.toml", "*.md", "Makefile", "*.sh", "*.pyi")]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert not offenders, f"do it, or open an issue: {offenders}"


def test_tests_wait_on_events_and_never_sleep():
    sleeps = re.compile(r"\btime\.sleep\(|\bthread::sleep\(|from time import .*\bsleep\b")
    tests = [path for path in PYTHON if path.is_relative_to(ROOT / "tests")]
    tests += [path for path in RUST if "tests" in path.parts or path.name == "tests.rs"]
    offenders = [
        f"{_name(path)}:{number}"
        for path in tests
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if sleeps.search(line)
    ]
    assert not offenders, f"wait on an event, with a deadline: {offenders}"


def _python_functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


RUST_FUNCTION = re.compile(
    r"^( *)(?:pub(?:\([a-z: ]+\))? )?(?:const )?(?:async )?(?:unsafe )?(?:extern \"C\" )?fn (\w+)"
)


def _rust_functions(path):
    """Functions by the indentation that rustfmt gives them: a body ends at the first `}` as far left as its `fn`."""
    lines = path.read_text().splitlines()
    for start, line in enumerate(lines):
        match = RUST_FUNCTION.match(line)
        if match is None or line.rstrip().endswith((";", "}")):
            continue
        for end in range(start, len(lines)):
            if lines[end] == f"{match[1]}}}" or (lines[end].endswith(";") and lines[end].startswith(f"{match[1]})")):
                yield match[2], end - start + 1
                break


def test_functions_stay_short():
    lengths = {
        f"{_name(path)}::{name}": length
        for paths, functions in ((PYTHON, _python_functions), (RUST, _rust_functions))
        for path in paths
        for name, length in functions(path)
    }
    too_long = {
        place: length for place, length in lengths.items() if length > LONG_FUNCTIONS.get(place, FUNCTION_LINES_MAX)
    }
    assert not too_long, f"split these functions (at most {FUNCTION_LINES_MAX} lines): {too_long}"
    loose = {place: lengths.get(place) for place, most in LONG_FUNCTIONS.items() if lengths.get(place, 0) < most}
    assert not loose, f"these became shorter: lower or drop their entries in LONG_FUNCTIONS: {loose}"


def _lines_max(place):
    return TEST_FILE_LINES_MAX if "tests" in place else FILE_LINES_MAX


def test_files_stay_short():
    lengths = {_name(path): path.read_text().count("\n") for path in [*PYTHON, *RUST]}
    too_long = {place: length for place, length in lengths.items() if length > LONG_FILES.get(place, _lines_max(place))}
    assert not too_long, f"split these files: {too_long}"
    loose = {place: lengths.get(place) for place, most in LONG_FILES.items() if lengths.get(place, 0) < most}
    assert not loose, f"these became shorter: lower or drop their entries in LONG_FILES: {loose}"


@pytest.mark.parametrize("path", _of_rooms([*PYTHON, *RUST]), ids=_name)
def test_every_file_says_what_it_is(path):
    text = path.read_text()
    opening = text.startswith('"""') if path.suffix == ".py" else text.startswith("//!")
    is_unit_tests = path.suffix == ".rs" and (path.name == "tests.rs" or "tests" in path.parts)
    assert opening or is_unit_tests, "begin with its purpose"


def test_every_rust_file_is_reached():
    for room in ("cache", "origin", "edge"):
        source = ROOT / room / "src"
        reached = set()
        waiting = [source / "lib.rs"]
        while waiting:
            path = waiting.pop()
            reached.add(path)
            folder = path.parent if path.name in {"lib.rs", "mod.rs", "main.rs"} else path.with_suffix("")
            for name in re.findall(r"^\s*(?:pub(?:\([a-z ]+\))? )?mod (\w+);", path.read_text(), re.MULTILINE):
                found = [file for file in (folder / f"{name}.rs", folder / name / "mod.rs") if file.is_file()]
                assert found, f"{_name(path)} names the missing module {name}"
                waiting += found
        dead = [_name(path) for path in RUST if path.is_relative_to(source) and path not in reached]
        assert not dead, f"no module names these files: {dead}"


def test_every_python_module_is_used():
    """By an import, an entry point or the project's own files; otherwise it is dead."""
    entries = set(re.findall(r'"([a-z_.]+)(?::\w+)?"', (ROOT / "pyproject.toml").read_text()))
    imported = set()
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in _of_rooms(PYTHON)
        if path.name not in {"__init__.py", "__main__.py"}
    }
    dead = [name for name in modules if name not in imported | entries]
    assert not dead, f"nothing uses these modules: {dead}"


def _code(text):
    """Rust without comments; strings stay, which is close enough for words."""
    return re.sub(r"//[^\n]*", "", text)
