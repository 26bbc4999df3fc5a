"""Several tables of one key become one that says where each of its entries comes from."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from searcher.artifacts import sha256_of
from searcher.errors import BadInputError
from searcher.tables.diff import NEEDED_CONFIDENCE
from searcher.tables.lookup_table import (
    TABLE_DOCUMENT,
    Entry,
    KeyMismatchError,
    LookupTable,
    MergedPart,
    Provenance,
    key_differences,
)
from searcher.tables.share import TOLERANCE_PCT, percent_off


class Prefer(StrEnum):
    """Which of several entries of one block a merged table takes."""

    FIRST = "first"
    LAST = "last"
    NARROWER = "narrower"
    """That with the narrower interval, relative to its median, of those that cover with 95% if any does."""


class OverlapError(BadInputError):
    """Tables have different entries for one block, and nobody said which of them to take."""


@dataclass(frozen=True)
class TableFile:
    """A table and the file that it was read from."""

    path: Path
    sha256: str
    table: LookupTable


def read_tables(paths: Sequence[Path]) -> tuple[TableFile, ...]:
    """Read tables.

    Raises:
        BadInputError: a file cannot be read or is no table.
    """
    return tuple(TableFile(path, table=TABLE_DOCUMENT.load(path), sha256=sha256_of(path)) for path in paths)


def merge_tables(files: Sequence[TableFile], prefer: Prefer | None = None) -> LookupTable:
    """Return the entries of several tables as one table.

    A measured entry counts before a predicted one, whatever is preferred.

    Args:
        files: at least two, of one space and key, measured by a machine that was as fast each time.
        prefer: which entry to take where tables have different ones for a block; None refuses that.

    Raises:
        KeyMismatchError: the keys differ.
        OverlapError: entries of one block differ, and `prefer` is None.
        BadInputError: there are fewer than two tables, or the spaces, sentinels or kinds of table differ.
    """
    if len(files) < 2:
        raise BadInputError("there is nothing to merge: give two tables or more")
    for file in files[1:]:
        _require_alike(files[0], file)
    sentinel_ms = _common_sentinel(files)
    chosen = _chosen(files, prefer)
    first = files[0].table
    floors = [file.table.noise_floor_pct for file in files if file.table.noise_floor_pct is not None]
    return replace(
        first,
        environment=next((file.table.environment for file in files if file.table.environment is not None), None),
        provenance=_provenance(files, chosen),
        entries={block: chosen[block].table.entries[block] for block in sorted(chosen)},
        sentinel_ms=sentinel_ms,
        noise_floor_pct=max(floors, default=None),
    )


def disagreements(files: Sequence[TableFile]) -> tuple[str, ...]:
    """Return the measured blocks whose intervals in two of the tables do not overlap: one of them was disturbed."""
    return tuple(
        sorted(
            block
            for block, entries in _by_block(files).items()
            if max(entry.interval_ms[0] for entry in entries) > min(entry.interval_ms[1] for entry in entries)
        )
    )


def _require_alike(first: TableFile, other: TableFile) -> None:
    """Raise BadInputError, naming what differs, unless two tables may stand in one."""
    pair = f"{other.path} does not mix with {first.path}"
    different = key_differences(first.table.key, other.table.key)
    if different:
        raise KeyMismatchError(f"{pair}: its {'; its '.join(different)}")
    if first.table.space != other.table.space:
        raise BadInputError(f"{pair}: its space is {other.table.space!r}, not {first.table.space!r}")
    before, now = first.table.provenance, other.table.provenance
    if (before.estimated_from is None) != (now.estimated_from is None):
        raise BadInputError(f"{pair}: one holds measured blocks, the other estimates from whole models")
    if before.calibration != now.calibration:
        raise BadInputError(f"{pair}: its blocks were calibrated on {now.calibration}, not on {before.calibration}")


def _common_sentinel(files: Sequence[TableFile]) -> float | None:
    """Return the sentinel's median over the tables, or None for estimates, which come without one.

    Raises:
        BadInputError: one is unknown, or two differ by more than is allowed: the machine was not as fast.
    """
    if files[0].table.provenance.estimated_from is not None:
        return None
    known: list[tuple[float, TableFile]] = []
    for file in files:
        if file.table.sentinel_ms is None:
            raise BadInputError(
                f"{file.path} does not tell how fast its machine was: its sentinel is unknown; measure it anew"
            )
        known.append((file.table.sentinel_ms, file))
    (low_ms, fastest), (high_ms, slowest) = (
        min(known, key=lambda one: one[0]),
        max(known, key=lambda one: one[0]),
    )
    # Also with a sentinel that is not positive, which no job tells but a file may.
    if low_ms <= 0 or percent_off(high_ms, low_ms) > TOLERANCE_PCT:
        raise BadInputError(
            f"{slowest.path} does not mix with {fastest.path}: the machine was not as fast, its sentinel took "
            f"{high_ms:.4f} ms, not {low_ms:.4f} ms, and {TOLERANCE_PCT:g}% is allowed; measure one of them anew"
        )
    return statistics.median_low(sentinel_ms for sentinel_ms, _ in known)


def _chosen(files: Sequence[TableFile], prefer: Prefer | None) -> dict[str, TableFile]:
    """Return for each block the file whose entry counts."""
    chosen: dict[str, TableFile] = {}
    contested: dict[str, tuple[Path, Path]] = {}
    for file in files:
        for block, entry in file.table.entries.items():
            before = chosen.setdefault(block, file)
            if before.table.entries[block] == entry:
                continue
            if (entry.predicted_by is None) != (before.table.entries[block].predicted_by is None):
                if entry.predicted_by is None:
                    # Whatever predictions there were before: they need no decision any more.
                    chosen[block] = file
                    contested.pop(block, None)
                continue
            contested.setdefault(block, (before.path, file.path))
            if prefer is Prefer.LAST or (
                prefer is Prefer.NARROWER and _width(entry) < _width(before.table.entries[block])
            ):
                chosen[block] = file
    if contested and prefer is None:
        block, (one, other) = min(contested.items())
        more = f" and {len(contested) - 1} more blocks" if len(contested) > 1 else ""
        raise OverlapError(
            f"{one} and {other} have different entries for {block}{more}: say which to take with "
            f"--prefer {'|'.join(Prefer)}"
        )
    return chosen


def _width(entry: Entry) -> tuple[bool, float]:
    """Return what makes an entry the worse of two: too little confidence first, then a wide interval."""
    low, high = entry.interval_ms
    return entry.confidence < NEEDED_CONFIDENCE, (high - low) / entry.median_ms


def _by_block(files: Sequence[TableFile]) -> Mapping[str, list[Entry]]:
    entries: dict[str, list[Entry]] = {}
    for file in files:
        for block, entry in file.table.entries.items():
            if entry.predicted_by is None:
                entries.setdefault(block, []).append(entry)
    return entries


def _provenance(files: Sequence[TableFile], chosen: Mapping[str, TableFile]) -> Provenance:
    origins = [file.table.provenance for file in files]
    estimated = [origin.estimated_from for origin in origins if origin.estimated_from is not None]
    return Provenance(
        created=max(origin.created for origin in origins),
        device=_joined(origin.device for origin in origins),
        agent_version=_joined(origin.agent_version for origin in origins),
        journal_sha256=None,
        versions=_versions(origins),
        estimated_from={model: digest for models in estimated for model, digest in models.items()} or None,
        calibration=origins[0].calibration,
        merged_from=tuple(part for file in files for part in parts_of(file, _taken(file, chosen))),
        predictors=_predictors(files, chosen),
    )


def _taken(file: TableFile, chosen: Mapping[str, TableFile]) -> set[str]:
    return {block for block, owner in chosen.items() if owner is file}


def _predictors(files: Sequence[TableFile], chosen: Mapping[str, TableFile]) -> dict[str, str] | None:
    """Return what predicted the entries that are taken, by name; different ones of a name by name and hash."""
    asked = {owner.table.entries[block].predicted_by for block, owner in chosen.items()}
    named: dict[str, str] = {}
    for file in files:
        for name, sha256 in (file.table.provenance.predictors or {}).items():
            if sha256 in asked and sha256 not in named.values():
                named[name if name not in named else f"{name} ({sha256[:8]})"] = sha256
    return named or None


def parts_of(file: TableFile, taken: Set[str]) -> list[MergedPart]:
    """Return what is taken from a file; one that was merged itself is told as what it was merged from.

    Predicted entries are no part of any: they tell themselves what they are from.

    Args:
        file: the table.
        taken: keys of the blocks that are taken.
    """
    origin = file.table.provenance
    whole = MergedPart(
        file=file.path.name,
        sha256=file.sha256,
        created=origin.created,
        device=origin.device,
        agent_version=origin.agent_version,
        journal_sha256=origin.journal_sha256,
        sentinel_ms=file.table.sentinel_ms,
        blocks=tuple(file.table.entries),
        imported_from=origin.imported_from,
    )
    measured = taken - {*file.table.predicted}
    parts = (replace(part, blocks=tuple(sorted(measured & {*part.blocks}))) for part in origin.merged_from or (whole,))
    return [part for part in parts if part.blocks]


def _versions(origins: Sequence[Provenance]) -> dict[str, str]:
    packages = sorted({package for origin in origins for package in origin.versions})
    return {
        package: _joined(origin.versions[package] for origin in origins if package in origin.versions)
        for package in packages
    }


def _joined(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
