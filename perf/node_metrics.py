"""What a node says of itself on its admin address, as numbers by name; those of its disks without their paths."""

from __future__ import annotations

import re
import urllib.request

from perf.peer import Peer
from perf.purges import TOKEN


def read(peer: Peer) -> dict[str, float]:
    """All metrics that have one value: `disk_written_bytes_total`, `store_objects{tier="disk"}`."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{peer.admin}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[re.sub(r'\{path="[^"]*"\}', "", name).removeprefix("headland_")] = float(value)
    return found
