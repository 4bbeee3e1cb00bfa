"""The built wheel in an empty environment: what a user gets, with nothing of the source tree around."""

import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.origins import Origin
from tests.processes import ROOT

WHEELS = sorted((ROOT / "dist").glob("headland-*.whl"), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def wheel():
    if not WHEELS:
        pytest.skip("no wheel in dist/: make test builds one")
    return WHEELS[-1]


def test_the_wheel_has_the_packages_and_no_sources_of_rust(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"edge", "cache", "origin", "purge_api", "_headland"} <= tops
    assert not [name for name in names if name.endswith((".rs", "Cargo.toml", "clippy.toml"))]
    for room in ("edge", "cache", "origin", "purge_api", "_headland"):
        assert f"{room}/py.typed" in names
    for path in ("edge/demo.py", "purge_api/mount.py", "edge/dashboard.html", "_headland/__init__.pyi"):
        assert path in names


def test_the_wheel_serves_from_an_empty_environment(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    pip = [tmp_path / "env/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements/run.txt"], check=True, timeout=300)
    subprocess.run([*pip, "--no-deps", wheel], check=True, timeout=60)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    headland = tmp_path / "env/bin/headland"
    version = subprocess.run(
        [headland, "--version"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"headland \d+\.\d+\.\d+\n", version.stdout)
    with (
        Origin() as origin,
        subprocess.Popen(
            [headland, "serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
            cwd=tmp_path,
            env=bare,
            stdout=subprocess.PIPE,
            text=True,
        ) as node,
    ):
        try:
            assert node.stdout is not None
            line = node.stdout.readline()
            address = re.search(r"http on (\S+),", line)
            assert address, line
            for _ in range(2):
                with urllib.request.urlopen(f"http://{address[1]}/a", timeout=10) as answer:
                    assert answer.read() == b"/a"
            assert origin.asked == ["/a"]
        finally:
            node.terminate()
        assert node.wait(30) == 0


def test_the_library_is_typed_and_light(wheel):
    code = "import sys, purge_api.client; print('edge' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=Path("/"), capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
