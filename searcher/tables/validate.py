"""Whether a table can be believed: its schema, key, ranges, completeness, steadiness, origin and raw samples.

An error says that something in the file contradicts something else, or that what it is for cannot work. A warning says
what a reader should know before trusting it.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from searcher.errors import BadInputError, SearcherError
from searcher.spaces.block import DTYPES
from searcher.spaces.catalogue import SPACES
from searcher.tables.completeness import needed_blocks
from searcher.tables.diff import NEEDED_CONFIDENCE
from searcher.tables.foreign.imported import UNKNOWN
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.operators import SPACE as OPERATORS
from searcher.tables.raw_samples import Doubt, doubts_of_samples

SCHEMA_VERSION = 1
# A machine whose single readings differ by more needs many rounds for any interval.
_NOISY_PCT = 5.0


class InvalidTableError(SearcherError):
    """A table has errors; the message says how many tables have."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something about a table that its reader should know, in one sentence."""

    severity: Severity
    sentence: str


@dataclass(frozen=True)
class Validation:
    """What was found in one file."""

    path: Path
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def validate_table(path: Path) -> Validation:
    """Look for what is wrong with a table; what cannot be read is an error too."""
    try:
        table = TABLE_DOCUMENT.load(path)
    except BadInputError as e:
        return Validation(path, (_error(str(e)),))
    findings = (
        *_key(table),
        *_entries(table),
        *_completeness(table),
        *_steadiness(table),
        *_origin(table),
        *(_finding(doubt) for doubt in doubts_of_samples(table, path)),
    )
    return Validation(path, findings)


def require_valid(validations: Sequence[Validation]) -> None:
    """Raise InvalidTableError if a table has errors."""
    failed = [validation for validation in validations if validation.failed]
    if failed:
        raise InvalidTableError(
            f"{len(failed)} of {len(validations)} tables have errors, the first is {failed[0].path}"
        )


def validation_document(validations: Sequence[Validation]) -> dict[str, Any]:
    """Return findings as JSON-ready plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tables": [
            {
                "file": str(validation.path),
                "valid": not validation.failed,
                "errors": _sentences(validation, Severity.ERROR),
                "warnings": _sentences(validation, Severity.WARNING),
            }
            for validation in validations
        ],
    }


def _sentences(validation: Validation, severity: Severity) -> list[str]:
    return [finding.sentence for finding in validation.findings if finding.severity is severity]


def _error(sentence: str) -> Finding:
    return Finding(Severity.ERROR, sentence)


def _warning(sentence: str) -> Finding:
    return Finding(Severity.WARNING, sentence)


def _finding(doubt: Doubt) -> Finding:
    return _error(doubt.sentence) if doubt.contradicts else _warning(doubt.sentence)


def _key(table: LookupTable) -> Iterator[Finding]:
    for name, value in vars(table.key).items():
        if isinstance(value, str) and not (value and value.isprintable()):
            yield _error(f"its key's {name} is empty or holds control characters")
    if _is_foreign(table):
        return
    if table.key.threads < 1:
        yield _error(f"its key names {table.key.threads} threads")
    if table.key.precision not in DTYPES and table.space in SPACES:
        yield _error(f"its key's precision is {table.key.precision!r}, which is none of {', '.join(DTYPES)}")


def _entries(table: LookupTable) -> Iterator[Finding]:
    """Tell what contradicts itself within an entry; single values were in their ranges when it was read."""
    if not table.entries:
        yield _error("it has no entries")
    estimated = table.provenance.estimated_from is not None
    for block, entry in table.entries.items():
        low, high = entry.interval_ms
        if not low <= entry.median_ms <= high:
            yield _error(f"the median of {block}, {entry.median_ms:g} ms, is not in its interval {low:g} … {high:g} ms")
        if entry.samples < entry.rounds and not estimated:
            yield _error(f"{block} has {entry.rounds} rounds but {entry.samples} samples")
        if (entry.occurrences is not None) != estimated:
            yield _error(
                f"{block} is an estimate in a table of measured blocks"
                if entry.occurrences is not None
                else f"{block} is no estimate, though the table says that it holds estimates"
            )
        if not block.isprintable():
            yield _error(f"the key {block!r} holds control characters")
    yield from _predictions(table)


def _predictions(table: LookupTable) -> Iterator[Finding]:
    """Tell which entries nobody measured, and whether it is known what predicted them."""
    predicted, known = table.predicted, {*(table.provenance.predictors or {}).values()}
    if predicted:
        yield _warning(f"predicted, not measured: {_named(predicted)}")
    foreign = [block for block in predicted if table.entries[block].predicted_by not in known]
    if foreign:
        yield _error(f"predicted by what the table does not name: {_named(foreign)}")


def _completeness(table: LookupTable) -> Iterator[Finding]:
    if table.space not in SPACES:
        # An operators' table has no blocks that must be there, nor has one of somebody else's blocks.
        if table.space != OPERATORS and table.provenance.imported_from is None:
            yield _warning(f"whether it is complete is not known: this version has no space {table.space!r}")
        return
    if table.key.precision not in DTYPES:
        return
    needed = needed_blocks(table.space, table.key.precision, table.entries.keys())
    missing, unknown = needed - table.entries.keys(), table.entries.keys() - needed
    if missing:
        yield _error(f"it lacks {_named(missing)} of the space {table.space}")
    if unknown:
        yield _warning(f"it has {_named(unknown)} that the space {table.space} does not need")


def _steadiness(table: LookupTable) -> Iterator[Finding]:
    if _is_foreign(table):
        return
    if table.provenance.estimated_from is None:
        yield from _intervals(table)
    if table.sentinel_ms is not None and not 0 < table.sentinel_ms < math.inf:
        yield _error(f"its sentinel takes {table.sentinel_ms:g} ms")
    if table.noise_floor_pct is not None and not 0 <= table.noise_floor_pct < math.inf:
        yield _error(f"its noise floor is {table.noise_floor_pct:g}%")
    elif table.noise_floor_pct is not None and table.noise_floor_pct > _NOISY_PCT:
        yield _warning(
            f"its machine was noisy: single readings of the sentinel differed by {table.noise_floor_pct:.1f}%"
        )
    if table.sentinel_ms is None and table.provenance.estimated_from is None:
        yield _warning("its sentinel is unknown, so it cannot be compared with what is measured later")


def _intervals(table: LookupTable) -> Iterator[Finding]:
    measured = {block: entry for block, entry in table.entries.items() if entry.predicted_by is None}
    loose = [block for block, entry in measured.items() if not entry.converged]
    unsure = [block for block, entry in measured.items() if entry.confidence < NEEDED_CONFIDENCE]
    if loose:
        yield _warning(f"not converged, with intervals wider than was asked: {_named(loose)}")
    if unsure:
        yield _warning(f"with intervals of less than {100 * NEEDED_CONFIDENCE:.0f}% confidence: {_named(unsure)}")


def _origin(table: LookupTable) -> Iterator[Finding]:
    origin = table.provenance
    try:
        datetime.datetime.fromisoformat(origin.created)
    except ValueError:
        yield _warning(f"its time of making is none: {origin.created[:40]!r}")
    if origin.imported_from is not None:
        known = "nothing" if _is_foreign(table) else "the key alone"
        file, how = origin.imported_from.file, origin.imported_from.format
        yield _warning(f"it was imported from {file} ({how}); of its conditions {known} is known")
    for title, parts in (("boards", origin.shares), ("merged tables", origin.merged_from)):
        if parts is not None:
            measured = table.entries.keys() - {*table.predicted}
            yield from _coverage(title, [block for part in parts for block in part.blocks], measured)


def _coverage(title: str, told: Sequence[str], entries: Iterable[str]) -> Iterator[Finding]:
    """Tell whether every entry is told to come from exactly one part."""
    twice = [block for block, count in Counter(told).items() if count > 1]
    missing, unknown = set(entries) - {*told}, {*told} - set(entries)
    if twice:
        yield _error(f"said to come from two of its {title} at once: {_named(twice)}")
    if missing:
        yield _error(f"said to come from none of its {title}: {_named(missing)}")
    if unknown:
        yield _error(f"said to come from its {title}, but not there: {_named(unknown)}")


def _is_foreign(table: LookupTable) -> bool:
    """Tell whether somebody else published a table, who told nothing of its conditions."""
    return table.provenance.imported_from is not None and table.key.runtime == UNKNOWN


def _named(blocks: Iterable[str]) -> str:
    first, *others = sorted(blocks)
    return f"{first} and {len(others)} more blocks" if others else first
