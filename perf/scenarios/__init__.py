"""Scenarios, one file each. A module names its `SCENARIO` and, for the order of the report, an `ORDER`."""
