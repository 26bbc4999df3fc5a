"""Tables of one key become one, or are refused with what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from searcher.errors import BadInputError
from searcher.tables.lookup_table import TABLE_DOCUMENT, Entry, KeyMismatchError, LookupTable
from searcher.tables.merge import OverlapError, Prefer, disagreements, merge_tables, read_tables
from searcher.tables.validate import validate_table
from tests.searcher.builders import KEY
from tests.searcher.measured_tables import BLOCKS, measured_table


@pytest.fixture
def halves(tmp_path: Path) -> list[Path]:
    """Two tables that have one block in common, with the same latency."""
    measured_table(tmp_path / "one.json", blocks=BLOCKS[:9])
    measured_table(tmp_path / "two.json", blocks=BLOCKS[8:])
    return [tmp_path / "one.json", tmp_path / "two.json"]


def changed(path: Path, **changes: object) -> Path:
    loaded = TABLE_DOCUMENT.load(path)
    TABLE_DOCUMENT.save(replace(loaded, **changes), path)  # type: ignore[arg-type]
    return path


def with_entry(path: Path, block: str, entry: Entry) -> Path:
    return changed(path, entries={**TABLE_DOCUMENT.load(path).entries, block: entry})


def around(median_ms: float, half_width_pct: float, confidence: float = 0.96) -> Entry:
    width = median_ms * half_width_pct / 100
    return Entry(median_ms, (median_ms - width, median_ms + width), confidence, 9, 18, True, (), "00")


def merged(paths: list[Path], prefer: Prefer | None = None) -> LookupTable:
    return merge_tables(read_tables(paths), prefer)


def test_halves_become_a_whole_that_validates_and_says_where_from(halves: list[Path], tmp_path: Path) -> None:
    whole = merged(halves)
    assert tuple(whole.entries) == tuple(sorted(BLOCKS))
    assert whole.key == KEY
    assert whole.provenance.journal_sha256 is None
    assert whole.provenance.merged_from is not None
    first, second = whole.provenance.merged_from
    parts = read_tables(halves)
    assert (first.file, second.file) == ("one.json", "two.json")
    assert (first.sha256, first.journal_sha256) == (parts[0].sha256, parts[0].table.provenance.journal_sha256)
    assert first.blocks == tuple(sorted(BLOCKS[:9]))
    assert set(first.blocks) | set(second.blocks) == set(BLOCKS)
    assert not set(first.blocks) & set(second.blocks)
    out = tmp_path / "whole.json"
    TABLE_DOCUMENT.save(whole, out)
    assert TABLE_DOCUMENT.load(out) == whole
    assert validate_table(out).findings == ()


def test_a_merged_table_that_is_merged_again_still_tells_the_first_ones(halves: list[Path], tmp_path: Path) -> None:
    middle = tmp_path / "middle.json"
    three, four = halves
    TABLE_DOCUMENT.save(merged(halves), middle)
    measured_table(tmp_path / "new.json", lambda _block: 1.0, blocks=BLOCKS[:1])
    again = merged([middle, tmp_path / "new.json"], Prefer.LAST)
    assert again.provenance.merged_from is not None
    assert [part.file for part in again.provenance.merged_from] == [three.name, four.name, "new.json"]
    assert BLOCKS[0] not in again.provenance.merged_from[0].blocks
    assert again.provenance.merged_from[2].blocks == BLOCKS[:1]
    assert again.entry(BLOCKS[0]).median_ms == 1.0


@pytest.mark.parametrize(("prefer", "expected_ms"), [(Prefer.FIRST, 1.0), (Prefer.LAST, 1.1), (Prefer.NARROWER, 1.1)])
def test_entries_that_differ_need_a_rule(halves: list[Path], prefer: Prefer, expected_ms: float) -> None:
    one, two = halves
    with_entry(one, BLOCKS[0], around(1.0, 2.0))
    with_entry(two, BLOCKS[0], around(1.1, 1.0))
    with pytest.raises(OverlapError, match=r"different entries for .* --prefer first\|last\|narrower"):
        merged(halves)
    assert merged(halves, prefer).entry(BLOCKS[0]).median_ms == expected_ms


def test_a_narrow_interval_of_little_confidence_is_no_better(halves: list[Path]) -> None:
    one, two = halves
    with_entry(one, BLOCKS[0], around(1.0, 2.0))
    with_entry(two, BLOCKS[0], around(1.1, 0.1, confidence=0.5))
    assert merged(halves, Prefer.NARROWER).entry(BLOCKS[0]).median_ms == 1.0
    assert disagreements(read_tables(halves)) == (BLOCKS[0],)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": replace(KEY, threads=4, tuning="governor")}, "its threads was 1, is 4; its tuning was 'none', is"),
        ({"space": "fbnet"}, "its space is 'fbnet', not 'nasbench201'"),
        ({"sentinel_ms": 0.083}, "the machine was not as fast, its sentinel took 0.0830 ms, not 0.0800 ms, and 3%"),
        ({"sentinel_ms": -1.0}, "the machine was not as fast"),
        ({"sentinel_ms": None}, "its sentinel is unknown"),
    ],
)
def test_what_does_not_mix_is_refused_with_what_differs(
    halves: list[Path], changes: dict[str, object], sentence: str
) -> None:
    changed(halves[1], **changes)
    with pytest.raises(BadInputError) as caught:
        merged(halves)
    assert sentence in str(caught.value)
    assert str(halves[1]) in str(caught.value)


def test_keys_that_differ_are_an_error_of_their_own(halves: list[Path]) -> None:
    changed(halves[1], key=replace(KEY, runtime_version="1.20"))
    with pytest.raises(KeyMismatchError, match=r"does not mix with .*one\.json: its runtime_version was '1\.31\.1'"):
        merged(halves)


def test_sentinels_within_the_tolerance_are_taken_together(halves: list[Path]) -> None:
    changed(halves[1], sentinel_ms=0.082, noise_floor_pct=1.5)
    whole = merged(halves)
    assert (whole.sentinel_ms, whole.noise_floor_pct) == (0.08, 1.5)


def test_estimates_mix_with_estimates_alone(halves: list[Path]) -> None:
    for path, hashes in zip(halves, ({"m": "1"}, {"n": "2"}), strict=True):
        origin = TABLE_DOCUMENT.load(path).provenance
        if path == halves[1]:
            with pytest.raises(BadInputError, match="the other estimates from whole models"):
                merged(halves)
        changed(path, provenance=replace(origin, estimated_from=hashes), sentinel_ms=None)
    whole = merged(halves)
    assert whole.provenance.estimated_from == {"m": "1", "n": "2"}
    assert whole.sentinel_ms is None


def test_other_calibrations_do_not_mix(halves: list[Path]) -> None:
    changed(halves[1], provenance=replace(TABLE_DOCUMENT.load(halves[1]).provenance, calibration="cifar10"))
    with pytest.raises(BadInputError, match="were calibrated on cifar10, not on None"):
        merged(halves)


def test_one_table_is_nothing_to_merge(halves: list[Path]) -> None:
    with pytest.raises(BadInputError, match="nothing to merge"):
        merged(halves[:1])
