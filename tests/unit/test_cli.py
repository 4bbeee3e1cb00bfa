"""The command line as a shell sees it: words, exit statuses, messages. No node is started here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = "[listen]\nhttp = '127.0.0.1:0'\n[[site]]\nhosts = '*'\norigin = 'app'\n[origin.app]\nservers = 'http://127.0.0.1:1'\n"


def headland(*arguments, **variables):
    environment = {**os.environ, **variables}
    environment.pop("HEADLAND_TOKEN", None)
    return subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_teaches_with_examples_and_statuses():
    result = headland("--help")
    assert result.returncode == 0
    for words in ("examples:", "headland demo", "headland serve --origin", "exit status:", "cannot be listened on"):
        assert words in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["demo", "serve", "check", "purge", "explain", "settings"])
def test_every_command_has_help(command):
    result = headland(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: headland {command}")


def test_the_version_is_one_line():
    result = headland("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("headland ")
    assert result.stdout.count("\n") == 1


def test_help_and_version_load_nothing_heavy():
    code = "import sys, edge.cli; print(sorted({'pydantic', 'aiohttp', 'orjson', '_headland'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["serve"],
        ["serve", "--origin", "http://x", "--config", "y"],
        ["serve", "--origin", "http://127.0.0.1:1", "--set", "nonsense"],
        ["serve", "--origin", "http://127.0.0.1:1", "--workers", "many"],
        ["check"],
        ["purge"],
        ["purge", "--tag", "a", "--all"],
        ["explain"],
        ["explain", "http://x/", "-H", "no colon"],
        ["explain", "http://x/", "--token-file", "/nonexistent"],
        ["settings", "nothing"],
    ],
)
def test_wrong_words_are_status_2(arguments):
    result = headland(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_bad_configuration_is_status_1_with_every_problem(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(GOOD + "[cache]\nmemory = 5\n[log]\nformat = 'xml'\n")
    for command in ("check", "serve"):
        result = headland(command, "--config", file)
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.splitlines() == [
            f'{file}:9: cache.memory: expected a size such as "512KiB" or "100MB", got 5',
            f'{file}:11: log.format: expected "off", "json" or "combined", got "xml"',
        ]


def test_a_missing_file_is_status_1(tmp_path):
    result = headland("serve", "--config", tmp_path / "no.toml")
    assert result.returncode == 1
    assert result.stderr == f"{tmp_path}/no.toml: cannot be read: No such file or directory\n"


def test_what_is_wrong_on_the_command_line_is_said_to_be_there():
    result = headland("serve", "--origin", "10.0.0.1", "--workers", "0", "--set", "cache.memroy=1GiB")
    assert result.returncode == 1
    assert "command line: node.workers: expected 1 to 256, got 0" in result.stderr
    assert "command line: cache.memroy: unknown key; did you mean memory?" in result.stderr
    assert "command line: origin.origin.servers[0]: expected an origin such as" in result.stderr


def test_no_node_at_the_admin_address_is_status_4():
    result = headland("explain", "http://x/", "--admin", "127.0.0.1:1")
    assert result.returncode == 4
    assert result.stderr.startswith("headland: no answer from http://127.0.0.1:1: ")
    assert "Traceback" not in result.stderr


def test_a_wrong_admin_address_is_status_2():
    assert headland("explain", "http://x/", "--admin", "ftp://x").returncode == 2


def test_settings_are_printed_for_people_and_for_the_page():
    assert "[cache]" in headland("settings").stdout
    assert headland("settings", "--markdown").stdout == (ROOT / "docs" / "settings.md").read_text()
