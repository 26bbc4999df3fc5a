"""One table that boards of a kind measured together: whether they agree, who measures what, and their shares as one."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.artifacts import ExportedModel
from searcher.tables.lookup_table import Entry, LookupTable, Share, key_differences

# Boards of one kind whose sentinels differ by more are not one device.
TOLERANCE_PCT = 3.0


@dataclass(frozen=True)
class Standard:
    """What boards must agree with to share a table.

    Attributes:
        key: of the table.
        key_of: whose key it is, for messages.
        sentinel_ms: latency of the agent's sentinel, in ms; None where no board of the key knows its own.
    """

    key: TableKey
    key_of: str
    sentinel_ms: float | None

    def objection(self, table: LookupTable) -> str | None:
        """Say why a board's measurements are not like those of the others; None if they are."""
        different = key_differences(self.key, table.key)
        if different:
            return f"its table key is not that of {self.key_of}: {'; '.join(different)}"
        if table.sentinel_ms is None or self.sentinel_ms is None:
            return "its sentinel was read too rarely to be compared"
        off_pct = percent_off(table.sentinel_ms, self.sentinel_ms)
        if abs(off_pct) > TOLERANCE_PCT:
            return (
                f"its sentinel takes {table.sentinel_ms:.4f} ms, {off_pct:+.1f}% off the boards' median of "
                f"{self.sentinel_ms:.4f} ms, and {TOLERANCE_PCT:g}% is allowed"
            )
        return None


def percent_off(sentinel_ms: float, expected_ms: float) -> float:
    """Return how far a sentinel is from another, in percent."""
    return 100 * (sentinel_ms / expected_ms - 1)


def standard_of(probes: Mapping[str, LookupTable], required: TableKey | None) -> Standard | None:
    """Return what boards must agree with: the key of most of them, and their sentinels' median.

    Of an even number of sentinels the lower middle one counts, so that of two boards that differ one is left.

    Args:
        probes: a table of each board that answered, by its name.
        required: the key that the table must have; None where that is open.

    Returns:
        None where there is no board.
    """
    if not probes:
        return None
    key, owner = required, "the table that is there (--overwrite replaces it)"
    if key is None:
        # Of keys that are equally frequent, the one that comes first.
        key = Counter(table.key for table in probes.values()).most_common(1)[0][0]
        owners = [name for name, table in probes.items() if table.key == key]
        owner = owners[0] if len(owners) == 1 else f"{owners[0]} and {len(owners) - 1} more"
    sentinels = [table.sentinel_ms for table in probes.values() if table.key == key and table.sentinel_ms is not None]
    return Standard(key, owner, statistics.median_low(sentinels) if sentinels else None)


def dealt(
    models: Sequence[ExportedModel], common: ExportedModel, boards: Sequence[str]
) -> dict[str, tuple[ExportedModel, ...]]:
    """Deal models out over boards in turn, the common one to each of them; a board for which none is left gets nothing.

    Args:
        models: what to measure; neighbours, which are alike, go to different boards.
        common: measured by every board.
        boards: their names.
    """
    if not boards:
        return {}
    others = [model for model in models if model != common]
    shares = {board: tuple(others[index :: len(boards)]) for index, board in enumerate(boards)}
    return {board: (common, *share) for board, share in shares.items() if share}


@dataclass(frozen=True)
class Part:
    """A board's share as it was measured.

    Attributes:
        board: its name.
        path: file of its table.
        table: what it measured.
    """

    board: str
    path: Path
    table: LookupTable


def merged(parts: Sequence[Part], standard: Standard, common: str, folder: Path) -> LookupTable:
    """Return shares that agree as one table.

    Args:
        parts: in a fixed order; of blocks that several measured, the first counts.
        standard: what all agree with.
        common: key of the block that all measured; the table takes it from the part whose latency is their median.
        folder: of the whole table.
    """
    chosen = _middle(parts, common)
    entries: dict[str, Entry] = {}
    shares = []
    for part in parts:
        own = {
            key: entry
            for key, entry in part.table.entries.items()
            if key not in entries and (key != common or part is chosen)
        }
        entries.update(own)
        if own:
            shares.append(_share(part, tuple(own), standard, folder))
    first = parts[0].table
    floors = [part.table.noise_floor_pct for part in parts if part.table.noise_floor_pct is not None]
    return replace(
        first,
        provenance=replace(
            first.provenance,
            created=max(part.table.provenance.created for part in parts),
            device=", ".join(dict.fromkeys(part.table.provenance.device for part in parts)),
            journal_sha256=None,
            shares=tuple(shares),
        ),
        entries=dict(sorted(entries.items())),
        sentinel_ms=standard.sentinel_ms,
        noise_floor_pct=max(floors, default=None),
    )


def _middle(parts: Sequence[Part], common: str) -> Part:
    ordered = sorted(parts, key=lambda part: part.table.entry(common).median_ms)
    return ordered[(len(ordered) - 1) // 2]


def _share(part: Part, blocks: tuple[str, ...], standard: Standard, folder: Path) -> Share:
    provenance, sentinel_ms = part.table.provenance, part.table.sentinel_ms
    if sentinel_ms is None or standard.sentinel_ms is None or provenance.journal_sha256 is None:
        raise ValueError(f"the share of {part.board} does not agree with anything")
    return Share(
        board=part.board,
        device=provenance.device,
        table=part.path.relative_to(folder).as_posix(),
        journal_sha256=provenance.journal_sha256,
        blocks=tuple(sorted(blocks)),
        sentinel_ms=sentinel_ms,
        sentinel_off_pct=round(percent_off(sentinel_ms, standard.sentinel_ms), 3),
    )
