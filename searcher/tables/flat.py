"""A lookup table as flat rows, one for each block, for spreadsheets and data frames; CSV is read back.

Every row repeats what is the same for the whole table, so that rows of several tables can stand in one file of the
reader's own. What is not in the rows: the environment, and the parts of a table that several boards share or that was
merged. Numbers are written with all their digits.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiler_agent.records import TableKey
from searcher.errors import BadInputError
from searcher.tables.flat_rows import SUFFIXES, write_rows
from searcher.tables.lookup_table import Entry, LookupTable

_KEY_COLUMNS = tuple(field.name for field in dataclasses.fields(TableKey))
_PROVENANCE_COLUMNS = ("created", "device", "agent_version", "journal_sha256", "calibration")
_JSON_COLUMNS = ("versions", "estimated_from", "predictors")
_ENTRY_COLUMNS = (
    *("median_ms", "interval_low_ms", "interval_high_ms", "confidence", "rounds", "samples", "converged"),
    *("operations", "model_sha256", "peak_memory_bytes", "file_bytes", "energy_mj", "occurrences", "numerical_error"),
    "predicted_by",
)
TABLE_COLUMNS = (*("space", *_KEY_COLUMNS, "sentinel_ms", "noise_floor_pct", *_PROVENANCE_COLUMNS, *_JSON_COLUMNS),)
"""Columns that are the same in every row of one table."""
COLUMNS = ("block", *_ENTRY_COLUMNS, *TABLE_COLUMNS)
LATER_COLUMNS = ("predicted_by", "predictors")
"""Columns that rows of before predictors lack: nothing in them was predicted."""


def table_rows(table: LookupTable) -> list[dict[str, Any]]:
    """Return one row for each block: what it costs, and the table's key and origin. Unknown values are None."""
    origin = table.provenance
    same = {
        "space": table.space,
        **{name: getattr(table.key, name) for name in _KEY_COLUMNS},
        "sentinel_ms": table.sentinel_ms,
        "noise_floor_pct": table.noise_floor_pct,
        **{name: getattr(origin, name) for name in _PROVENANCE_COLUMNS},
        **{name: _json(getattr(origin, name)) for name in _JSON_COLUMNS},
    }
    return [{"block": block, **_costs(entry), **same} for block, entry in table.entries.items()]


def _json(plain: Mapping[str, str] | None) -> str | None:
    return None if plain is None else json.dumps(dict(plain), ensure_ascii=False)


def _costs(entry: Entry) -> dict[str, Any]:
    low, high = entry.interval_ms
    plain = dataclasses.asdict(entry)
    ends = {"interval_low_ms": low, "interval_high_ms": high}
    told = {**plain, **ends, "operations": json.dumps(list(entry.operations), ensure_ascii=False)}
    return {name: told[name] for name in _ENTRY_COLUMNS}


def export_table(table: LookupTable, out: Path) -> None:
    """Write a table's rows as CSV or Parquet, whichever the file's suffix names.

    Raises:
        BadInputError: the suffix is another, pyarrow is not there for Parquet, or the file cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"--out takes FILE.csv or FILE.parquet, not {out}")
    try:
        write_rows(COLUMNS, table_rows(table), out)
    except OSError as e:
        raise BadInputError(f"cannot write the rows {out}: {e.strerror or e}") from e
