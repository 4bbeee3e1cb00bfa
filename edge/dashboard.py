"""The dashboard: one page with its style and script inside, polling `/v1/stats` once a second.

The page loads nothing from elsewhere, and its Content-Security-Policy says so: scripts and styles are allowed by their
hashes alone. The parts lie beside this file as `dashboard.html`, `dashboard.css` and `dashboard.js`.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

__all__ = ["HEADERS", "PAGE"]


def _part(name: str) -> str:
    return files("edge").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE = _part("dashboard.css")
_SCRIPT = _part("dashboard.js")

PAGE = (
    _part("dashboard.html")
    .replace("<style></style>", f"<style>{_STYLE}</style>")
    .replace("<script></script>", f"<script>{_SCRIPT}</script>")
)
"""The whole page."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The header fields of its answer."""
