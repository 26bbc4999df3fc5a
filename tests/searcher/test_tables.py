"""Lookup tables: filled, written, read, and refused when they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticSerializationError

from profiler_agent.records import Costs, Done, Event, Failed, Hello
from searcher.artifacts import ExportedModel
from searcher.devices.answers import MeasurementFailedError, collect
from searcher.errors import BadInputError, SearcherError
from searcher.reports.terminal import lookup_table
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.fill import fill_table
from searcher.tables.lookup_table import (
    TABLE_DOCUMENT,
    KeyMismatchError,
    LookupTable,
    MissingBlockError,
    require_same_key,
)
from tests.searcher.builders import ENVIRONMENT, KEY, QUICK, STATE, measurement, table

SPACE = NasBench201()


def small_table() -> LookupTable:
    return table(SPACE, lambda block: 1.0 + block.output_channels / 1000)


def test_a_table_survives_its_file_and_reads_well(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    TABLE_DOCUMENT.save(small_table(), path)
    assert TABLE_DOCUMENT.load(path) == small_table()
    text = path.read_text()
    assert text.index('"schema_version"') < text.index('"entries"')
    assert len(text.splitlines()) > 20 * 5


def test_a_single_round_does_not_look_like_a_perfect_interval() -> None:
    made = small_table()
    once = {key: replace(entry, rounds=1, confidence=0.0) for key, entry in made.entries.items()}
    _, _, intervals, half_widths, *_ = lookup_table(replace(made, entries=once)).columns
    assert set(intervals.cells) == {"none: one round"}
    assert set(half_widths.cells) == {""}
    twice = {key: replace(entry, rounds=2, confidence=0.5) for key, entry in made.entries.items()}
    _, _, intervals, half_widths, *_ = lookup_table(replace(made, entries=twice)).columns
    assert all(str(cell).endswith(" (50% only)") for cell in intervals.cells)
    assert set(half_widths.cells) == {"0.0"}


def test_a_table_of_before_tuning_is_untuned_and_does_not_mix_with_a_tuned_one(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    plain = TABLE_DOCUMENT.dump(small_table())
    del plain["key"]["tuning"]
    path.write_text(json.dumps(plain))
    assert TABLE_DOCUMENT.load(path) == small_table()
    with pytest.raises(KeyMismatchError, match="tuning was 'none', is 'governor'"):
        require_same_key(KEY, replace(KEY, tuning="governor"))


def test_filling_keeps_medians_intervals_and_where_they_come_from() -> None:
    rounds = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
    taken = measurement("b", rounds)
    events: tuple[Event, ...] = (
        Hello("job", "0.1.0", KEY, ENVIRONMENT, None, QUICK),
        *taken.rounds,
        Done("job", 1, 0, 6, 1.0, 80_000.0, 0.5, STATE),
    )
    result = collect(events)
    models = [ExportedModel("b", Path("b.onnx"), "abc")]
    filled = fill_table("space", "local", "now", result, models, {"torch": "2"}, "def")
    entry = filled.entry("b")
    assert entry.median_ms == pytest.approx(1.25)
    assert entry.interval_ms == (1.0, 1.5)
    assert entry.confidence == pytest.approx(0.9688)
    assert (entry.rounds, entry.samples, entry.converged, entry.model_sha256) == (6, 18, False, "abc")
    assert filled.key == KEY
    assert (filled.sentinel_ms, filled.noise_floor_pct) == (0.08, 0.5)
    assert filled.provenance.journal_sha256 == "def"


def test_filling_keeps_the_other_costs_and_older_tables_have_none(tmp_path: Path) -> None:
    taken = measurement("b", (1.0,) * 6)
    told = Costs("job", "b", 1234, 56789, energy_mj=1.5, power_mw=4000.0)
    hello, done = Hello("job", "0", KEY, ENVIRONMENT, None, QUICK), Done("job", 1, 0, 6, 1.0, None, None, STATE)
    models = [ExportedModel("b", Path("b"), "0")]
    filled = fill_table("space", "local", "now", collect([hello, *taken.rounds, told, done]), models, {}, "0")
    entry = filled.entry("b")
    assert (entry.file_bytes, entry.peak_memory_bytes, entry.energy_mj) == (1234, 56789, 1.5)
    path = tmp_path / "table.json"
    plain = TABLE_DOCUMENT.dump(filled)
    for name in ("file_bytes", "peak_memory_bytes", "energy_mj"):
        del plain["entries"]["b"][name]
    path.write_text(json.dumps(plain))
    entry = TABLE_DOCUMENT.load(path).entry("b")
    assert (entry.file_bytes, entry.peak_memory_bytes, entry.energy_mj) == (None, None, None)


def test_filling_keeps_how_far_off_blocks_are_and_what_they_were_calibrated_on() -> None:
    taken = measurement("b", (1.0,) * 6)
    done = Done("job", 1, 0, 6, 1.0, None, None, STATE)
    result = collect([Hello("job", "0", KEY, ENVIRONMENT, None, QUICK), *taken.rounds, done])
    models = [ExportedModel("b", Path("b.onnx"), "abc", 0.03)]
    filled = fill_table("space", "local", "now", result, models, {}, "def", "digits")
    assert filled.entry("b").numerical_error == 0.03
    assert filled.provenance.calibration == "digits"


def test_a_table_of_before_number_types_is_read_and_does_not_mix_with_int8(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    plain = TABLE_DOCUMENT.dump(small_table())
    del plain["provenance"]["calibration"]
    for entry in plain["entries"].values():
        del entry["numerical_error"]
    path.write_text(json.dumps(plain))
    assert TABLE_DOCUMENT.load(path) == small_table()
    with pytest.raises(KeyMismatchError, match="precision was 'fp32', is 'int8'"):
        require_same_key(KEY, replace(KEY, precision="int8"))


def test_filling_refuses_a_job_with_a_failed_block() -> None:
    taken = measurement("b", (1.0,) * 6)
    hello, failed = Hello("job", "0", KEY, ENVIRONMENT, None, QUICK), Failed("job", "c", "x", "why")
    result = collect([hello, *taken.rounds, failed, Done("job", 1, 1, 6, 1.0, None, None, STATE)])
    with pytest.raises(MeasurementFailedError, match="c could not be measured: why"):
        fill_table("space", "local", "now", result, [ExportedModel("b", Path("b"), "0")], {}, "0")


def test_filling_refuses_what_rounds_to_no_time_at_all() -> None:
    taken = measurement("b", (1e-9,) * 6)
    nothing = tuple(replace(one, samples_ns=(1,), inner_loops=10**9) for one in taken.rounds)
    result = collect(
        [Hello("job", "0", KEY, ENVIRONMENT, None, QUICK), *nothing, Done("job", 1, 0, 6, 1.0, None, None, STATE)]
    )
    with pytest.raises(MeasurementFailedError, match=r"of b cannot be used: a median latency is positive, not 0\.0 ms"):
        fill_table("space", "local", "now", result, [ExportedModel("b", Path("b"), "0")], {}, "0")


def test_a_missing_block_is_an_error_never_a_number() -> None:
    with pytest.raises(MissingBlockError, match="no entry for the block nothing"):
        small_table().entry("nothing")


def test_another_key_is_refused_with_what_differs() -> None:
    require_same_key(KEY, KEY)
    with pytest.raises(KeyMismatchError, match="threads was 1, is 4") as caught:
        require_same_key(KEY, replace(KEY, threads=4))
    assert "runtime" not in str(caught.value)


def with_entry(**changes: Any) -> str:
    entry = TABLE_DOCUMENT.dump(small_table())["entries"][SPACE.stem.key]
    return spoiled(entries={"b": {**entry, **changes}})


def spoiled(**changes: Any) -> str:
    document = TABLE_DOCUMENT.dump(small_table())
    return json.dumps({**document, **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "it holds no JSON object"),
        ("{}", "it has no schema version"),
        (spoiled(schema_version=2), "schema version is '2', not 1"),
        (spoiled(key=None), "key"),
        (spoiled(entries={"b": {"median_ms": "fast"}}), "entries.b.median_ms"),
        (spoiled(entries=[]), "entries"),
        (with_entry(median_ms=0), "entries.b: a median latency is positive, not 0.0 ms"),
        (with_entry(median_ms=-1.5), "entries.b: a median latency is positive, not -1.5 ms"),
        (with_entry(median_ms=float("nan")), "NaN is no number of JSON"),
        (with_entry(median_ms=1).replace('"median_ms": 1,', '"median_ms": 1e999,'), "1e999 is no number of JSON"),
        (with_entry(median_ms="inf"), "entries.b: a median latency is positive, not inf ms"),
        (with_entry(interval_ms=[2.0, 1.0]), "entries.b: an interval goes from a positive low to a high, not from 2.0"),
        (with_entry(interval_ms=[0.0, 1.0]), "entries.b: an interval goes"),
        (with_entry(confidence=1.1), "entries.b: a confidence lies between 0 and 1, not at 1.1"),
        (with_entry(rounds=0), "entries.b: nothing was measured in 0 rounds"),
        (with_entry(samples=-1), "entries.b: nothing was measured"),
        (with_entry(file_bytes=-1), "entries.b: a size is not negative"),
        (with_entry(energy_mj=0), "entries.b: an energy is positive, not 0.0 mj"),
        (with_entry(numerical_error=-0.1), "entries.b: a numerical error is a norm, not -0.1"),
        (with_entry(numerical_error="inf"), "entries.b: a numerical error is a norm, not inf"),
        (spoiled(sentinel_ms="nan"), "it holds a number that is not finite"),
        (spoiled(noise_floor_pct="-inf"), "it holds a number that is not finite"),
        (spoiled(space="\ud800"), "it holds a text that is not Unicode"),
        (spoiled(entries={"\udfff": TABLE_DOCUMENT.dump(small_table())["entries"][SPACE.stem.key]}), "not Unicode"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(BadInputError, match=complaint) as caught:
        TABLE_DOCUMENT.load(path)
    assert "\n" not in str(caught.value)


def test_a_text_that_is_no_unicode_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(SearcherError, match="it holds a text that is not Unicode"):
        TABLE_DOCUMENT.save(replace(small_table(), space="\udcff"), tmp_path / "table.json")
    assert not list(tmp_path.iterdir())


def test_what_json_cannot_say_is_never_written(tmp_path: Path) -> None:
    hot = replace(ENVIRONMENT, state=replace(STATE, temperature_c=float("nan")))
    with pytest.raises(SearcherError, match="a number that is not finite"):
        TABLE_DOCUMENT.save(replace(small_table(), environment=hot), tmp_path / "table.json")
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_without_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_bytes(data)
    with pytest.raises(BadInputError):
        TABLE_DOCUMENT.load(path)


def test_a_file_that_is_missing_or_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read the lookup table"):
        TABLE_DOCUMENT.load(tmp_path / "missing.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot write the lookup table"):
        TABLE_DOCUMENT.save(small_table(), tmp_path / "file" / "table.json")


def test_a_write_that_fails_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    TABLE_DOCUMENT.save(small_table(), path)
    before = path.read_bytes()
    broken = replace(small_table(), entries={"b": object()})  # type: ignore[dict-item]
    with pytest.raises(PydanticSerializationError):
        TABLE_DOCUMENT.save(broken, path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["table.json"]
