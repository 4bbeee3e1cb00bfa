"""A browser over QUIC: Chromium without a window, told to speak HTTP/3 to the node from the first connection on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.processes import Headland
from tests.quic import HOST, configure
from tests.scripted import ScriptedOrigin

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
WAIT_S = 60.0
LARGE = random.Random(3).randbytes(3 << 20)  # noqa: S311 - the same bytes in every run
PAGE = """\
<!doctype html><title>page</title><p id="told">nothing</p>
<script>
(async () => {
  const bytes = await (await fetch("large")).arrayBuffer();
  const sum = await crypto.subtle.digest("SHA-256", bytes);
  const hex = [...new Uint8Array(sum)].map(byte => byte.toString(16).padStart(2, "0")).join("");
  const parts = await Promise.all([...Array(40).keys()].map(async n => (await fetch("small?" + n)).status));
  const spoken = performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"));
  const protocols = [...new Set(spoken.map(entry => entry.nextHopProtocol))].join();
  document.getElementById("told").textContent = [protocols, hex, new Set(parts).size, parts[0]].join(" ");
})();
</script>
"""


def _pin(certificate: Path) -> str:
    """The key's digest, as the browser takes it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


@pytest.mark.skipif(BROWSER is None, reason=f"not installed: one of {', '.join(PROGRAMS)}")
async def test_a_browser_loads_a_page_and_much_more_over_http3_alone(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    fields = {"Cache-Control": "max-age=600"}
    origin.says(f"{path}/page", {**fields, "Content-Type": "text/html"}, PAGE)
    origin.says(f"{path}/large", fields, LARGE)
    origin.says(f"{path}/small", fields, "hello")
    file = configure(tmp_path, origin.url)
    with Headland("serve", "--config", file) as node:
        port = node.serving()["https"].split(":")[1]
        shown = await _dom(f"https://{HOST}:{port}{path}/page", port, tmp_path)
    assert f'<p id="told">h3 {hashlib.sha256(LARGE).hexdigest()} 1 200</p>' in shown


async def _dom(url: str, port: str, directory: Path) -> str:
    """The page as it is when its scripts have run."""
    assert BROWSER is not None
    browser = await asyncio.create_subprocess_exec(
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={directory / 'browser'}",
        "--enable-quic",
        f"--origin-to-force-quic-on={HOST}:{port}",
        f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={_pin(directory / 'cert.pem')}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        shown, _ = await asyncio.wait_for(browser.communicate(), WAIT_S)
    except TimeoutError:
        browser.kill()
        await browser.wait()
        raise
    return shown.decode()
