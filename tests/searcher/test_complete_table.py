"""Tables completed by predictors: real files, cut by the real runtime, and what all checks make of predicted blocks."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from searcher.artifacts import cache_folder, sha256_of
from searcher.cli import show
from searcher.cost_models.block_sum import BlockSum
from searcher.errors import BadInputError
from searcher.export.exporter import exporter_for
from searcher.export.kernels_of_onnx import cut
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.diff import Verdict, diff_tables
from searcher.tables.flat import export_table
from searcher.tables.foreign.reading import read_foreign
from searcher.tables.foreign.table_csv import read_table_csv
from searcher.tables.lookup_table import (
    TABLE_DOCUMENT,
    Entry,
    KeyMismatchError,
    LookupTable,
    MissingBlockError,
)
from searcher.tables.merge import OverlapError, Prefer, TableFile, disagreements, merge_tables, read_tables
from searcher.tables.validate import validate_table
from searcher.workflows.complete_table import CompletionRequest, complete_table, read_predictor
from tests.searcher.builders import KEY, table
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.measured_tables import BLOCKS, by_place, measured_table
from tests.searcher.predictors import CALL_MS, CONFIDENCE, kernels_of, kernels_of_space, predictor_file, saved_predictor

SPACE = NasBench201()
LACKED = tuple(block for block in SPACE.all_blocks() if block.operation == "relu_conv_bn" and block.kernel == 3)
MEASURED = tuple(key for key in BLOCKS if key not in {block.key for block in LACKED})


@pytest.fixture(scope="module")
def kernels() -> list[BlockSpec]:
    return kernels_of_space(SPACE)


@pytest.fixture
def predictor(kernels: list[BlockSpec], tmp_path: Path) -> Path:
    path = tmp_path / "predictor.json"
    saved_predictor(path, predictor_file(kernels))
    return path


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    """A measured table, with its journal, of all blocks but three."""
    path = tmp_path / "lacking.json"
    measured_table(path, blocks=MEASURED)
    return path


def completed(predictor: Path, source: Path | None = None, space: SearchSpace = SPACE) -> LookupTable:
    files = None if source is None else read_tables([source])[0]
    return show.run(complete_table(CompletionRequest(space, read_predictor(predictor), files)))


def test_blocks_that_were_not_measured_are_cut_and_predicted(predictor: Path, lacking: Path) -> None:
    asked, before = read_predictor(predictor).predictor, TABLE_DOCUMENT.load(lacking)
    found = completed(predictor, lacking)
    assert {key: found.entries[key] for key in MEASURED} == before.entries
    assert set(found.predicted) == {block.key for block in LACKED}
    call_ms = before.entries[CALL_OVERHEAD.key].median_ms
    assert call_ms != CALL_MS
    for block in LACKED:
        entry = found.entries[block.key]
        model = exporter_for("onnxruntime").export_block(block, cache_folder() / "exports")
        told = [asked.estimate(kernel.spec) for kernel in cut(model.path, "extended")]
        assert len(told) == len(entry.operations) == 2
        # What a sum over blocks takes off again is the table's own call.
        assert entry.median_ms == pytest.approx(call_ms + sum(one.latency_ms for one in told), abs=1e-6)
        ends = (call_ms + sum(one.interval_ms[end] for one in told) for end in (0, 1))
        assert entry.interval_ms == pytest.approx(tuple(ends), abs=1e-6)
        assert entry.predicted_by == sha256_of(predictor)
        assert (entry.confidence, entry.rounds, entry.model_sha256) == (CONFIDENCE, 0, model.sha256)
    origin = found.provenance
    assert origin.predictors == {"predictor.json": sha256_of(predictor)}
    assert origin.merged_from is not None
    assert [(part.file, set(part.blocks)) for part in origin.merged_from] == [("lacking.json", {*MEASURED})]
    assert completed(predictor, lacking) == found
    assert BlockSum(SPACE, found).block_ms.min() > 0


def test_a_table_of_predictions_alone_is_valid_and_says_so(predictor: Path, tmp_path: Path) -> None:
    found, out = completed(predictor), tmp_path / "all.json"
    assert set(found.predicted) == {*BLOCKS}
    assert found.entries[CALL_OVERHEAD.key].median_ms == CALL_MS
    assert (found.key, found.environment, found.provenance.merged_from) == (KEY, None, None)
    assert BlockSum(SPACE, found).latency_ms(next(SPACE.architectures())) > CALL_MS
    TABLE_DOCUMENT.save(found, out)
    validation = validate_table(out)
    assert not validation.failed, validation.findings
    assert any("predicted, not measured: " in finding.sentence for finding in validation.findings)
    # Of a table that lacks nothing, nothing is predicted.
    assert completed(predictor, out).entries == found.entries


def test_files_that_another_version_cuts_are_told(kernels: list[BlockSpec], tmp_path: Path) -> None:
    here, path, told = onnxruntime.__version__, tmp_path / "predictor.json", []
    for there in (here, "1.0"):
        saved_predictor(path, predictor_file(kernels, key=replace(KEY, runtime_version=there)))
        work = complete_table(CompletionRequest(SPACE, read_predictor(path)))
        told.append([one.note for one in work if one.note])
    assert told == [[], [f"cut into kernels by onnxruntime {here}, trained on 1.0"]]


def test_a_block_with_a_model_of_its_own_is_not_cut(tmp_path: Path) -> None:
    space, path, source = FBNet(), tmp_path / "predictor.json", tmp_path / "source.json"
    blocks = [block for block in space.all_blocks() if block.operation == "mbconv"][:3]
    asked = saved_predictor(path, predictor_file([*blocks, *kernels_of([space.head])]))
    whole = table(space, lambda block: 1.0)
    lacked = {block.key for block in (*blocks, space.head)}
    known = {key: entry for key, entry in whole.entries.items() if key not in lacked}
    TABLE_DOCUMENT.save(replace(whole, entries=known), source)
    found = completed(path, source, space)
    assert {*found.predicted} == lacked
    for block in blocks:
        entry = found.entries[block.key]
        assert entry.operations == ()
        assert entry.median_ms == pytest.approx(1.0 + asked.estimate(block).latency_ms, abs=1e-6)
    assert len(found.entries[space.head.key].operations) > 2


def test_what_a_predictor_refuses_is_missing_with_the_reason(
    kernels: list[BlockSpec], lacking: Path, tmp_path: Path
) -> None:
    path = tmp_path / "predictor.json"
    saved_predictor(path, predictor_file([one for one in kernels if one.operation != "relu"]))
    with pytest.raises(
        MissingBlockError, match=r"^relu_conv_bn.* refuses it, and 2 more blocks: .* no model of the type relu"
    ):
        completed(path, lacking)
    small = [one for one in kernels if one.input_shapes[0][2] < 32]
    saved_predictor(path, predictor_file(small))
    with pytest.raises(MissingBlockError, match=r"relu_conv_bn-k3.*height is 32, and was 8 to 16"):
        completed(path, lacking)


def test_parts_of_blocks_may_stay_missing(kernels: list[BlockSpec], tmp_path: Path) -> None:
    path, source = tmp_path / "predictor.json", tmp_path / "source.json"
    saved_predictor(path, predictor_file([one for one in kernels if one.operation == "add"]))
    parts = {block.key for block in SPACE.all_blocks() if block.is_part}
    measured_table(source, blocks=[key for key in BLOCKS if key not in parts])
    found = completed(path, source)
    assert set(found.entries) == {*BLOCKS} - parts
    BlockSum(SPACE, found)


def test_what_does_not_go_together_is_refused(kernels: list[BlockSpec], lacking: Path, tmp_path: Path) -> None:
    path = tmp_path / "predictor.json"
    saved_predictor(path, predictor_file(kernels, key=replace(KEY, threads=2)))
    with pytest.raises(KeyMismatchError, match=r"lacking.json cannot be completed by predictor.json: .*threads was 1"):
        completed(path, lacking)
    sentinel_ms = TABLE_DOCUMENT.load(lacking).sentinel_ms
    assert sentinel_ms is not None
    saved_predictor(path, predictor_file(kernels, sentinel_ms=1.05 * sentinel_ms))
    with pytest.raises(BadInputError, match="the machine was not as fast"):
        completed(path, lacking)
    saved_predictor(path, predictor_file(kernels, sentinel_ms=1.01 * sentinel_ms))
    assert completed(path, lacking).sentinel_ms == sentinel_ms
    with pytest.raises(BadInputError, match="of the space 'nasbench201', not of 'fbnet'"):
        completed(path, lacking, FBNet())
    # What the host's own runtime makes of a file says nothing of other providers.
    saved_predictor(path, predictor_file(kernels, key=replace(KEY, provider="CUDAExecutionProvider")))
    with pytest.raises(MissingBlockError, match="is cut as onnxruntime executes it with CPUExecutionProvider"):
        completed(path)


def test_two_predictors_may_complete_one_table(kernels: list[BlockSpec], lacking: Path, tmp_path: Path) -> None:
    source, first, second = tmp_path / "source.json", tmp_path / "a" / "p.json", tmp_path / "b" / "p.json"
    for path, nanoseconds in ((first, 1.0), (second, 2.0)):
        path.parent.mkdir()
        saved_predictor(path, predictor_file(kernels, nanoseconds=nanoseconds))
    found = completed(first, lacking)
    left = {key: entry for key, entry in found.entries.items() if not key.startswith("add")}
    TABLE_DOCUMENT.save(replace(found, entries=left), source)
    again = completed(second, source)
    by = {again.entries[key].predicted_by for key in again.predicted}
    assert by == {sha256_of(first), sha256_of(second)} == {*(again.provenance.predictors or {}).values()}
    assert all(again.entries[block.key] == found.entries[block.key] for block in LACKED)
    assert [name.partition(" ")[0] for name in again.provenance.predictors or {}] == ["p.json", "p.json"]
    TABLE_DOCUMENT.save(again, source)
    assert not validate_table(source).failed


def test_entries_are_either_measured_or_predicted() -> None:
    measured = Entry(1.0, (0.9, 1.1), 0.96, 9, 180, True, (), "00")
    with pytest.raises(ValueError, match="measured in 9 rounds is not predicted"):
        replace(measured, predicted_by="aa")
    with pytest.raises(ValueError, match="nothing was measured in 0 rounds"):
        replace(measured, rounds=0)
    assert replace(measured, rounds=0, samples=0, converged=False, predicted_by="aa").predicted_by == "aa"


def test_a_completed_table_keeps_what_it_says_through_every_tool(
    predictor: Path, lacking: Path, tmp_path: Path
) -> None:
    found, rows, out = completed(predictor, lacking), tmp_path / "rows.csv", tmp_path / "completed.json"
    TABLE_DOCUMENT.save(found, out)
    assert TABLE_DOCUMENT.load(out) == found
    validation = validate_table(out)
    assert not validation.failed, validation.findings
    export_table(found, rows)
    read = read_table_csv(read_foreign(rows))
    assert read.entries == found.entries
    assert read.provenance.predictors == found.provenance.predictors
    forged = replace(found, provenance=replace(found.provenance, predictors={"another.json": "bb"}))
    TABLE_DOCUMENT.save(forged, out)
    assert any("predicted by what the table does not name" in one.sentence for one in validate_table(out).findings)


def test_rows_of_before_there_were_predictors_are_read(tmp_path: Path) -> None:
    table, rows = measured_table(tmp_path / "t.json"), tmp_path / "rows.csv"
    export_table(table, rows)
    with rows.open(newline="") as file:
        told = list(csv.DictReader(file))
    names = [name for name in told[0] if name not in ("predicted_by", "predictors")]
    with rows.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(told)
    read = read_table_csv(read_foreign(rows))
    assert read.entries == table.entries


def test_measured_blocks_count_before_predicted_ones(predictor: Path, lacking: Path, tmp_path: Path) -> None:
    found, later = completed(predictor, lacking), tmp_path / "later.json"
    files = [TableFile(tmp_path / "completed.json", "aa", found)]
    measured_table(later, lambda block: 2 * by_place(block), blocks=[CALL_OVERHEAD.key, LACKED[0].key])
    files += read_tables([later])
    for order in (files, files[::-1]):
        merged = merge_tables(order, Prefer.FIRST)
        assert set(merged.predicted) == {block.key for block in LACKED[1:]}
        assert merged.entries[LACKED[0].key].median_ms == 2 * by_place(LACKED[0].key)
        assert merged.provenance.predictors == found.provenance.predictors
        told = {part.file: part.blocks for part in merged.provenance.merged_from or ()}
        assert LACKED[0].key in told["later.json"]
        TABLE_DOCUMENT.save(merged, tmp_path / "merged.json")
        assert not validate_table(tmp_path / "merged.json").failed
        assert LACKED[0].key not in disagreements(order)
    change = next(one for one in diff_tables(found, TABLE_DOCUMENT.load(later)).blocks if one.block == LACKED[0].key)
    assert (change.verdict, change.reason) == (Verdict.UNDECIDED, "the first is predicted, not measured")


def test_predictions_that_disagree_are_no_matter_where_a_block_was_measured(
    predictor: Path, lacking: Path, tmp_path: Path
) -> None:
    found, later = completed(predictor, lacking), tmp_path / "later.json"
    changed = {block: replace(found.entries[block], confidence=0.5) for block in found.predicted}
    files = [
        TableFile(tmp_path / f"{name}.json", name, replace(found, entries={**found.entries, **entries}))
        for name, entries in (("aa", {}), ("bb", changed))
    ]
    measured_table(later, by_place, blocks=[block.key for block in LACKED])
    files += read_tables([later])
    for order in itertools.permutations(files):
        assert not merge_tables(order).predicted
    with pytest.raises(OverlapError, match="have different entries"):
        merge_tables(files[:2])


def test_the_command_completes_a_table(searcher: Run, predictor: Path, lacking: Path, tmp_path: Path) -> None:
    out = tmp_path / "completed.json"
    asked = ("lut", "complete", "--lut", lacking, "--predictor", predictor, "--out", out)
    outcome = searcher(*asked)
    assert outcome.status == 0, outcome.err
    assert "20 blocks, 3 of them predicted" in outcome.out
    assert "3 of 20 blocks were not measured but predicted by predictor.json" in outcome.out
    assert_one_sentence(searcher(*asked), 2, "--overwrite replaces it")
    assert json.loads(searcher(*asked, "--overwrite", "--json").out)["provenance"]["predictors"] == {
        "predictor.json": sha256_of(predictor)
    }
    assert searcher("lut", "validate", out).status == 0
    assert_one_sentence(searcher(*asked[:-1], lacking, "--overwrite"), 2, "would replace the input")
    other = searcher("lut", "complete", "--predictor", lacking, "--out", tmp_path / "x.json")
    assert_one_sentence(other, 2, "lacking.json is no kernel predictor")
