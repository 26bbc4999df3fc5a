"""Tables as flat rows: everything that matters comes back from CSV, and Parquet needs pyarrow."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.flat import COLUMNS, export_table, table_rows
from searcher.tables.foreign.reading import read_foreign
from searcher.tables.foreign.table_csv import read_table_csv
from searcher.tables.lookup_table import TABLE_DOCUMENT, Entry, ImportedFile, LookupTable
from searcher.tables.validate import validate_table
from tests.searcher.builders import KEY, table

SPACE = NasBench201()
FULL = Entry(1 / 3, (0.1 + 0.2, 0.7), 0.9688, 6, 18, False, ("Conv", 'a "b", c'), "ab", 10, 20, 1.5, 3, 0.25)


def whole_table() -> LookupTable:
    """A table with every field that rows hold."""
    made = table(SPACE, lambda block: 1.0 + block.output_channels / 7, replace(KEY, affinity="0,1", spinning=True))
    entries = dict(sorted({**made.entries, 'odd, "key"': FULL}.items()))
    origin = replace(made.provenance, calibration="digits,\nmore", estimated_from={"ö.onnx": "00"})
    return replace(made, entries=entries, provenance=origin, sentinel_ms=0.08, noise_floor_pct=0.5)


def exported(tmp_path: Path, made: LookupTable) -> Path:
    export_table(made, tmp_path / "table.csv")
    return tmp_path / "table.csv"


def test_csv_brings_everything_back_but_the_environment(tmp_path: Path) -> None:
    made = whole_table()
    file = read_foreign(exported(tmp_path, made))
    back = read_table_csv(file)
    origin = ImportedFile("table.csv", file.sha256, "csv", None, "median")
    assert back == replace(made, environment=None, provenance=replace(made.provenance, imported_from=origin))


def test_what_came_back_says_that_its_key_alone_is_known(tmp_path: Path) -> None:
    back = read_table_csv(read_foreign(exported(tmp_path, table(SPACE, lambda _block: 1.0))))
    TABLE_DOCUMENT.save(replace(back, key=replace(KEY, threads=0)), tmp_path / "back.json")
    said = [finding.sentence for finding in validate_table(tmp_path / "back.json").findings]
    assert "its key names 0 threads" in said
    assert "it was imported from table.csv (csv); of its conditions the key alone is known" in said


def test_unknown_values_stay_unknown(tmp_path: Path) -> None:
    back = read_table_csv(read_foreign(exported(tmp_path, table(SPACE, lambda _block: 1.0))))
    assert (back.sentinel_ms, back.noise_floor_pct, back.provenance.estimated_from) == (None, None, None)
    assert {entry.energy_mj for entry in back.entries.values()} == {None}


def test_a_row_repeats_the_key(tmp_path: Path) -> None:
    with exported(tmp_path, whole_table()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert tuple(rows[0]) == COLUMNS
    assert {row["runtime"] for row in rows} == {"onnxruntime"}
    assert {row["threads"] for row in rows} == {"1"}


@given(
    st.floats(1e-6, 1e6),
    st.floats(0, 1),
    st.integers(1, 10**6),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r")), max_size=3),
)
def test_every_number_and_operator_survives(
    tmp_path_factory: pytest.TempPathFactory, median_ms: float, confidence: float, rounds: int, operations: list[str]
) -> None:
    entry = Entry(median_ms, (median_ms, median_ms * 2), confidence, rounds, rounds, True, tuple(operations), "0")
    made = replace(table(SPACE, lambda _block: 1.0), entries={"b": entry})
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    export_table(made, path)
    assert read_table_csv(read_foreign(path)).entries == made.entries


def column(name: str, value: str, line: int = 3) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[line - 1][COLUMNS.index(name)] = value

    return change


def doubled(rows: list[list[str]]) -> None:
    rows.append(rows[1])


def ragged(rows: list[list[str]]) -> None:
    rows[2] = rows[2][:-1]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (column("median_ms", "nan"), "line 3: a median latency is positive, not nan ms"),
        (column("median_ms", "-1"), "line 3: a median latency is positive, not -1.0 ms"),
        (column("median_ms", "0"), "line 3: a median latency is positive, not 0.0 ms"),
        (column("median_ms", "fast"), "line 3: median_ms: input should be a valid number"),
        (column("median_ms", ""), "line 3: median_ms: input should be a valid number"),
        (column("rounds", "2.5"), "line 3: rounds: input should be a valid integer"),
        (column("operations", "Conv"), "line 3: operations is not JSON: 'Conv'"),
        (column("block", ""), "line 3: its block has no key"),
        (column("threads", "2"), "line 3: it is of another table: threads is '2', not '1'"),
        (column("sentinel_ms", "inf", 2), "line 3: it is of another table: sentinel_ms is '', not 'inf'"),
        (doubled, "line 22: it tells "),
        (ragged, f"line 3: it has {len(COLUMNS) - 1} columns, not {len(COLUMNS)}"),
        (column("energy_mj", "energy", 1), "line 1: it has no column 'energy_mj'"),
        (lambda rows: rows.clear(), "line 1: it holds no blocks"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(
    tmp_path: Path, spoil: Callable[[list[list[str]]], None], sentence: str
) -> None:
    path = exported(tmp_path, table(SPACE, lambda _block: 1.0))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    spoil(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(BadInputError) as caught:
        read_table_csv(read_foreign(path))
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sentinel_that_is_no_number_is_refused(tmp_path: Path) -> None:
    made = replace(table(SPACE, lambda _block: 1.0), sentinel_ms=0.08)
    path = exported(tmp_path, made)
    path.write_text(path.read_text().replace(",0.08,", ",inf,"))
    with pytest.raises(BadInputError, match="line 2: sentinel_ms is inf"):
        read_table_csv(read_foreign(path))


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"takes FILE\.csv or FILE\.parquet, not .*table\.txt"):
        export_table(whole_table(), tmp_path / "table.txt")


def test_parquet_without_pyarrow_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInputError, match=r"pip install 'profiler-agent\[parquet\]'"):
        export_table(whole_table(), tmp_path / "table.parquet")
    assert list(tmp_path.iterdir()) == []


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow, an extra of its own")
    made = whole_table()
    export_table(made, tmp_path / "table.parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    assert parquet.read_table(tmp_path / "table.parquet").to_pylist() == table_rows(made)
