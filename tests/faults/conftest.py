"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk_node import CONFIGURATION, SITES, TOKEN, Starts, answer, metrics_of, until
from tests.origins import Origin
from tests.processes import Headland


class DiskNode(Headland):
    """A node whose clients come when its index has everything: before, what it does not know yet is a miss."""

    def serving(self) -> dict[str, str]:
        places = super().serving()
        until(lambda: metrics_of(places)["disk_index_loading"] == 0)
        return places


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(answer) as running:
        yield running


@pytest.fixture
def starts(origin: Origin, tmp_path: Path) -> Starts:
    """Starts a node with the disk of this test; `more` goes into its table."""

    def start(admission: str = "always", disk: str = "disk", more: str = "", sites: str = SITES) -> Headland:
        file = tmp_path / "edge.toml"
        text = CONFIGURATION.replace("ORIGIN", origin.url).replace("ADMISSION", admission).replace("SITES", sites)
        file.write_text(text.replace("DISK", disk).replace('segment = "16MiB"', f'segment = "16MiB"{more}'))
        return DiskNode("serve", "--config", file, HEADLAND_TOKEN=TOKEN)

    return start
