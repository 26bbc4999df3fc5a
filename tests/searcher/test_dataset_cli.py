"""`searcher dataset`: what people and programs see of datasets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from profiler_agent.records import Settings, format_operator_report
from searcher.cli import show
from searcher.devices.device import Device
from searcher.spaces.kernel_domain import Limits
from searcher.spaces.kernel_sampling import draw_kernels, draw_near
from searcher.tables.dataset import ENDS, OPERATORS, RANDOM
from searcher.tables.dataset_card import CARD_DOCUMENT, card_path, empty_card, save_card
from searcher.tables.dataset_file import read_dataset, write_dataset
from searcher.tables.dataset_groups import near_duplicates
from searcher.workflows.build_dataset import DatasetRequest, build_dataset
from tests.agent.reports import operator, report
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.kernel_rows import roofline_ms, row

NOW = "2026-11-22T00:00:00+00:00"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Fifty kernels of two types with near-duplicates, half of them predicted, with their card."""
    generator = np.random.default_rng(1)
    specs = [spec for name in ("relu", "pointwise") for spec in draw_kernels(name, 20, generator, Limits())]
    specs += list(filter(None, (draw_near(spec, generator, Limits()) for spec in specs[:10])))
    rows = [row(spec, roofline_ms(spec)) for spec in specs[:25]]
    rows += [row(spec, roofline_ms(spec), predicted_ms=1.2 * roofline_ms(spec), drawing_round=1) for spec in specs[25:]]
    path = tmp_path / "d.csv"
    write_dataset(rows, path)
    save_card(empty_card(path, NOW), rows, path, NOW)
    return path


def test_show_tells_rows_errors_and_limits(searcher: Run, dataset: Path) -> None:
    outcome = searcher("dataset", "show", dataset)
    assert outcome.status == 0, outcome.err
    for part in ("50 kernels in d.csv", "pointwise", "+20.0", "0%", "licence: none", "limit: Weights are random"):
        assert part in outcome.out
    assert "does not fit" not in outcome.out
    told = json.loads(searcher("dataset", "show", dataset, "--json").out)
    assert (told["rows"], told["card_fits"], told["card"]["schema_version"]) == (50, True, 2)
    errors = {one["kernel_type"]: one for one in told["card"]["fresh_errors"]}
    assert errors["pointwise"]["mean_pct"] == pytest.approx(20)


def test_a_card_that_does_not_fit_or_is_missing_is_told(searcher: Run, dataset: Path) -> None:
    write_dataset(read_dataset(dataset)[:5], dataset)
    assert "d.csv has changed since the card was written" in searcher("dataset", "show", dataset).out
    assert json.loads(searcher("dataset", "show", dataset, "--json").out)["card_fits"] is False
    earlier = json.loads(card_path(dataset).read_text()) | {"schema_version": 1}
    card_path(dataset).unlink()
    assert "there is no card d.csv.card.json beside it" in searcher("dataset", "show", dataset).out
    card_path(dataset).write_text(json.dumps(earlier))
    assert_one_sentence(searcher("dataset", "show", dataset), 2, "its schema version is '1', not 2: move it away")
    card_path(dataset).write_text('{"schema_version": 2}')
    assert_one_sentence(searcher("dataset", "show", dataset), 2, "is no data card: it has no file")


def test_a_split_parts_no_near_duplicates(searcher: Run, dataset: Path) -> None:
    before = dataset.read_bytes()
    outcome = searcher("dataset", "split", dataset, "--test-share", "0.3", "--seed", "4")
    assert outcome.status == 0, outcome.err
    train, test = (dataset.with_name(f"d.{name}.csv") for name in ("train", "test"))
    parts = read_dataset(train), read_dataset(test)
    assert sorted(one.spec.key for part in parts for one in part) == sorted(
        one.spec.key for one in read_dataset(dataset)
    )
    assert 10 <= len(parts[1]) <= 15
    assert not any(near_duplicates(one.spec, other.spec) for one in parts[0] for other in parts[1])
    card = CARD_DOCUMENT.load(card_path(test))
    assert (card.rows, card.file) == (len(parts[1]), "d.test.csv")
    assert "test part, share 0.3, seed 4" in (card.part_of or "")
    assert dataset.read_bytes() == before
    assert_one_sentence(searcher("dataset", "split", dataset), 2, "--overwrite replaces both")
    kept = test.read_bytes()
    again = searcher("dataset", "split", dataset, "--test-share", "0.3", "--seed", "4", "--overwrite", "--json")
    assert test.read_bytes() == kept
    assert json.loads(again.out)["test"]["rows"] == len(parts[1])
    roundabout = dataset.parent / "made" / ".." / dataset.name
    for itself in (dataset, roundabout):
        refused = searcher("dataset", "split", dataset, "--train", itself, "--overwrite")
        assert_one_sentence(refused, 2, "three different files")
    assert_one_sentence(searcher("dataset", "split", dataset, "--test-share", "1", "--overwrite"), 2, "between 0 and 1")


def test_operators_of_models_join_once(searcher: Run, dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "ops.json"
    lstm = replace(operator("s", 1.0, "Lstm"), name="s")
    padded = operator("a", 5.0, attributes={"kernel_shape": "3,3", "strides": "1,1", "pads": "1,1,1,1"})
    content = report(operators=(padded, lstm), wall_ms=8.0)
    path.write_text(format_operator_report(content))
    outcome = searcher("dataset", "add", dataset, "--from-ops", path)
    assert outcome.status == 0, outcome.err
    assert (
        "1 operators of m.onnx joined as estimates, 1 did not (1 Lstm: no block computes this operator)" in outcome.out
    )
    rows = read_dataset(dataset)
    assert (len(rows), rows[-1].origin, rows[-1].latency_ms) == (51, OPERATORS, 5.0)
    card = CARD_DOCUMENT.load(card_path(dataset))
    assert (card.rows, card.added_reports[0].left_out) == (51, {"Lstm: no block computes this operator": 1})
    assert "1 operators of m.onnx joined" in searcher("dataset", "show", dataset).out
    before = dataset.read_bytes()
    assert_one_sentence(searcher("dataset", "add", dataset, "--from-ops", path), 2, "are in it already")
    none = tmp_path / "none.json"
    none.write_text(format_operator_report(report(operators=(lstm,), wall_ms=3.0)))
    assert_one_sentence(searcher("dataset", "add", dataset, "--from-ops", none), 2, "no operator of m.onnx is a kernel")
    assert dataset.read_bytes() == before
    # None joins where one of them cannot.
    assert_one_sentence(searcher("dataset", "add", "new.csv", "--from-ops", path, none), 2, "no operator of m.onnx")
    assert_one_sentence(searcher("dataset", "add", "new.csv", "--from-ops", path, path), 2, "m.onnx is given twice")
    assert not (tmp_path / "new.csv").exists()
    begun = searcher("dataset", "add", "new.csv", "--from-ops", path, "--json")
    assert json.loads(begun.out)["rows"] == 1
    assert len(read_dataset(tmp_path / "new.csv")) == 1


def test_a_build_is_refused_in_one_sentence_before_anything_is_measured(searcher: Run) -> None:
    build = ("dataset", "build", "--out", "d.csv")
    assert_one_sentence(searcher(*build, "--types", "relu,lstm"), 2, "not of 'lstm'")
    assert_one_sentence(searcher(*build, "--types", "relu", "--dtype", "int8"), 2, "no kernels by themselves in int8")
    assert_one_sentence(searcher(*build, "--points", "3"), 2, "8 kernels of a type at least, not 3")
    assert_one_sentence(searcher(*build, "--largest", "0"), 2, "--largest takes a positive factor")
    assert_one_sentence(searcher(*build, "--target-pct", "nan"), 2, "--target-pct takes a positive number")
    assert_one_sentence(searcher(*build, "--space", "nowhere"), 2, "nowhere")
    assert_one_sentence(searcher(*build, "--image-size", "224"), 2, "belong to the networks of a --space")
    assert_one_sentence(searcher("dataset", "build", "--out", "d.json"), 2, "FILE.csv or FILE.parquet")


def test_a_small_dataset_of_this_machine(searcher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    path, limits = tmp_path / "d.csv", Limits().scaled(0.001)
    quick = Settings(rounds=1, samples=5, min_sample_ns=100_000, drift_tolerance_pct=100.0)
    build = DatasetRequest(path, Device(), [quick], ("pointwise",), 9, limits=limits)
    assert show.run(build_dataset(build)).rows == 9
    rows = read_dataset(path)
    assert Counter((one.drawing_round, one.origin) for one in rows) == {(0, RANDOM): 6, (0, ENDS): 2, (1, RANDOM): 1}
    assert {(one.key.runtime, len(one.operations)) for one in rows} == {("onnxruntime", 1)}
    assert all(one.operations[0].endswith("Conv") for one in rows)
    assert all(0 < (one.call_ms or 0) < 1 for one in rows)
    assert not (tmp_path / "cache" / "exports").exists()
    # The command goes on with it, and finds that nothing is missing.
    asked = ("dataset", "build", "--out", "d.csv", "--types", "pointwise", "--points", "9", "--largest", "0.001")
    again = searcher(*asked, "--json")
    assert again.status == 0, again.err
    assert "d.csv holds 9 kernels: going on with it" in again.err
    assert [one["rows"] for one in json.loads(again.out)["counts"]] == [2, 7]
    assert read_dataset(path) == rows
