"""A lookup table back from the rows that `searcher lut export` wrote."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from profiler_agent.records import TableKey
from searcher.tables.flat import COLUMNS, LATER_COLUMNS, TABLE_COLUMNS
from searcher.tables.foreign.reading import ForeignFile, quote
from searcher.tables.lookup_table import Entry, ImportedFile, LookupTable, Provenance

FORMAT = "csv"
_KEY = TypeAdapter(TableKey)
_ENTRY = TypeAdapter(Entry)
_PROVENANCE = TypeAdapter(Provenance)
_KEY_COLUMNS = tuple(field.name for field in dataclasses.fields(TableKey))
_ENDS = ("interval_low_ms", "interval_high_ms")
_NOT_OF_ENTRIES = ("block", *_ENDS, *TABLE_COLUMNS)
_STATISTIC = "median"


def read_table_csv(file: ForeignFile) -> LookupTable:
    """Read the rows of one table; what rows do not tell, its environment, stays unknown.

    Raises:
        BadInputError: the file does not hold such rows of one table; the message names the line.
    """
    rows = _rows(file)
    first_line, first = next(rows, (1, None))
    if first is None:
        raise file.problem(1, "it holds no blocks")
    entries = {first["block"]: _entry(file, first_line, first)}
    for line, row in rows:
        other = next((name for name in TABLE_COLUMNS if row[name] != first[name]), None)
        if other is not None:
            raise file.problem(
                line, f"it is of another table: {other} is {quote(row[other])}, not {quote(first[other])}"
            )
        if row["block"] in entries:
            raise file.problem(line, f"it tells {quote(row['block'])} a second time")
        entries[row["block"]] = _entry(file, line, row)
    origin = ImportedFile(file.path.name, file.sha256, FORMAT, None, _STATISTIC)
    return LookupTable(
        space=first["space"],
        key=_validated(file, first_line, _KEY, {name: first[name] for name in _KEY_COLUMNS}),
        environment=None,
        provenance=_provenance(file, first_line, first, origin),
        entries=dict(sorted(entries.items())),
        sentinel_ms=_number(file, first_line, first, "sentinel_ms"),
        noise_floor_pct=_number(file, first_line, first, "noise_floor_pct"),
    )


def _rows(file: ForeignFile) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(file.text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if header is None:
                header = row
                if missing := [name for name in COLUMNS if name not in (*row, *LATER_COLUMNS)]:
                    raise file.problem(1, f"it has no column {missing[0]!r}: searcher lut export did not write it")
                if len(set(header)) != len(header):
                    raise file.problem(1, "it names a column twice")
            elif len(row) == len(header):
                yield reader.line_num, {**dict.fromkeys(LATER_COLUMNS, ""), **dict(zip(header, row, strict=True))}
            elif row:
                raise file.problem(reader.line_num, f"it has {len(row)} columns, not {len(header)}")
    except csv.Error as e:
        raise file.problem(reader.line_num, f"it is not CSV: {e}") from e


def _entry(file: ForeignFile, line: int, row: Mapping[str, str]) -> Entry:
    plain: dict[str, Any] = {name: row[name] or None for name in COLUMNS if name not in _NOT_OF_ENTRIES}
    plain["interval_ms"] = tuple(row[name] for name in _ENDS)
    plain["operations"] = _json(file, line, row, "operations")
    # Text of the file stays text; what is empty was unknown, but a hash may be empty.
    plain["model_sha256"] = row["model_sha256"]
    if not row["block"]:
        raise file.problem(line, "its block has no key")
    entry: Entry = _validated(file, line, _ENTRY, plain)
    return entry


def _provenance(file: ForeignFile, line: int, row: Mapping[str, str], origin: ImportedFile) -> Provenance:
    plain = {
        "created": row["created"],
        "device": row["device"],
        "agent_version": row["agent_version"],
        "journal_sha256": row["journal_sha256"] or None,
        "calibration": row["calibration"] or None,
        "versions": _json(file, line, row, "versions"),
        "estimated_from": _json(file, line, row, "estimated_from"),
        "predictors": _json(file, line, row, "predictors"),
        "imported_from": origin,
    }
    provenance: Provenance = _validated(file, line, _PROVENANCE, plain)
    return provenance


def _json(file: ForeignFile, line: int, row: Mapping[str, str], name: str) -> Any:
    if not row[name]:
        return None
    try:
        return json.loads(row[name])
    except (ValueError, RecursionError) as e:
        raise file.problem(line, f"{name} is not JSON: {quote(row[name])}") from e


def _number(file: ForeignFile, line: int, row: Mapping[str, str], name: str) -> float | None:
    if not row[name]:
        return None
    number: float = _validated(file, line, TypeAdapter(float), row[name])
    if not math.isfinite(number):
        raise file.problem(line, f"{name} is {number}")
    return number


def _validated(file: ForeignFile, line: int, adapter: TypeAdapter[Any], plain: Any) -> Any:
    try:
        return adapter.validate_python(plain)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ").lower()
        raise file.problem(line, f"{place}: {reason}" if place else reason) from e
