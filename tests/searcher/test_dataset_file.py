"""Datasets as files: what is written comes back, and what is wrong in a row is refused with its line."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.tables.dataset import COLUMNS, NEAR_ERROR, OPERATORS, RANDOM, SPACE, KernelRow, flat_rows, row_of
from searcher.tables.dataset_file import read_dataset, write_dataset
from tests.searcher.builders import KEY
from tests.searcher.kernel_rows import CALL_MS, pointwise, relu, row

ROWS = [
    row(pointwise(16, 24, 32, activation="relu"), 1 / 3, predicted_ms=0.3, drawing_round=2, origin=NEAR_ERROR),
    row(relu(16, 8, 9), 0.01, operations=("Relu", 'a "b"')),
    row(relu(16, 8, 9), 0.02, replace(KEY, threads=2, spinning=True)),
    row(
        BlockSpec("mbconv", ((1, 8, 9, 9),), 8, 3, 1, 1, 1, "relu", hidden_channels=24), sentinel_ms=None, origin=SPACE
    ),
    row(BlockSpec("add", ((1, 8, 9, 9),) * 2, 8), origin=OPERATORS, job="net, deep.onnx"),
]


def dataset(folder: Path, rows: list[KernelRow] = ROWS, name: str = "d.csv") -> Path:
    write_dataset(rows, folder / name)
    return folder / name


def test_rows_come_back_with_every_digit(tmp_path: Path) -> None:
    path = dataset(tmp_path)
    assert read_dataset(path) == ROWS
    write_dataset(read_dataset(path), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


@given(
    st.floats(1e-9, 1e9),
    st.none() | st.floats(1e-9, 1e9),
    st.integers(0, 99),
    st.sampled_from((RANDOM, SPACE)),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
def test_any_row_comes_back_from_flat_texts(
    latency_ms: float, predicted_ms: float | None, drawing_round: int, origin: str, job: str
) -> None:
    changes: dict[str, Any] = {"predicted_ms": predicted_ms, "drawing_round": drawing_round, "origin": origin}
    made = row(pointwise(3, 7, 5), latency_ms, interval_ms=(latency_ms, latency_ms), job=job, **changes)
    (flat,) = flat_rows([made])
    assert row_of(flat) == made
    assert row_of({name: None if value is None else str(value) for name, value in flat.items()}) == made


def test_operators_that_are_no_text_are_refused() -> None:
    # As a Parquet file may hold them.
    (flat,) = flat_rows([row(pointwise(3, 7, 5))])
    with pytest.raises(BadInputError):
        row_of({**flat, "operations": ["Conv"]})


def test_columns_are_for_people_and_data_frames(tmp_path: Path) -> None:
    with dataset(tmp_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    wanted = {
        "schema_version": "1",
        "type": "pointwise",
        "outputs": "24",
        "macs": str(16 * 24 * 32 * 32),
        "activation": "1",
        "threads": "1",
        "origin": "near_error",
        "group": "0",
    }
    assert {name: rows[0][name] for name in wanted} == wanted
    # The same kernel under another key is of the same group.
    assert [one["group"] for one in rows] == ["0", "1", "1", "2", "3"]
    assert (rows[4]["call_ms"], rows[4]["interval_low_ms"]) == ("", "")


def test_a_kernels_own_latency_is_without_the_call() -> None:
    assert ROWS[1].own_ms == pytest.approx(0.01 - CALL_MS)
    assert ROWS[4].own_ms == ROWS[4].latency_ms == 0.5
    assert ROWS[0].error_pct == pytest.approx(-10)
    assert ROWS[1].error_pct is None


def set_cell(line: int, column: str, text: str) -> Callable[[list[list[str]]], None]:
    def spoil(rows: list[list[str]]) -> None:
        rows[line - 1][COLUMNS.index(column)] = text

    return spoil


def delete_column(rows: list[list[str]]) -> None:
    for one in rows:
        del one[COLUMNS.index("call_ms")]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (set_cell(3, "schema_version", "2"), "line 3: its schema version is 2, not 1"),
        (set_cell(3, "schema_version", ""), "line 3: "),
        (set_cell(2, "block", "conv"), "line 2: 'conv' is no block's key"),
        (set_cell(2, "block", ""), "line 2: 'None' is no block's key"),
        (set_cell(2, "type", "convolution"), "line 2: conv_bn-k1-s1-p0-g1-1x16x32x32-to24-relu-fp32 is a pointwise"),
        (set_cell(2, "height", "33"), "line 2: height of conv_bn-k1-s1-p0-g1-1x16x32x32-to24-relu-fp32 is 32, not 33"),
        (set_cell(2, "height", ""), "line 2: height is no number"),
        (set_cell(2, "latency_ms", "0"), "line 2: it: latency_ms is a positive number, not 0.0"),
        (set_cell(2, "latency_ms", "nan"), "line 2: it: latency_ms is a positive number, not nan"),
        (set_cell(2, "latency_ms", "fast"), "line 2: latency_ms: "),
        (set_cell(2, "latency_ms", ""), "line 2: latency_ms: "),
        (set_cell(2, "call_ms", ""), "line 2: it: estimates have neither a call nor an interval"),
        (set_cell(2, "interval_low_ms", "9"), "line 2: it: an interval goes from a positive low to a high"),
        (set_cell(2, "interval_low_ms", ""), "line 2: interval_ms"),
        (set_cell(2, "confidence", "1.5"), "line 2: it: a confidence lies between 0 and 1"),
        (
            set_cell(2, "origin", "elsewhere"),
            "line 2: it: an origin is one of random, ends, near_error",
        ),
        (set_cell(2, "predicted_ms", "-1"), "line 2: it: predicted_ms is a positive number"),
        (set_cell(2, "operations", "["), "line 2: "),
        (set_cell(2, "operations", ""), "line 2: operations: "),
        (set_cell(2, "precision", "int8"), "line 2: it: the block computes in fp32, its key tells of int8"),
        (set_cell(2, "threads", "one"), "line 2: key.threads: "),
        (set_cell(4, "threads", "1"), "line 4: "),
        (lambda rows: rows[2].append("x"), "line 3: it has"),
        (lambda rows: rows.append(rows[1]), "line 7: conv_bn-k1-s1-p0-g1-1x16x32x32-to24-relu-fp32 stands in line 2"),
        (lambda rows: rows[0].__setitem__(1, "type"), "it has no column 'block'"),
        (lambda rows: rows[0].append("type"), "it names a column twice"),
        (delete_column, "it has no column 'call_ms'"),
        (lambda rows: rows.__delitem__(slice(1, None)), "holds no rows"),
        (lambda rows: rows.clear(), "it has no column 'schema_version'"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, spoil: Callable[[list[list[str]]], None], sentence: str
) -> None:
    path = dataset(tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    spoil(rows)
    if sentence == "line 4: ":
        # Now the same kernel under the same key, but for spinning.
        rows[3][COLUMNS.index("spinning")] = "False"
        sentence = "line 4: relu-k1-s1-p0-g1-1x16x8x9-to16-fp32 stands in line 3 already"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(BadInputError) as caught:
        read_dataset(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'a,"b', b"a,b\n1,2\n", b"\x00\x01"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"x\.csv"):
        read_dataset(path)
    with pytest.raises(BadInputError, match="cannot read the dataset"):
        read_dataset(tmp_path / "missing.csv")
    with pytest.raises(BadInputError, match=r"FILE\.csv or FILE\.parquet"):
        read_dataset(tmp_path / "x.json")


def test_estimates_of_one_operator_may_stand_twice(tmp_path: Path) -> None:
    rows = [ROWS[4], ROWS[4], row(ROWS[4].spec)]
    assert read_dataset(dataset(tmp_path, rows)) == rows


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = dataset(tmp_path)
    before = path.read_bytes()
    with pytest.raises(BadInputError, match="cannot write the dataset"):
        write_dataset(ROWS[:1], path / "below.csv")
    assert path.read_bytes() == before


def test_parquet_without_pyarrow_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for action in (lambda: write_dataset(ROWS, tmp_path / "d.parquet"), lambda: read_dataset(tmp_path / "d.parquet")):
        with pytest.raises(BadInputError, match=r"pip install 'profiler-agent\[parquet\]'"):
            action()
    assert list(tmp_path.iterdir()) == []


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow, an extra of its own")
    path = dataset(tmp_path, name="d.parquet")
    assert read_dataset(path) == ROWS
    parquet = importlib.import_module("pyarrow.parquet")
    assert tuple(parquet.read_table(path).column_names) == COLUMNS
    path.write_bytes(b"PAR1")
    with pytest.raises(BadInputError, match="cannot read the dataset"):
        read_dataset(path)
