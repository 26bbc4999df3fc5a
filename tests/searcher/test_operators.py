"""Operators of models as a table and as rows of a dataset."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from profiler_agent.records import OperatorReport, format_operator_report
from searcher.cli.lut import group
from searcher.cost_models.block_sum import BlockSum
from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.operators import COLUMNS, operator_key, operator_rows, operator_table, read_sources
from tests.agent.reports import operator, report


def write(path: Path, content: OperatorReport) -> Path:
    path.write_text(format_operator_report(content), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two models: convolutions of 3 and 5 ms and one of 8 ms; the last also has a ReLU without an estimate."""
    relu = operator("r", None, "Relu", problem="it cannot run alone")
    second = report(model="n.onnx", operators=(operator("c", 8.0), relu), unattributed_ms=1.0)
    return [write(tmp_path / "m.json", report()), write(tmp_path / "n.json", second)]


def built(files: list[Path]) -> LookupTable:
    return operator_table(read_sources(files), "local", "2026-11-21T00:00:00+00:00")


def test_equal_operators_are_merged_and_counted(files: list[Path]) -> None:
    table = built(files)
    key = "Conv[group=1;kernel_shape=3,3;strides=1,1]-1x16x8x8(16x16x3x3)-to1x16x8x8-fp32"
    assert set(table.entries) == {key, CALL_OVERHEAD.key}
    entry = table.entry(key)
    assert (entry.median_ms, entry.interval_ms, entry.occurrences) == (5.0, (3.0, 8.0), 3)
    assert entry.operations == ("Conv",)
    assert table.entry(CALL_OVERHEAD.key).median_ms == 1.0


def test_the_table_says_that_it_holds_estimates(files: list[Path], tmp_path: Path) -> None:
    table = built(files)
    assert table.provenance.journal_sha256 is None
    assert table.provenance.estimated_from is not None
    assert list(table.provenance.estimated_from) == ["m.onnx", "n.onnx"]
    TABLE_DOCUMENT.save(table, tmp_path / "t.json")
    assert TABLE_DOCUMENT.load(tmp_path / "t.json") == table
    with pytest.raises(BadInputError, match="of the space 'operators'"):
        BlockSum(NasBench201(), table)


def test_what_makes_an_operator_another_one_is_in_its_key() -> None:
    base = operator("a", 1.0)
    others = [
        replace(base, operation="FusedConv"),
        replace(base, attributes={**base.attributes, "group": "2"}),
        replace(base, inputs=base.inputs[:1]),
        replace(base, inputs=(replace(base.inputs[0], dtype="float16"), *base.inputs[1:])),
        replace(base, outputs=()),
        replace(base, fused_into=0),
    ]
    assert len({operator_key(one) for one in (base, *others)}) == 1 + len(others)
    assert operator_key(replace(base, name="b", estimate_ms=2.0)) == operator_key(base)


def test_rows_are_one_for_each_operator_with_an_estimate(files: list[Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(operator_rows(read_sources(files)))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["latency_ms"] for row in rows] == ["3.0", "5.0", "8.0"]
    expected = {
        "operation": "Conv",
        "input_shapes": "1x16x8x8",
        "weight_shapes": "16x16x3x3",
        "kernel": "3,3",
        "strides": "1,1",
        "groups": "1",
        "dtype": "fp32",
        "model": "m.onnx",
        "runtime": "onnxruntime",
    }
    assert {name: rows[0][name] for name in expected} == expected


def test_reports_of_different_keys_never_mix(files: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path / "o.json", report(key=replace(report().key, threads=2)))
    with pytest.raises(BadInputError, match=r"o\.json does not mix with .*m\.json: .* threads was 1, is 2"):
        read_sources([*files, other])


@pytest.mark.parametrize("content", ["", "garbage", '{"schema_version": 9}', '{"schema_version": 1}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match=r"x\.json is no report of agent ops"):
        read_sources([path])
    with pytest.raises(BadInputError, match="cannot read the report"):
        read_sources([tmp_path / "missing.json"])


def test_the_command_writes_table_and_rows(files: list[Path], tmp_path: Path) -> None:
    out, rows = tmp_path / "table.json", tmp_path / "rows.csv"
    arguments = ["build", "--from-ops", str(files[0]), str(files[1]), "--out", str(out), "--rows", str(rows)]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert TABLE_DOCUMENT.load(out).space == "operators"
    assert len(rows.read_text().splitlines()) == 4
    assert "range of 3 estimates" in result.output
    shown = CliRunner().invoke(group, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(shown.output)["provenance"]["estimated_from"]


def test_the_command_says_what_it_lacks(files: list[Path]) -> None:
    for arguments, complaint in (
        (["build", "--from-ops", str(files[0])], "nothing to write"),
        (["build", "--from-ops", str(files[0]), "--out", str(files[0])], "would replace the input"),
    ):
        with pytest.raises(BadInputError, match=complaint):
            CliRunner().invoke(group, arguments, catch_exceptions=False)
