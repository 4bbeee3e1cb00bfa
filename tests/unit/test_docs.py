"""What the pages for people say is what the code does: examples run, tables are complete, links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge import policy
from edge.exits import Exit
from tests.certificates import make

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECRET = "0123456789abcdef0123456789abcdef"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "perf" / "README.md"]


def _block(language):
    match = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert match is not None, language
    return match[1]


def _point_of_presence(directory):
    """The files of the README's example; the origin's authority is the site's own certificate."""
    site = make(directory, "www.example.com", "*.example.com")
    site.cert_file.rename(directory / "www.pem")
    site.key_file.rename(directory / "www.key")
    (directory / "origin-ca.pem").write_bytes((directory / "www.pem").read_bytes())
    (directory / "policy.py").write_text(_block("python"))
    (directory / "edge.toml").write_text(_block("toml"))


def _check(directory, **variables):
    return subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", "edge.toml"],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "HEADLAND_TOKEN"}
        | {"PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_of_a_point_of_presence_is_valid(tmp_path):
    _point_of_presence(tmp_path)
    result = _check(tmp_path, HEADLAND_TOKEN=SECRET)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout in README


def test_the_errors_shown_are_those_that_are_given(tmp_path):
    _point_of_presence(tmp_path)
    result = _check(tmp_path)
    assert result.returncode == Exit.CONFIGURATION
    assert result.stderr in README
    file = tmp_path / "edge.toml"
    file.write_text(re.sub(r"^ttl ", "tll ", file.read_text(), flags=re.MULTILINE))
    result = _check(tmp_path, HEADLAND_TOKEN=SECRET)
    assert result.stderr in README


def test_the_example_of_rules_in_python_compiles(tmp_path):
    file = tmp_path / "policy.py"
    file.write_text(_block("python"))
    assert len(policy.load(file)) == 5


def test_every_exit_status_is_explained():
    for status in Exit:
        assert f"| {status.value} | {status.meaning} |" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_map_names_files_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:cache|origin|edge|purge_api|tests|perf|docs)/[\w./{},]+)`", text):
        first, braces, rest = name.partition("{")
        inner, _, last = rest.partition("}")
        for part in inner.split(",") if braces else [""]:
            assert (ROOT / f"{first}{part}{last}").exists(), f"{name}: {part}"
