"""What differs between two lookup tables: blocks beyond their intervals, drift of all together, and conditions.

Two medians differ for certain only as far as their intervals do not overlap. If these cover with confidences c1 and c2,
both do at once with a probability of at least c1 + c2 - 1 (Bonferroni), so that is how sure a change is: at least 90%
for two intervals of 95%. Of many unchanged blocks a few may therefore seem changed; the result tells how many at most.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from searcher.errors import SearcherError
from searcher.tables.lookup_table import Entry, LookupTable, key_differences

SCHEMA_VERSION = 1
NEEDED_CONFIDENCE = 0.95
# Fewer blocks have no common drift that could be told from their own changes.
_LEAST_FOR_DRIFT = 4
# Where each entry comes from is told by the parts themselves.
_LONG_FIELDS = ("shares", "merged_from")


class TablesDifferError(SearcherError):
    """Two tables differ, and the caller asked for an exit status that says so."""


class Verdict(StrEnum):
    """What can be said of a block that both tables have."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    """Its intervals overlap: no change is shown."""
    UNDECIDED = "undecided"
    """An interval covers with too little confidence, or is that of estimates or of a prediction."""


@dataclass(frozen=True)
class BlockChange:
    """A block that both tables have.

    Attributes:
        block: its key.
        before_ms: median in the first table, in ms.
        after_ms: median in the second, in ms.
        before_interval_ms: interval of the first, in ms.
        after_interval_ms: interval of the second, in ms.
        change_pct: 100 · (after / before - 1).
        verdict: by the intervals as they are.
        apart_from_drift: the same after the drift of all blocks is taken off; equals `verdict` where nothing drifted.
        confidence: the least probability that both intervals cover their medians; 0 for estimates.
        reason: why it is undecided, or None.
    """

    block: str
    before_ms: float
    after_ms: float
    before_interval_ms: tuple[float, float]
    after_interval_ms: tuple[float, float]
    change_pct: float
    verdict: Verdict
    apart_from_drift: Verdict
    confidence: float
    reason: str | None


@dataclass(frozen=True)
class TableDiff:
    """What differs between two tables.

    Attributes:
        blocks: those that both have, the largest change first.
        only_before: keys that only the first has.
        only_after: keys that only the second has.
        key: in what the table keys differ.
        environment: in what machine and state differ.
        provenance: in what their origin differs.
        median_ratio: median over the decidable blocks of after / before; None where there are none.
        drifted: whether more than half of the decidable blocks changed in one direction: then it is the machine, its
            software or the way of measuring, and single blocks are those that stand out from it.
        sentinel_ratio: after / before of the agent's sentinel; None where one is unknown.
        false_alarms: of the decidable blocks, at most so many seem changed by chance on average.
    """

    blocks: tuple[BlockChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    key: tuple[str, ...]
    environment: tuple[str, ...]
    provenance: tuple[str, ...]
    median_ratio: float | None
    drifted: bool
    sentinel_ratio: float | None
    false_alarms: float

    @property
    def changed(self) -> tuple[BlockChange, ...]:
        """Blocks that changed beyond their intervals."""
        return tuple(one for one in self.blocks if one.verdict in (Verdict.SLOWER, Verdict.FASTER))

    @property
    def single(self) -> tuple[BlockChange, ...]:
        """Blocks that changed otherwise than all together did."""
        return tuple(one for one in self.blocks if one.apart_from_drift in (Verdict.SLOWER, Verdict.FASTER))

    @property
    def differs(self) -> bool:
        """Whether a block changed beyond its intervals, is in one table only, or was measured under another key."""
        return bool(self.changed or self.only_before or self.only_after or self.key)

    def require_none(self) -> None:
        """Raise TablesDifferError, with the counts, if the tables differ in blocks or key."""
        if self.differs:
            others = len(self.only_before) + len(self.only_after)
            raise TablesDifferError(
                f"the tables differ: {len(self.changed)} blocks changed beyond their intervals, {others} are in one "
                f"table only, and their keys {'differ' if self.key else 'are the same'}"
            )


def diff_tables(before: LookupTable, after: LookupTable) -> TableDiff:
    """Compare two tables block by block."""
    common = [block for block in before.entries if block in after.entries]
    pairs = {block: (before.entries[block], after.entries[block]) for block in common}
    decidable = {block: pair for block, pair in pairs.items() if _undecided_because(*pair) is None}
    ratios = [new.median_ms / old.median_ms for old, new in decidable.values()]
    median_ratio = statistics.median(ratios) if ratios else None
    verdicts = [_verdict(old, new, 1.0) for old, new in decidable.values()]
    most = max(verdicts.count(Verdict.SLOWER), verdicts.count(Verdict.FASTER))
    drifted = len(decidable) >= _LEAST_FOR_DRIFT and 2 * most > len(decidable)
    drift = median_ratio if drifted and median_ratio is not None else 1.0
    changes = [_change(block, old, new, drift) for block, (old, new) in pairs.items()]
    return TableDiff(
        blocks=tuple(sorted(changes, key=lambda one: (-abs(math.log(one.after_ms / one.before_ms)), one.block))),
        only_before=tuple(sorted(before.entries.keys() - after.entries.keys())),
        only_after=tuple(sorted(after.entries.keys() - before.entries.keys())),
        key=tuple(key_differences(before.key, after.key)),
        environment=tuple(_differences(_plain(before.environment), _plain(after.environment))),
        provenance=tuple(_differences(_origin(before), _origin(after))),
        median_ratio=median_ratio,
        drifted=drifted,
        sentinel_ratio=_ratio(before.sentinel_ms, after.sentinel_ms),
        false_alarms=math.fsum(1 - _both_cover(old, new) for old, new in decidable.values()),
    )


def diff_document(diff: TableDiff) -> dict[str, Any]:
    """Return a comparison as JSON-ready plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "differs": diff.differs,
        "changed": [one.block for one in diff.changed],
        "apart_from_drift": [one.block for one in diff.single],
        **dataclasses.asdict(diff),
    }


def _change(block: str, old: Entry, new: Entry, drift: float) -> BlockChange:
    reason = _undecided_because(old, new)
    return BlockChange(
        block=block,
        before_ms=old.median_ms,
        after_ms=new.median_ms,
        before_interval_ms=old.interval_ms,
        after_interval_ms=new.interval_ms,
        change_pct=100 * (new.median_ms / old.median_ms - 1),
        verdict=Verdict.UNDECIDED if reason else _verdict(old, new, 1.0),
        apart_from_drift=Verdict.UNDECIDED if reason else _verdict(old, new, drift),
        confidence=_both_cover(old, new),
        reason=reason,
    )


def _verdict(old: Entry, new: Entry, drift: float) -> Verdict:
    """Return what the intervals show after the second is divided by what all blocks changed by."""
    low, high = (end / drift for end in new.interval_ms)
    if low > old.interval_ms[1]:
        return Verdict.SLOWER
    if high < old.interval_ms[0]:
        return Verdict.FASTER
    return Verdict.SAME


def _both_cover(old: Entry, new: Entry) -> float:
    return max(0.0, old.confidence + new.confidence - 1)


def _undecided_because(old: Entry, new: Entry) -> str | None:
    for which, entry in (("first", old), ("second", new)):
        if entry.occurrences is not None:
            return f"the {which} is the range of {entry.occurrences} estimates, not an interval"
        if entry.predicted_by is not None:
            return f"the {which} is predicted, not measured"
        if entry.confidence < NEEDED_CONFIDENCE:
            return f"the {which} interval has a confidence of {100 * entry.confidence:.0f}% only"
    return None


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before if before and after else None


def _origin(table: LookupTable) -> dict[str, object]:
    """Return where a table comes from, long lists as their lengths."""
    plain = dataclasses.asdict(table.provenance)
    for name in _LONG_FIELDS:
        plain[name] = None if plain[name] is None else f"{len(plain[name])} parts"
    return _flat({"space": table.space, **plain})


def _plain(record: Any) -> dict[str, object]:
    return {} if record is None else _flat(dataclasses.asdict(record))


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, the names joined by dots."""
    flat: dict[str, object] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in names
        if before.get(name) != after.get(name)
    ]
