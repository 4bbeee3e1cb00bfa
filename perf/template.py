"""Configuration files with `@name@` places: a form that neither NGINX's `$` nor TOML's braces collide with."""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACE = re.compile(r"@([a-z_]+)@")


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with every place filled; a place without a value is a `KeyError` that names it."""
    return PLACE.sub(lambda found: values[found[1]], text)
