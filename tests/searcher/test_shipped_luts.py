"""The tables that ship with the project can be believed."""

from __future__ import annotations

from pathlib import Path

import searcher
from searcher.tables.validate import validate_table

LUTS = Path(searcher.__file__).parents[1] / "luts"


def test_every_table_that_ships_validates_without_errors() -> None:
    tables = sorted(LUTS.glob("*.json"))
    assert tables, f"{LUTS} holds no tables"
    failed = {table.name: validate_table(table).findings for table in tables if validate_table(table).failed}
    assert failed == {}


def test_no_file_lies_there_that_does_not_belong() -> None:
    assert {file.name for file in LUTS.iterdir() if file.suffix not in (".json", ".jsonl")} == {"README.md"}
