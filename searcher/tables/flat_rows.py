"""Flat rows as files for spreadsheets and data frames: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import importlib
import io
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from searcher.artifacts import replacing, write_text
from searcher.errors import BadInputError

SUFFIXES = (".csv", ".parquet")


def is_parquet(path: Path) -> bool:
    """Tell a file of Parquet by its suffix."""
    return path.suffix.lower() == ".parquet"


def write_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows atomically, as Parquet if the suffix names it, else as CSV.

    Raises:
        BadInputError: pyarrow is not there for Parquet.
        OSError: the file cannot be written.
    """
    if not is_parquet(path):
        write_text(path, csv_text(columns, rows))
        return
    arrow, parquet = pyarrow("pyarrow"), pyarrow("pyarrow.parquet")
    with replacing(path) as temporary:
        parquet.write_table(arrow.table({name: [row[name] for row in rows] for name in columns}), temporary)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV, the first line naming the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def pyarrow(module: str) -> types.ModuleType:
    """Return a module of pyarrow, which only those have who want Parquet.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise BadInputError(
            "Parquet needs pyarrow, which is not installed: pip install 'profiler-agent[parquet]', or write FILE.csv"
        ) from e
