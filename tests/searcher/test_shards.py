"""One table from several boards in memory: who may take part, who measured what, and boards that fail on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import Done, Event, Hello, Measured, parse_job
from searcher.artifacts import ExportedModel
from searcher.cli import show
from searcher.devices.transport import TransportError
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.reports.shelf import IncompleteShelfError, ShelfReport
from searcher.spaces.block import CALL_OVERHEAD
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable, Share
from searcher.tables.share import dealt, standard_of
from searcher.tables.share_folder import shares_folder
from searcher.workflows.profile_shards import profile_shards
from tests.agent.trees import ANDROID
from tests.searcher.boards import BLOCKS, SPACE, Shelf, board, dying_after
from tests.searcher.builders import KEY, QUICK, table
from tests.searcher.test_prepare_device import board as phone

CALL = CALL_OVERHEAD.key


pytestmark = pytest.mark.usefixtures("history")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "kind.json"


def profile(shelf: Shelf, out: Path, *, resume: bool = False) -> ShelfReport:
    return show.run(profile_shards(shelf.requests(out.parent, resume=resume), out, shelf.connect))


def shares(table: LookupTable) -> dict[str, Share]:
    assert table.provenance.shares is not None
    return {share.board: share for share in table.provenance.shares}


def states(report: ShelfReport) -> dict[str, str]:
    return {one.name: one.state for one in report.boards}


def reason(report: ShelfReport, name: str) -> str:
    found = {one.name: one.reason for one in report.boards}[name]
    assert found is not None
    return found


def during_share(spoil: Callable[[list[Event]], Iterable[Event]]) -> Callable[[list[Event]], Iterable[Event]]:
    """Spoils jobs of more than one block, the call's."""

    def spoiled(events: list[Event]) -> Iterable[Event]:
        alone = {event.block_id for event in events if isinstance(event, Measured)} == {CALL}
        return events if alone else spoil(events)

    return spoiled


def test_boards_that_agree_share_the_blocks_and_the_table_tells_who_measured_what(out: Path) -> None:
    shelf = Shelf({"a": board(1.0, 80_000), "b": board(2.0, 81_000), "c": board(3.0, 79_000)})
    report = profile(shelf, out)
    report.require_complete()
    made = TABLE_DOCUMENT.load(out)
    assert set(made.entries) == {block.key for block in SPACE.all_blocks()}
    assert list(made.entries) == sorted(made.entries)
    assert (made.sentinel_ms, made.provenance.journal_sha256) == (0.08, None)
    told = shares(made)
    assert sorted(key for share in told.values() for key in share.blocks) == sorted(made.entries)
    for latency_ms, name in ((1.0, "a"), (2.0, "b"), (3.0, "c")):
        assert {made.entry(key).median_ms for key in told[name].blocks} == {latency_ms}
        assert len(told[name].blocks) in (BLOCKS // 3, BLOCKS // 3 + 1)
    # The call is what the board in the middle says.
    assert made.entry(CALL).median_ms == 2.0
    assert [round(told[name].sentinel_off_pct, 2) for name in "abc"] == [0.0, 1.25, -1.25]
    assert {one.name: one.blocks for one in report.boards} == {name: len(told[name].blocks) for name in "abc"}
    assert report.table == str(out)


def test_the_journals_lie_beside_the_table_and_are_those_that_it_names(out: Path) -> None:
    profile(Shelf({"a": board(), "b": board()}), out)
    for share in shares(TABLE_DOCUMENT.load(out)).values():
        journal = journal_path(out.parent / share.table)
        assert journal.parent == shares_folder(out) / "run-1"
        assert hashlib.sha256(journal.read_bytes()).hexdigest() == share.journal_sha256
        measured = {json.loads(line).get("block_id") for line in journal.read_text().splitlines()} - {None}
        assert measured == {*share.blocks, CALL}
    assert {path.name for path in shares_folder(out).glob("run-1/probe-*.json")} == {"probe-a.json", "probe-b.json"}


def test_the_table_on_the_screen_tells_who_measured(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile(Shelf({"a": board(), "b": board(sentinel_ns=81_000)}), out)
    show.written_table(TABLE_DOCUMENT.load(out), out, as_json=False)
    told = " ".join(capsys.readouterr().out.split())
    # The call, which both measure, is a's.
    second = (BLOCKS - 1) // 2
    assert f"blocks measured by a ({BLOCKS - second}, sentinel +0.0%), b ({second}, sentinel +1.2%)" in told


def test_a_board_that_is_off_is_left_out_and_told_by_how_much(out: Path) -> None:
    shelf = Shelf({"a": board(), "slow": board(sentinel_ns=84_000), "c": board(sentinel_ns=82_300)})
    report = profile(shelf, out)
    assert states(report) == {"a": "complete", "slow": "complete", "c": "complete"}
    shelf = Shelf({"a": board(), "slow": board(sentinel_ns=84_000), "c": board(sentinel_ns=80_300)})
    report = profile(shelf, out)
    assert states(report) == {"a": "complete", "slow": "left out", "c": "complete"}
    assert reason(report, "slow") == (
        "its sentinel takes 0.0840 ms, +4.6% off the boards' median of 0.0803 ms, and 3% is allowed"
    )
    made = TABLE_DOCUMENT.load(out)
    assert set(shares(made)) == {"a", "c"}
    assert len(made.entries) == BLOCKS
    assert shelf.started("slow") == 1
    with pytest.raises(IncompleteShelfError, match=r"2 of 3 boards are complete; slow: its sentinel takes"):
        report.require_complete()


def test_of_two_boards_that_are_five_percent_apart_one_is_left(out: Path) -> None:
    report = profile(Shelf({"slow": board(sentinel_ns=84_000), "fast": board(sentinel_ns=80_000)}), out)
    assert states(report) == {"slow": "left out", "fast": "complete"}
    assert len(TABLE_DOCUMENT.load(out).entries) == BLOCKS


def test_a_board_of_another_kind_is_left_out_naming_what_differs(out: Path) -> None:
    shelf = Shelf({"other": board(fingerprint="aarch64-1"), "b": board(), "c": board()})
    report = profile(shelf, out)
    assert states(report) == {"other": "left out", "b": "complete", "c": "complete"}
    assert reason(report, "other") == (
        "its table key is not that of b and 1 more: device_fingerprint was 'x86_64-0', is 'aarch64-1'"
    )
    assert TABLE_DOCUMENT.load(out).key == KEY


def test_a_table_of_another_key_is_left_as_it_is(out: Path) -> None:
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0, replace(KEY, threads=2)), out)
    before = out.read_bytes()
    report = profile(Shelf({"a": board(), "b": board()}), out)
    assert states(report) == {"a": "left out", "b": "left out"}
    assert reason(report, "a") == (
        "its table key is not that of the table that is there (--overwrite replaces it): threads was 2, is 1"
    )
    with pytest.raises(IncompleteShelfError, match="20 of 20 blocks were not measured"):
        report.require_complete()
    assert out.read_bytes() == before


def test_a_board_that_dies_in_the_middle_hands_its_share_to_the_others(out: Path) -> None:
    dying = board(9.0, spoil=during_share(dying_after(8, TransportError("the power went"))))
    shelf = Shelf({"a": board(1.0), "dying": dying, "c": board(3.0), "dead": None})
    report = profile(shelf, out)
    assert states(report) == {"a": "complete", "dying": "failed", "c": "complete", "dead": "failed"}
    assert reason(report, "dying") == "the power went"
    made = TABLE_DOCUMENT.load(out)
    assert len(made.entries) == BLOCKS
    assert {entry.median_ms for entry in made.entries.values()} == {1.0, 3.0}
    assert made.provenance.shares is not None
    assert [share.board for share in made.provenance.shares] == ["a", "c", "a", "c"]
    assert sorted(key for share in made.provenance.shares for key in share.blocks) == sorted(made.entries)
    assert (shelf.started("a"), shelf.started("c")) == (3, 3)


def test_a_board_that_drifts_has_its_share_measured_by_another(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = Shelf({"warm": board(9.0, after_share_ns=85_000), "b": board(1.0)})
    report = profile(shelf, out)
    assert states(report) == {"warm": "failed", "b": "complete"}
    assert reason(report, "warm").startswith("after its share, its sentinel takes 0.0850 ms, +6.2% off")
    made = TABLE_DOCUMENT.load(out)
    assert len(made.entries) == BLOCKS
    assert {entry.median_ms for entry in made.entries.values()} == {1.0}
    assert f"{BLOCKS // 2} blocks go to b" in capsys.readouterr().err


def test_what_fails_a_second_time_makes_no_table(out: Path) -> None:
    no = during_share(dying_after(8, TransportError("no")))
    shelf = Shelf({"a": board(spoil=no), "b": board(spoil=no)})
    report = profile(shelf, out)
    assert not out.exists()
    assert (report.table, states(report)) == (None, {"a": "failed", "b": "failed"})
    with pytest.raises(IncompleteShelfError, match=r"20 of 20 blocks were not measured: there is no table"):
        report.require_complete()
    assert (shelf.started("a"), shelf.started("b")) == (2, 2)


def test_a_sentinel_that_nobody_knows_is_no_agreement(out: Path) -> None:
    def forgetful(events: list[Event]) -> Iterable[Event]:
        return [replace(event, sentinel_ns=None) if isinstance(event, Done) else event for event in events]

    report = profile(Shelf({"a": board(spoil=forgetful), "b": board(), "c": board()}), out)
    assert states(report) == {"a": "left out", "b": "complete", "c": "complete"}
    assert reason(report, "a") == "its sentinel was read too rarely to be compared"


def test_resume_goes_on_with_every_share_and_measures_nothing_twice(out: Path, history: History) -> None:
    left = [TransportError("no"), TransportError("no")]

    def once(events: list[Event]) -> Iterable[Event]:
        yield from events[:8] if left else events
        if left:
            raise left.pop()

    shelf = Shelf({"a": board(spoil=during_share(once)), "b": board(spoil=during_share(once)), "late": None})
    assert profile(shelf, out).table is None
    shelf.transports["late"] = Shelf({"late": board()}).transports["late"]
    report = profile(shelf, out, resume=True)
    report.require_complete()
    assert len(TABLE_DOCUMENT.load(out).entries) == BLOCKS
    # Probes are known; the shares of a and b went on, and nothing was left for the third.
    assert (shelf.started("a"), shelf.started("b"), shelf.started("late")) == (3, 3, 1)
    whole = out.read_bytes()
    out.unlink()
    profile(shelf, out, resume=True).require_complete()
    assert out.read_bytes() == whole
    assert (shelf.started("a"), shelf.started("b"), shelf.started("late")) == (3, 3, 1)


def test_the_shares_of_a_table_stay_until_another_replaces_it(out: Path) -> None:
    profile(Shelf({"a": board(1.0), "b": board(1.0)}), out)
    before = out.read_bytes()
    assert profile(Shelf({"a": None, "b": None}), out).problem is not None
    assert out.read_bytes() == before
    for share in shares(TABLE_DOCUMENT.load(out)).values():
        assert hashlib.sha256(journal_path(out.parent / share.table).read_bytes()).hexdigest() == share.journal_sha256
    profile(Shelf({"a": board(2.0), "b": board(2.0)}), out).require_complete()
    assert TABLE_DOCUMENT.load(out).entry(CALL).median_ms == 2.0
    assert [path.name for path in shares_folder(out).iterdir()] == ["run-3"]


def test_processors_are_chosen_once_and_kept(out: Path, tmp_path: Path) -> None:
    shelf = Shelf({"a": None, "b": None})
    shelf.transports = {name: phone(tmp_path / name, ANDROID) for name in "ab"}
    requests = shelf.requests(out.parent)
    requests = {name: replace(one, device=replace(one.device, cluster="fastest")) for name, one in requests.items()}
    show.run(profile_shards(requests, out, shelf.connect)).require_complete()
    again = {name: replace(request, resume=True) for name, request in requests.items()}
    show.run(profile_shards(again, out, shelf.connect)).require_complete()
    for name in "ab":
        runs = shelf.transport(name).runs
        jobs = [run.standard_input.decode() for run in runs if run.arguments[3:5] == ("job", "start")]
        assert [parse_job(job).settings.affinity for job in jobs] == [(4, 5, 6, 7)] * 2
        assert sum(run.arguments[3] == "info" for run in runs) == 2


def test_boards_that_are_to_be_measured_differently_share_nothing(out: Path) -> None:
    shelf = Shelf({"a": board(), "b": board()})
    requests = shelf.requests(out.parent)
    requests["b"] = replace(requests["b"], settings=replace(QUICK, threads=2))
    with pytest.raises(BadInputError, match="measured alike"):
        show.run(profile_shards(requests, out, shelf.connect))


def test_the_key_of_most_counts_and_else_that_of_the_first() -> None:
    def probe(key_of: str, sentinel_ms: float) -> LookupTable:
        return replace(
            table(SPACE, lambda _block: 1.0, replace(KEY, device_fingerprint=key_of)), sentinel_ms=sentinel_ms
        )

    three = {"a": probe("x", 9.0), "b": probe("y", 2.0), "c": probe("y", 1.0)}
    found = standard_of(three, None)
    assert found is not None
    assert (found.key.device_fingerprint, found.key_of, found.sentinel_ms) == ("y", "b and 1 more", 1.0)
    two = standard_of({"a": probe("x", 9.0), "b": probe("y", 2.0)}, None)
    assert two is not None
    assert (two.key.device_fingerprint, two.key_of) == ("x", "a")
    none_has_it = standard_of(three, KEY)
    assert none_has_it is not None
    assert (none_has_it.key, none_has_it.sentinel_ms) == (KEY, None)
    assert standard_of({}, None) is None


def test_blocks_are_dealt_in_turn_and_the_call_goes_to_all() -> None:
    call, *others = (ExportedModel(name, Path(name), name) for name in ("call", "1", "2", "3", "4", "5"))
    names = {
        board: [model.name for model in share] for board, share in dealt([*others, call], call, ["a", "b"]).items()
    }
    assert names == {"a": ["call", "1", "3", "5"], "b": ["call", "2", "4"]}
    assert set(dealt([call, others[0]], call, ["a", "b"])) == {"a"}
    assert dealt([call], call, ["a"]) == {}
    assert dealt(others, call, []) == {}


def test_each_share_is_checked_against_the_key_that_was_agreed_on(out: Path) -> None:
    def other(events: list[Event]) -> Iterable[Event]:
        (hello, *rest) = events
        assert isinstance(hello, Hello)
        return [replace(hello, key=replace(hello.key, runtime_version="1.31.2")), *rest]

    report = profile(Shelf({"a": board(spoil=during_share(other)), "b": board()}), out)
    assert states(report) == {"a": "failed", "b": "complete"}
    assert "after its share, its table key is not that of" in reason(report, "a")
    assert "runtime_version was '1.31.1', is '1.31.2'" in reason(report, "a")
    assert set(shares(TABLE_DOCUMENT.load(out))) == {"b"}
