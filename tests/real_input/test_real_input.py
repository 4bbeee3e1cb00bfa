"""Thousands of real files and GiB of made ones through the node, byte for byte; load by wrk and h2load; a browser.

The clients are those that people use. Default sizes keep this under a minute; HEADLAND_TEST_GIB enlarges it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.processes import Headland
from tests.real_input.conftest import DOCUMENTATION

MEMORY_BYTES_MAX = 640 << 20
"""What the node may hold at its peak: 192 MiB of cache, which parts of long files fill, 64 MiB of fills, 90 MiB of
Python, windows, buffers, and what the allocator keeps of them."""
PAGES_MAX = 5000
PROTOCOLS = {"h1": "--http1.1", "h2c": "--http2-prior-knowledge", "h2": "--http2"}

pytestmark = pytest.mark.slow


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def documents():
    """Files of the documentation tree that NGINX may read, by their paths below it."""
    found = (path for path in sorted(DOCUMENTATION.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path.relative_to(DOCUMENTATION) for path in found if path.stat().st_mode & 0o004][:PAGES_MAX]


def base(stage, protocol):
    return f"https://{stage.https}" if protocol == "h2" else f"http://{stage.http}"


def fetch_all(stage, protocol, names, directory):
    """All documents by one curl, several at a time; what went wrong in curl's own words."""
    script = []
    for name in names:
        url = f"{base(stage, protocol)}/doc/{quote(str(name))}"
        target = str(directory / name).replace('"', r"\"")
        script += [f'url = "{url}"', f'output = "{target}"']
    config = directory / ".curl"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("\n".join(script))
    trust = ["--cacert", str(stage.authority)]
    flags = ["--fail", "--create-dirs", "--parallel", "--parallel-max", "20", "--max-time", "120"]
    command = ["curl", "-q", "-sS", PROTOCOLS[protocol], *trust, *flags, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


@needs("curl")
def test_every_document_arrives_as_it_is(stage, tmp_path):
    names = documents()
    if len(names) < 1000:
        pytest.skip(f"{DOCUMENTATION} has only {len(names)} files")
    asked = []
    # Without h2c: with prior knowledge curl 7.88 cannot use a connection again, be it NGINX's.
    for number, protocol in enumerate(["h1", "h1", "h2"]):
        directory = tmp_path / str(number)
        result = fetch_all(stage, protocol, names, directory)
        # With --parallel it shows its progress there as well, however silent it is told to be.
        assert result.returncode == 0, result.stderr
        assert "curl: " not in result.stderr, result.stderr
        wrong = [name for name in names if (directory / name).read_bytes() != (DOCUMENTATION / name).read_bytes()]
        assert not wrong, f"{protocol}: {len(wrong)} of {len(names)} differ, first {wrong[0]}"
        shutil.rmtree(directory)
        asked.append(len(stage.origin.asked()))
    # The second time they came from memory; the third time is another scheme, and so another key.
    assert asked[1] - asked[0] <= len(names) // 100


def digest_of(stage, protocol, path):
    """What curl gets, hashed as it comes."""
    command = ["curl", "-q", "-sS", "--fail", "--cacert", str(stage.authority), PROTOCOLS[protocol]]
    digest = hashlib.sha256()
    with subprocess.Popen([*command, base(stage, protocol) + path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(1 << 20):
            digest.update(piece)
    return process.returncode, digest.hexdigest()


def peak_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@needs("curl")
def test_gibibytes_stream_through_a_bounded_node(stage):
    paths = list(stage.made)
    for number, path in enumerate(paths):
        protocol = list(PROTOCOLS)[number % len(PROTOCOLS)]
        assert digest_of(stage, protocol, path) == (0, stage.made[path]), f"{path} by {protocol}"
    assert peak_bytes(stage.pid) < MEMORY_BYTES_MAX


@needs("curl")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_small_and_middling_files_are_whole_from_memory_too(stage, protocol):
    for path in list(stage.made)[:3]:
        for _ in range(2):
            assert digest_of(stage, protocol, path) == (0, stage.made[path])


@needs("wrk")
@pytest.mark.parametrize("path", ["/made/0.bin", "/made/1.bin", "/doc/nothing-here"])
def test_wrk_sees_no_error(stage, path):
    command = ["wrk", "-t1", "-c32", "-d2s", f"http://{stage.http}{path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Socket errors" not in result.stdout, result.stdout
    assert ("Non-2xx" in result.stdout) is (path == "/doc/nothing-here"), result.stdout
    assert int(re.search(r"(\d+) requests in", result.stdout)[1]) > 100


@needs("h2load")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("path", ["/made/0.bin", "/made/1.bin"])
def test_h2load_sees_no_error(stage, scheme, path):
    place = stage.http if scheme == "http" else stage.https
    command = ["h2load", "-n", "5000", "-c", "10", "-m", "10", f"{scheme}://{place}{path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in result.stdout, result.stdout
    assert "status codes: 5000 2xx" in result.stdout


BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")


@pytest.mark.skipif(not BROWSER, reason="no Chromium is installed")
@pytest.mark.parametrize("page", ["/", "/gallery"])
def test_a_browser_shows_the_demo_site(tmp_path, page):
    with Headland("demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as demo:
        site = None
        while site is None:
            line = demo.line("stdout")
            site = re.search(r"(https://\S+?)/ \(certificate", line)
        sandbox = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}"]
        command = [
            BROWSER,
            "--headless",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            *sandbox,
            "--ignore-certificate-errors",
            "--virtual-time-budget=5000",
            "--dump-dom",
            site[1] + page,
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    # Its script ran, asked the node once more and got an answer from the cache.
    assert "This page: from the node" in result.stdout, result.stdout[-2000:]
    assert re.search(r"<code>[\w-]+; hit", result.stdout), result.stdout[-2000:]
