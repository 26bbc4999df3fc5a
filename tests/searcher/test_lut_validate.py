"""Whether tables can be believed: against themselves, their space, and the raw samples beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler_agent.records import Costs, Done, format_event, parse_event
from searcher.artifacts import sha256_of
from searcher.reports.tables import validation_lines
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, Entry, LookupTable, MergedPart, Share
from searcher.tables.recompute import recompute
from searcher.tables.validate import InvalidTableError, Validation, require_valid, validate_table, validation_document
from tests.searcher.builders import KEY, table
from tests.searcher.measured_tables import BLOCKS, SHA256, measured_table, table_of_a_job


@pytest.fixture
def path(tmp_path: Path) -> Path:
    measured_table(tmp_path / "table.json")
    return tmp_path / "table.json"


def change(path: Path, **changes: object) -> Validation:
    """Write the table with other fields, and validate it."""
    TABLE_DOCUMENT.save(replace(TABLE_DOCUMENT.load(path), **changes), path)  # type: ignore[arg-type]
    return validate_table(path)


def with_entry(path: Path, block: str = BLOCKS[0], **changes: Any) -> Validation:
    entries = dict(TABLE_DOCUMENT.load(path).entries)
    entries[block] = replace(entries[block], **changes)
    return change(path, entries=entries)


def errors(validation: Validation) -> list[str]:
    return [finding.sentence for finding in validation.findings if finding.severity == "error"]


def warnings(validation: Validation) -> list[str]:
    return [finding.sentence for finding in validation.findings if finding.severity == "warning"]


def test_a_table_as_it_was_measured_has_nothing_to_complain_about(path: Path) -> None:
    validation = validate_table(path)
    assert validation.findings == ()
    require_valid([validation])
    assert list(validation_lines([validation])) == [f"{path}: nothing to complain about"]


def test_a_table_as_a_job_leaves_it_is_recomputed_and_valid(tmp_path: Path) -> None:
    table = table_of_a_job(tmp_path / "table.json")
    assert recompute(table, journal_path(tmp_path / "table.json")) == table
    assert validate_table(tmp_path / "table.json").findings == ()


def test_a_table_is_recomputed_from_its_journal_in_all_that_was_measured(path: Path) -> None:
    table = TABLE_DOCUMENT.load(path)
    assert recompute(table, journal_path(path)) == table


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"median_ms": 0.0101}, "median_ms is 0.0101, not 0.01"),
        ({"interval_ms": (0.009, 0.01)}, "the low end of interval_ms is 0.009, not 0.01"),
        ({"interval_ms": (0.01, 0.0105)}, "the high end of interval_ms is 0.0105, not 0.01"),
        ({"confidence": 0.999}, "confidence is 0.999, not"),
        ({"rounds": 9}, "rounds is 9, not 8"),
        ({"samples": 17}, "samples is 17, not 16"),
        ({"converged": False}, "converged is False, not True"),
        ({"operations": ("Conv",)}, "operations is ('Conv',), not ()"),
        ({"file_bytes": 7}, "file_bytes is 7, not None"),
    ],
)
def test_what_the_raw_samples_do_not_say_is_an_error(path: Path, changes: dict[str, Any], sentence: str) -> None:
    validation = with_entry(path, **changes)
    said = [one for one in errors(validation) if "is not what its raw samples say" in one]
    assert len(said) == 1
    assert said[0].startswith(BLOCKS[0])
    assert sentence in said[0]


def test_a_last_digit_rounded_otherwise_is_none(path: Path) -> None:
    assert errors(with_entry(path, median_ms=0.010001, interval_ms=(0.01, 0.010001))) == []


def test_many_wrong_blocks_are_told_in_few_lines(path: Path) -> None:
    table = TABLE_DOCUMENT.load(path)
    entries = {block: replace(entry, samples=entry.samples + 1) for block, entry in table.entries.items()}
    said = errors(change(path, entries=entries))
    assert len(said) == 6
    assert said[-1] == "15 more blocks are not what their raw samples say"


def test_a_table_of_other_conditions_than_its_journal_is_an_error(path: Path) -> None:
    said = errors(change(path, key=replace(KEY, threads=4), sentinel_ms=0.079))
    assert any("its key is not that of" in one and "threads was 1, is 4" in one for one in said)
    assert any("its sentinel_ms is 0.079, but" in one and "tells 0.08" in one for one in said)


def test_another_journal_is_an_error_and_a_missing_one_a_warning(path: Path) -> None:
    journal = journal_path(path)
    journal.write_text(journal.read_text() + "\n")
    assert "is not the journal that it was made of: their hashes differ" in errors(validate_table(path))[0]
    journal.unlink()
    validation = validate_table(path)
    assert errors(validation) == []
    assert warnings(validation) == [f"{journal} is not there: medians and intervals cannot be computed again"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda text: "", "its `hello` is missing"),
        (lambda text: text.partition("\n")[2], "its `hello` is missing"),
        (lambda text: text.rstrip("\n").rpartition("\n")[0] + "\n", "ended before its job was done"),
        (lambda text: text.replace("\n", "\nrubbish\n", 1), "sent what is no record"),
        (lambda text: "\udcff".join(text.split("\n", 1)), "is no journal"),
    ],
)
def test_a_journal_that_cannot_be_used_is_one_sentence(path: Path, spoil: object, sentence: str) -> None:
    journal = journal_path(path)
    assert callable(spoil)
    journal.write_text(spoil(journal.read_text()), errors="surrogateescape")
    origin = TABLE_DOCUMENT.load(path).provenance
    (said,) = errors(change(path, provenance=replace(origin, journal_sha256=sha256_of(journal))))
    assert said.startswith("its journal cannot be used: ")
    assert sentence in said
    assert "\n" not in said


def test_energy_and_sizes_come_from_the_journal_too(path: Path) -> None:
    journal = journal_path(path)
    *lines, done = journal.read_text().splitlines()
    last = parse_event(done)
    assert isinstance(last, Done)
    told = Costs(last.job_id, BLOCKS[0], 1234, 56789, energy_mj=1.5)
    journal.write_text("\n".join([*lines, format_event(told), done]) + "\n")
    origin = replace(TABLE_DOCUMENT.load(path).provenance, journal_sha256=sha256_of(journal))
    change(path, provenance=origin)
    assert with_entry(path, file_bytes=1234, peak_memory_bytes=56789, energy_mj=1.5).findings == ()
    assert "energy_mj is 2.5, not 1.5" in errors(with_entry(path, energy_mj=2.5))[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"entries": {}}, "it has no entries"),
        ({"key": replace(KEY, threads=0)}, "its key names 0 threads"),
        ({"key": replace(KEY, runtime="")}, "its key's runtime is empty"),
        ({"key": replace(KEY, provider="CPU\x1b[2J")}, "its key's provider is empty or holds control characters"),
        ({"key": replace(KEY, precision="fp64")}, "its key's precision is 'fp64'"),
        ({"key": replace(KEY, precision="int8")}, f"it lacks {min(BLOCKS).replace('fp32', 'int8')} and 16 more blocks"),
        ({"sentinel_ms": -1.0}, "its sentinel takes -1 ms"),
        ({"noise_floor_pct": -0.5}, "its noise floor is -0.5%"),
    ],
)
def test_what_contradicts_itself_is_an_error(path: Path, changes: dict[str, object], sentence: str) -> None:
    assert any(sentence in one for one in errors(change(path, **changes)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"median_ms": 0.02}, "0.02 ms, is not in its interval 0.01 … 0.01 ms"),
        ({"samples": 1}, "has 8 rounds but 1 samples"),
        ({"occurrences": 3}, "is an estimate in a table of measured blocks"),
    ],
)
def test_an_entry_that_contradicts_itself_is_an_error(path: Path, changes: dict[str, Any], sentence: str) -> None:
    assert any(sentence in one for one in errors(with_entry(path, **changes)))


def test_missing_blocks_are_errors_and_unknown_ones_warnings(path: Path) -> None:
    table = TABLE_DOCUMENT.load(path)
    entries = dict(table.entries)
    entries["conv-of-another-space-fp32"] = entries.pop(BLOCKS[5])
    journal_path(path).unlink()
    validation = change(path, entries=entries)
    assert errors(validation) == [f"it lacks {BLOCKS[5]} of the space nasbench201"]
    assert "it has conv-of-another-space-fp32 that the space nasbench201 does not need" in warnings(validation)


@pytest.mark.parametrize(
    "space",
    [
        NasBench201(classes=100),
        NasBench201(image_size=64, classes=7),
        FBNet(),
        FBNet(classes=1000, image_size=224),
        FBNet(classes=10),
    ],
)
def test_networks_of_all_sizes_have_their_own_blocks(tmp_path: Path, space: NasBench201 | FBNet) -> None:
    path = tmp_path / "table.json"
    made = table(space, lambda _block: 1.0)
    TABLE_DOCUMENT.save(made, path)
    assert errors(validate_table(path)) == []
    assert not [said for said in warnings(validate_table(path)) if "does not need" in said]
    lost = space.all_blocks()[-1].key
    TABLE_DOCUMENT.save(replace(made, entries={key: made.entries[key] for key in made.entries if key != lost}), path)
    assert errors(validate_table(path)) == [f"it lacks {lost} of the space {space.name}"]


def test_an_unsteady_measurement_is_a_warning(path: Path) -> None:
    journal_path(path).unlink()
    with_entry(path, BLOCKS[1], converged=False)
    with_entry(path, BLOCKS[2], confidence=0.9)
    said = warnings(change(path, sentinel_ms=None, noise_floor_pct=7.5))
    assert f"not converged, with intervals wider than was asked: {BLOCKS[1]}" in said
    assert f"with intervals of less than 95% confidence: {BLOCKS[2]}" in said
    assert "its machine was noisy: single readings of the sentinel differed by 7.5%" in said
    assert "its sentinel is unknown, so it cannot be compared with what is measured later" in said


def test_a_space_that_nobody_knows_is_a_warning(path: Path) -> None:
    validation = change(path, space="mine")
    assert errors(validation) == []
    assert warnings(validation) == ["whether it is complete is not known: this version has no space 'mine'"]


def part(*blocks: str) -> MergedPart:
    return MergedPart("a.json", SHA256, "2026-11-21T00:00:00+00:00", "local", "0.1.0", None, 0.08, blocks)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([part(*BLOCKS[1:])], f"said to come from none of its merged tables: {BLOCKS[0]}"),
        ([part(*BLOCKS), part(BLOCKS[0])], f"said to come from two of its merged tables at once: {BLOCKS[0]}"),
        ([part(*BLOCKS, "more")], "said to come from its merged tables, but not there: more"),
    ],
)
def test_parts_that_do_not_make_the_whole_are_errors(path: Path, parts: list[MergedPart], sentence: str) -> None:
    origin = replace(TABLE_DOCUMENT.load(path).provenance, journal_sha256=None, merged_from=tuple(parts))
    assert errors(change(path, provenance=origin)) == [sentence]


def shared(tmp_path: Path) -> tuple[Path, LookupTable]:
    """A table that two boards measured, as `profile --shard` leaves it."""
    whole, folder = tmp_path / "whole.json", tmp_path / "whole.json.boards" / "run-1"
    folder.mkdir(parents=True)
    shares: list[Share] = []
    entries: dict[str, Entry] = {}
    for board, blocks in (("a", BLOCKS[:9]), ("b", BLOCKS[9:])):
        file = folder / f"share-{board}.json"
        made = measured_table(file, blocks=blocks)
        assert made.provenance.journal_sha256 is not None
        inside = file.relative_to(tmp_path).as_posix()
        shares.append(Share(board, board, inside, made.provenance.journal_sha256, blocks, 0.08, 0.0))
        entries.update(made.entries)
    origin = replace(made.provenance, journal_sha256=None, shares=tuple(shares))
    table = replace(made, entries=dict(sorted(entries.items())), provenance=origin)
    TABLE_DOCUMENT.save(table, whole)
    return whole, table


def test_shares_of_boards_are_recomputed_from_their_journals(tmp_path: Path) -> None:
    path, _ = shared(tmp_path)
    assert validate_table(path).findings == ()
    assert "is not what its raw samples say: rounds is 9" in errors(with_entry(path, BLOCKS[12], rounds=9))[0]


def test_shares_that_are_gone_wrong_or_elsewhere_are_told(tmp_path: Path) -> None:
    path, table = shared(tmp_path)
    assert table.provenance.shares is not None
    first, second = table.provenance.shares

    def told(**changes: object) -> Validation:
        shares = (replace(first, **changes), second)  # type: ignore[arg-type]
        return change(path, provenance=replace(table.provenance, shares=shares))

    assert "is not in the table's folder: '../x.json'" in errors(told(table="../x.json"))[0]
    assert "is not in the table's folder: '/x.json'" in errors(told(table="/x.json"))[0]
    assert "is not there: its blocks cannot be checked" in warnings(told(table="x.json"))[0]
    assert "their hashes differ" in errors(told(journal_sha256=SHA256))[0]
    moved = errors(told(blocks=(*first.blocks, second.blocks[0])))
    assert any("said to come from two of its boards at once" in one for one in moved)
    assert any("was not measured where the table says that it was" in one for one in moved)


def test_what_is_no_table_is_an_error_and_the_count_is_told(path: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    validations = [validate_table(path), validate_table(bad), validate_table(tmp_path / "none.json")]
    with pytest.raises(InvalidTableError, match=r"2 of 3 tables have errors, the first is .*bad\.json"):
        require_valid(validations)
    plain = validation_document(validations)["tables"]
    assert [one["valid"] for one in plain] == [True, False, False]
    assert plain[1]["errors"] == [f"{bad} is no lookup table: it has no schema version"]
