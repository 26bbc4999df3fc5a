"""What comparing and validating lookup tables tells a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from searcher.devices.transport import printable
from searcher.tables.diff import BlockChange, TableDiff, Verdict
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatencies
from searcher.tables.share import TOLERANCE_PCT
from searcher.tables.validate import Validation


def diff_headline(diff: TableDiff) -> str:
    """Return how many blocks changed."""
    undecided = sum(one.verdict is Verdict.UNDECIDED for one in diff.blocks)
    same = len(diff.blocks) - undecided - len(diff.changed)
    return (
        f"{len(diff.changed)} of {len(diff.blocks)} blocks changed beyond their intervals, {same} did not, "
        f"{undecided} cannot be decided"
    )


def diff_table(diff: TableDiff) -> Table | None:
    """Return the blocks that changed and those that cannot be decided, the largest change first; None without any."""
    told = [one for one in diff.blocks if {one.verdict, one.apart_from_drift} != {Verdict.SAME}]
    if not told:
        return None
    shown = Table()
    shown.add_column("block", overflow="fold")
    for name in ("before ms", "after ms", "change %"):
        shown.add_column(name, justify="right")
    shown.add_column("verdict", overflow="fold")
    shown.add_column("sure", overflow="fold")
    for one in told:
        shown.add_row(
            _line(one.block),
            _latency(one.before_ms, one.before_interval_ms),
            _latency(one.after_ms, one.after_interval_ms),
            f"{one.change_pct:+.2f}",
            _verdict(one, diff),
            one.reason or f"at least {100 * one.confidence:.0f}%",
        )
    return shown


def _latency(median_ms: float, interval_ms: tuple[float, float]) -> str:
    return f"{median_ms:.5f} ({interval_ms[0]:.5f} … {interval_ms[1]:.5f})"


def _verdict(one: BlockChange, diff: TableDiff) -> str:
    if not diff.drifted or one.verdict is Verdict.UNDECIDED:
        return str(one.verdict)
    apart = "as all do" if one.apart_from_drift is Verdict.SAME else f"{one.apart_from_drift} than the others"
    return f"{one.verdict}, {apart}"


def diff_remarks(diff: TableDiff) -> Iterator[str]:
    """Yield what concerns the tables as wholes: drift, sentinels, blocks of one only, key and conditions."""
    if diff.median_ratio is not None:
        change = f"the median of all changes is {100 * (diff.median_ratio - 1):+.2f}%"
        yield f"all blocks drifted together: {change}" if diff.drifted else f"no drift of all blocks together: {change}"
    if diff.sentinel_ratio is None:
        yield "the machine's own speed cannot be compared: a sentinel is unknown"
    else:
        off_pct = 100 * (diff.sentinel_ratio - 1)
        told = "the machine was as fast" if abs(off_pct) <= TOLERANCE_PCT else "the machine was not as fast"
        yield f"{told}: its sentinel changed by {off_pct:+.2f}%"
    if diff.false_alarms:
        yield f"by chance at most {diff.false_alarms:.1f} unchanged blocks seem changed, on average"
    for name, blocks in (("first", diff.only_before), ("second", diff.only_after)):
        if blocks:
            yield _line(f"only in the {name}: {', '.join(blocks)}")
    for name, differences in (("key", diff.key), ("environment", diff.environment), ("provenance", diff.provenance)):
        for difference in differences:
            yield _line(f"{name}: {difference}")


def validation_lines(validations: Sequence[Validation]) -> Iterator[str]:
    """Yield one line a finding, and one for a table without any."""
    for validation in validations:
        for finding in validation.findings:
            yield _line(f"{validation.path}: {finding.severity}: {finding.sentence}")
        if not validation.findings:
            yield f"{validation.path}: nothing to complain about"


def _line(text: str) -> str:
    """Return a text with names from a file as one line that does nothing to a terminal."""
    return printable(text).replace("\n", " ")


def imported(document: LookupTable | NetworkLatencies) -> str:
    """Return in one sentence what was imported."""
    if isinstance(document, NetworkLatencies):
        return f"latencies of {len(document.networks)} networks of {document.space} on {document.device}"
    return f"latencies of {len(document.entries)} blocks of {document.space} on {document.provenance.device}"
