"""Datasets of kernels as files: CSV, or Parquet where pyarrow is installed; read back whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from profiler_agent.records import TableKey
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.tables.dataset import COLUMNS, KernelRow, flat_rows, row_of
from searcher.tables.flat_rows import SUFFIXES, is_parquet, pyarrow, write_rows


def require_dataset_name(path: Path) -> None:
    """Refuse a file name that tells no format, or one whose package is missing.

    Raises:
        BadInputError: it ends in another suffix, or in `.parquet` without pyarrow.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"a dataset is FILE.csv or FILE.parquet, not {path}")
    if is_parquet(path):
        pyarrow("pyarrow")


def write_dataset(rows: Sequence[KernelRow], path: Path) -> None:
    """Write rows atomically as CSV or Parquet, whichever the suffix names, with their groups of near-duplicates.

    Raises:
        BadInputError: the suffix is another, pyarrow is not there for Parquet, or the file cannot be written.
    """
    require_dataset_name(path)
    flat = flat_rows(rows)
    try:
        write_rows(COLUMNS, flat, path)
    except OSError as e:
        raise BadInputError(f"cannot write the dataset {path}: {e.strerror or e}") from e


def read_dataset(path: Path, *, to_extend: bool = False) -> list[KernelRow]:
    """Read a dataset.

    Args:
        path: of the file.
        to_extend: whether it will be written again with more rows: columns that others added would be lost then.

    Raises:
        BadInputError: the file cannot be read, is no dataset, is of another schema version, or one of its rows tells no
            measured kernel or one that was told before; the message names the line, of Parquet the row. Or it is to be
            extended and has columns that are not a dataset's.
    """
    require_dataset_name(path)
    rows: list[KernelRow] = []
    seen: dict[tuple[BlockSpec, TableKey], str] = {}
    for place, flat in (_parquet_rows if is_parquet(path) else _csv_rows)(path):
        if to_extend:
            _require_no_others(path, flat)
        try:
            row = row_of(flat)
        except BadInputError as e:
            raise BadInputError(f"{path}, {place}: {' '.join(str(e).split())}") from e
        # An operator may be estimated in many models, and many times in one.
        if not row.estimated:
            first = seen.setdefault((row.spec, row.key), place)
            if first != place:
                raise BadInputError(f"{path}, {place}: {row.spec.key} stands in {first} already")
        rows.append(row)
    if not rows:
        raise BadInputError(f"the dataset {path} holds no rows")
    return rows


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield each row with the line that it ends in; what is empty is unknown."""
    try:
        reader = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(f"cannot read the dataset {path}: {getattr(e, 'strerror', None) or e}") from e
    try:
        header = next(reader, [])
        _require_columns(path, header)
        for row in reader:
            if len(row) != len(header):
                raise BadInputError(f"{path}, line {reader.line_num}: it has {len(row)} columns, not {len(header)}")
            yield f"line {reader.line_num}", {name: text or None for name, text in zip(header, row, strict=True)}
    except csv.Error as e:
        raise BadInputError(f"{path}, line {reader.line_num}: it is not CSV: {e}") from e


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    parquet, arrow = pyarrow("pyarrow.parquet"), pyarrow("pyarrow")
    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as e:
        raise BadInputError(f"cannot read the dataset {path}: {' '.join(str(e).split())[:200]}") from e
    _require_columns(path, table.column_names)
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"row {number}", row


def _require_columns(path: Path, header: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS if name not in header]:
        raise BadInputError(f"{path} is no dataset of kernels: it has no column {missing[0]!r}")
    if len(set(header)) != len(header):
        raise BadInputError(f"{path} is no dataset of kernels: it names a column twice")


def _require_no_others(path: Path, names: Iterable[str]) -> None:
    if others := [name for name in names if name not in COLUMNS]:
        raise BadInputError(
            f"{path} has a column {others[0][:40]!r}, which is none of a dataset's and would be lost: "
            "keep such columns in a copy, and extend a file without them"
        )
