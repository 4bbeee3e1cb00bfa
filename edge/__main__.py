"""`python -m edge` is the command `headland`."""

from __future__ import annotations

import sys

from edge.cli import main

sys.exit(main())
