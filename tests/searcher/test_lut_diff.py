"""Two tables compared: blocks beyond their intervals, drift of all together, and what cannot be decided."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.reports.tables import diff_remarks
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.diff import TablesDifferError, Verdict, diff_document, diff_tables
from searcher.tables.lookup_table import Entry, LookupTable
from tests.searcher.builders import ENVIRONMENT, KEY, table

SPACE = NasBench201()
NAMES = [block.key for block in SPACE.all_blocks()]


def entry(median_ms: float, half_width_pct: float = 1.0, confidence: float = 0.96, **changes: object) -> Entry:
    width = median_ms * half_width_pct / 100
    made = Entry(median_ms, (median_ms - width, median_ms + width), confidence, 9, 180, True, ("Conv",), "00")
    return replace(made, **changes)  # type: ignore[arg-type]


def tables_of(before: dict[str, Entry], after: dict[str, Entry]) -> tuple[LookupTable, LookupTable]:
    empty = table(SPACE, lambda _block: 1.0)
    return replace(empty, entries=before), replace(empty, entries=after)


def test_only_intervals_that_do_not_overlap_are_changes() -> None:
    before = {"a": entry(1.0), "b": entry(1.0), "c": entry(1.0), "d": entry(1.0)}
    after = {"a": entry(1.015), "b": entry(1.03), "c": entry(0.9), "e": entry(1.0)}
    diff = diff_tables(*tables_of(before, after))
    assert {one.block: one.verdict for one in diff.blocks} == {
        "a": Verdict.SAME,
        "b": Verdict.SLOWER,
        "c": Verdict.FASTER,
    }
    assert [one.block for one in diff.blocks] == ["c", "b", "a"]
    assert diff.blocks[0].change_pct == pytest.approx(-10.0)
    assert diff.blocks[0].confidence == pytest.approx(0.92)
    assert diff.false_alarms == pytest.approx(3 * 0.08)
    assert (diff.only_before, diff.only_after) == (("d",), ("e",))
    assert not diff.drifted
    with pytest.raises(TablesDifferError, match="2 blocks changed beyond their intervals, 2 are in one table only"):
        diff.require_none()


def test_intervals_that_touch_overlap() -> None:
    low, high = entry(1.0, interval_ms=(0.9, 1.1)), entry(1.2, interval_ms=(1.1, 1.3))
    diff = diff_tables(*tables_of({"a": low}, {"a": high}))
    assert diff.blocks[0].verdict is Verdict.SAME
    assert not diff.differs
    diff.require_none()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (entry(1.0, confidence=0.9), entry(2.0), "the first interval has a confidence of 90% only"),
        (entry(1.0), entry(2.0, confidence=0.0), "the second interval has a confidence of 0% only"),
        (entry(1.0), entry(2.0, occurrences=3), "the second is the range of 3 estimates, not an interval"),
    ],
)
def test_what_cannot_decide_is_labelled(before: Entry, after: Entry, reason: str) -> None:
    diff = diff_tables(*tables_of({"a": before}, {"a": after}))
    (one,) = diff.blocks
    assert (one.verdict, one.apart_from_drift, one.reason) == (Verdict.UNDECIDED, Verdict.UNDECIDED, reason)
    assert one.change_pct == pytest.approx(100)
    assert (diff.changed, diff.median_ratio, diff.false_alarms) == ((), None, 0.0)


def test_a_drift_of_all_is_told_apart_from_the_block_that_stands_out() -> None:
    before = {name: entry(1.0) for name in NAMES}
    after = {**{name: entry(1.1) for name in NAMES}, NAMES[3]: entry(1.5), NAMES[4]: entry(1.0)}
    first, second = tables_of(before, after)
    diff = diff_tables(replace(first, sentinel_ms=0.08), replace(second, sentinel_ms=0.088))
    assert diff.drifted
    assert diff.median_ratio == pytest.approx(1.1)
    assert diff.sentinel_ratio == pytest.approx(1.1)
    assert len(diff.changed) == len(NAMES) - 1
    assert {one.block: one.apart_from_drift for one in diff.single} == {
        NAMES[3]: Verdict.SLOWER,
        NAMES[4]: Verdict.FASTER,
    }
    told = list(diff_remarks(diff))
    assert "all blocks drifted together: the median of all changes is +10.00%" in told
    assert "the machine was not as fast: its sentinel changed by +10.00%" in told


def test_half_of_the_blocks_are_no_drift() -> None:
    before = {name: entry(1.0) for name in "abcd"}
    diff = diff_tables(*tables_of(before, {**before, "a": entry(1.2), "b": entry(1.2)}))
    assert not diff.drifted
    assert diff.single == diff.changed
    assert any(line.startswith("no drift of all blocks together") for line in diff_remarks(diff))
    assert "the machine's own speed cannot be compared: a sentinel is unknown" in diff_remarks(diff)


def test_other_conditions_are_named() -> None:
    before = table(SPACE, lambda _block: 1.0)
    hot = replace(ENVIRONMENT, state=replace(ENVIRONMENT.state, temperature_c=70.0))
    origin = replace(before.provenance, versions={"torch": "3"}, created="later")
    after = replace(before, key=replace(KEY, threads=4), environment=hot, provenance=origin)
    diff = diff_tables(before, after)
    assert diff.key == ("threads was 1, is 4",)
    assert diff.environment == ("state.temperature_c was None, is 70.0",)
    assert "versions.torch was '2', is '3'" in diff.provenance
    assert diff.differs
    assert not diff.changed
    imported = diff_tables(before, replace(before, environment=None))
    assert "python was '3.11', is None" in imported.environment


def test_the_document_holds_it_all_as_json() -> None:
    diff = diff_tables(*tables_of({"a": entry(1.0)}, {"a": entry(2.0)}))
    plain = json.loads(json.dumps(diff_document(diff), allow_nan=False))
    assert (plain["schema_version"], plain["differs"], plain["changed"]) == (1, True, ["a"])
    assert plain["blocks"][0]["verdict"] == "slower"
    assert plain["blocks"][0]["change_pct"] == pytest.approx(100)


latencies = st.floats(0.001, 1000)


@given(st.lists(st.tuples(latencies, latencies, st.floats(0, 40)), min_size=1, max_size=12))
def test_swapping_the_tables_swaps_the_verdicts(drawn: list[tuple[float, float, float]]) -> None:
    before = {str(number): entry(one, width) for number, (one, _, width) in enumerate(drawn)}
    after = {str(number): entry(other, width) for number, (_, other, width) in enumerate(drawn)}
    there, back = diff_tables(*tables_of(before, after)), diff_tables(*tables_of(after, before))
    opposite = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER, Verdict.SAME: Verdict.SAME}
    assert {one.block: opposite[one.verdict] for one in there.blocks} == {one.block: one.verdict for one in back.blocks}
    assert there.drifted == back.drifted
