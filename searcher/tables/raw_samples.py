"""Whether a table says what the journals beside it say: their hashes, and medians and intervals from raw samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from searcher.artifacts import sha256_of
from searcher.errors import BadInputError, SearcherError
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable, Share, key_differences
from searcher.tables.recompute import entry_differences, recompute

# A table that was made by other rules differs in all its blocks: some are enough to see it.
_MOST_BLOCKS = 5


@dataclass(frozen=True)
class Doubt:
    """Why a table may not say what was measured.

    Attributes:
        sentence: what is wrong.
        contradicts: whether table and journal contradict each other; else the journal is only missing.
    """

    sentence: str
    contradicts: bool


def doubts_of_samples(table: LookupTable, path: Path) -> Iterator[Doubt]:
    """Compare a table with its journals as far as they lie where they belong.

    Args:
        table: any table; those of estimates, and those that were merged or imported, have no journal of their own.
        path: its file.
    """
    origin = table.provenance
    if origin.journal_sha256 is not None:
        yield from _doubts(table, table, journal_path(path), origin.journal_sha256, table.entries.keys())
    for share in origin.shares or ():
        yield from _doubts_of_share(table, path.parent, share)


def _doubts_of_share(whole: LookupTable, folder: Path, share: Share) -> Iterator[Doubt]:
    inside = PurePosixPath(share.table)
    if inside.is_absolute() or ".." in inside.parts or not inside.name:
        yield Doubt(f"the share of {share.board} is not in the table's folder: {share.table!r}", contradicts=True)
        return
    path = folder / inside
    if not path.is_file():
        yield Doubt(f"the share of {share.board}, {path}, is not there: its blocks cannot be checked", False)
        return
    try:
        part = TABLE_DOCUMENT.load(path)
    except BadInputError as e:
        yield Doubt(str(e), contradicts=True)
        return
    yield from _doubts(whole, part, journal_path(path), share.journal_sha256, share.blocks)


def _doubts(
    whole: LookupTable, measured: LookupTable, journal: Path, sha256: str, blocks: Collection[str]
) -> Iterator[Doubt]:
    """Compare some blocks of a table with the journal of the job that measured them."""
    try:
        if not journal.is_file():
            yield Doubt(f"{journal} is not there: medians and intervals cannot be computed again", contradicts=False)
            return
        if sha256_of(journal) != sha256:
            yield Doubt(f"{journal} is not the journal that it was made of: their hashes differ", contradicts=True)
            return
        recomputed = recompute(measured, journal)
    except (SearcherError, OSError) as e:
        yield Doubt(f"its journal cannot be used: {e}", contradicts=True)
        return
    different = key_differences(recomputed.key, whole.key)
    if different:
        yield Doubt(f"its key is not that of {journal}: {'; '.join(different)}", contradicts=True)
    if whole is measured:
        for name in ("sentinel_ms", "noise_floor_pct"):
            written, told = getattr(whole, name), getattr(recomputed, name)
            if written != told:
                yield Doubt(f"its {name} is {written}, but {journal} tells {told}", contradicts=True)
    yield from _doubts_of_blocks(whole, recomputed, blocks)


def _doubts_of_blocks(whole: LookupTable, recomputed: LookupTable, blocks: Collection[str]) -> Iterator[Doubt]:
    wrong = {
        block: entry_differences(whole.entries[block], recomputed.entries[block])
        for block in blocks
        if block in whole.entries and block in recomputed.entries
    }
    wrong = {block: different for block, different in wrong.items() if different}
    for block in sorted({*blocks} - recomputed.entries.keys()):
        yield Doubt(f"{block} was not measured where the table says that it was", contradicts=True)
    for block, different in list(wrong.items())[:_MOST_BLOCKS]:
        yield Doubt(f"{block} is not what its raw samples say: {'; '.join(different)}", contradicts=True)
    if len(wrong) > _MOST_BLOCKS:
        yield Doubt(f"{len(wrong) - _MOST_BLOCKS} more blocks are not what their raw samples say", contradicts=True)
