"""Tables for a person in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from searcher.search.accounting import Spent
from searcher.search.candidate import SearchResult, best_distinct
from searcher.tables.foreign.imported import UNKNOWN
from searcher.tables.lookup_table import Entry, LookupTable
from searcher.verification.verification import Verdict, Verification

# Of the intervals that the headings promise.
_CONFIDENCE = 0.95


def lookup_table(table: LookupTable) -> Table:
    """Return a lookup table's blocks with their medians and intervals."""
    key = table.key
    runtime = f"{key.runtime} {key.runtime_version}"
    title = f"{table.space} on {key.device_fingerprint}: {runtime}, {key.precision}, {key.threads} thread(s)"
    if key.runtime == UNKNOWN:
        title = f"{table.space} on {table.provenance.device}: nothing is known of how it was measured"
    elif key.tuned:
        title += f", tuned ({key.tuning})"
    shown = _table(title, ("block", "left"), ("median ms", "right"), ("95% interval ms", "left"), ("±%", "right"))
    shown.add_column("converged")
    costs = _cost_columns(table)
    for heading in costs:
        shown.add_column(heading, justify="right")
    judged = any(entry.numerical_error is not None for entry in table.entries.values())
    if judged:
        shown.add_column("‖q-f‖ ÷ ‖f‖", justify="right")
    for block, entry in table.entries.items():
        interval, half_width = _interval(entry, key.runtime == UNKNOWN)
        shown.add_row(
            block,
            f"{entry.median_ms:.5f}",
            interval,
            half_width,
            "predicted" if entry.predicted_by is not None else "yes" if entry.converged else "no",
            *(cells.get(block, "") for cells in costs.values()),
            *([_norm(entry.numerical_error)] if judged else ()),
        )
    shown.caption = "\n".join(_remarks(table)) or None
    return shown


def _interval(entry: Entry, imported: bool) -> tuple[str, str]:
    """Return the cells of an entry's interval and of its half-width in %; a single round has neither."""
    low, high = entry.interval_ms
    if entry.predicted_by is not None:
        label = f" (predicted, {100 * entry.confidence:.0f}%)"
    elif entry.occurrences is not None:
        label = f" (range of {entry.occurrences} estimates)"
    elif entry.confidence == 0:
        return ("none was told" if imported else "none: one round"), ""
    else:
        label = "" if entry.confidence >= _CONFIDENCE else f" ({100 * entry.confidence:.0f}% only)"
    return f"{low:.5f} … {high:.5f}{label}", f"{50 * (high - low) / entry.median_ms:.1f}"


def _remarks(table: LookupTable) -> Iterable[str]:
    if table.noise_floor_pct is not None:
        yield f"noise floor: single readings of the steady machine differed by {table.noise_floor_pct:.2f}%"
    if table.provenance.shares is not None:
        blocks = ((share.board, len(share.blocks), share.sentinel_off_pct) for share in table.provenance.shares)
        told = ", ".join(f"{board} ({count}, sentinel {off_pct:+.1f}%)" for board, count, off_pct in blocks)
        yield f"blocks measured by {told}"
    if table.provenance.merged_from is not None:
        parts = (f"{part.file} ({len(part.blocks)})" for part in table.provenance.merged_from)
        yield f"merged from {', '.join(parts)}"
    if table.provenance.predictors is not None:
        count, predictors = len(table.predicted), ", ".join(table.provenance.predictors)
        yield f"{count} of {len(table.entries)} blocks were not measured but predicted by {predictors}"
    if table.provenance.imported_from is not None:
        origin = table.provenance.imported_from
        yield f"imported from {origin.file} ({origin.format}): {origin.statistic} figures"


def _cost_columns(table: LookupTable) -> dict[str, dict[str, str]]:
    """Return the columns of the other costs that any entry has: heading, and the cell of each block."""
    entries = table.entries.items()
    columns = {
        "peak memory MB": {
            block: f"{one.peak_memory_bytes / 1e6:.2f}" for block, one in entries if one.peak_memory_bytes is not None
        },
        "file kB": {block: f"{one.file_bytes / 1e3:.1f}" for block, one in entries if one.file_bytes is not None},
        "energy mJ": {block: f"{one.energy_mj:.3g}" for block, one in entries if one.energy_mj is not None},
    }
    return {heading: cells for heading, cells in columns.items() if cells}


def _norm(numerical_error: float | None) -> str:
    return "" if numerical_error is None else f"{numerical_error:.1e}"


def search_result(result: SearchResult, count: int = 5) -> Table:
    """Return the best distinct candidates of a search."""
    title = f"best of {len(result.candidates)} architectures within {', '.join(one.text for one in result.limits)}"
    costs = ((f"{limit.quantity} {limit.unit}", "right") for limit in result.limits)
    shown = _table(title, ("architecture", "left"), (result.score, "right"), *costs, ("parameters", "right"))
    for candidate in best_distinct(result.candidates, count):
        shown.add_row(
            candidate.architecture,
            "" if candidate.score is None else f"{candidate.score:.4f}",
            *(f"{cost.value:.4f}" for cost in candidate.costs),
            f"{candidate.parameters:,}",
        )
    counted = result.measurements
    shown.caption = (
        f"measured {' then '.join(str(count) for count in counted.measured) or 0}; not measured: {counted.shared} that "
        f"share a score, {counted.over_limits} over a limit, {counted.disconnected} disconnected"
    )
    return shown


def spent(cost: Spent) -> str:
    """Return what a search cost, in a line."""
    how = "measured" if cost.watts_per_core is None else f"estimated at {cost.watts_per_core:g} W a core"
    sessions = "" if cost.sessions == 1 else f" in {cost.sessions} sessions"
    return (
        f"spent {cost.wall_s:.1f} s{sessions}, {cost.processor_s:.1f} s of processors, {cost.energy_j:.3g} J ({how}), "
        f"{cost.co2_g:.3g} g CO₂ at {cost.grid_g_per_kwh:g} g/kWh"
    )


def verification(verified: Verification) -> Table:
    """Return the verified candidates in the search's order, the winner marked."""
    title = f"measured on {verified.device.name} ({verified.runtime}); limit {verified.max_latency_ms:.4f} ms"
    shown = _table(title, ("architecture", "left"), ("predicted ms", "right"), ("measured ms", "right"))
    for name in ("95% interval ms", "error %", "within limit", ""):
        shown.add_column(name, justify="left" if name else "center")
    for verdict in verified.candidates:
        low, high = verdict.measured_ci_ms
        confidence = verdict.measured_ci_confidence
        label = "" if confidence >= _CONFIDENCE else f" ({100 * confidence:.0f}% only)"
        shown.add_row(
            verdict.architecture,
            f"{verdict.predicted_ms:.4f}",
            f"{verdict.measured_ms:.4f}",
            # One round has none.
            "none: one round" if confidence == 0 else f"{low:.4f} … {high:.4f}{label}",
            f"{verdict.error_pct:+.1f}",
            "yes" if verdict.feasible else "no",
            ", ".join(roles(verdict, verified)),
        )
    return shown


def roles(verdict: Verdict, verified: Verification) -> Iterable[str]:
    """Yield what a candidate is among the verified ones: the first choice, the winner, both or neither."""
    if verdict == verified.first:
        yield "first choice"
    if verdict == verified.winner:
        yield "winner"


def _table(title: str, *columns: tuple[str, str]) -> Table:
    shown = Table(title=title, title_justify="left")
    for name, justify in columns:
        # A block's key or an architecture is copied from here into commands: folded it stays whole.
        shown.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return shown


def conclusion(verified: Verification) -> str:
    """Return what the search's first choice and the winner measured, in two lines."""
    lines = [f"first choice: {_sentence(verified.first, verified.max_latency_ms)}"]
    if verified.winner is not None:
        lines.append(f"winner: {_sentence(verified.winner, verified.max_latency_ms)}")
    return "\n".join(lines)


def _sentence(verdict: Verdict, limit_ms: float) -> str:
    relation = "within" if verdict.feasible else "above"
    return (
        f"{verdict.architecture} measured {verdict.measured_ms:.4f} ms, {relation} the limit of {limit_ms:.4f} ms; "
        f"|error| {abs(verdict.error_pct):.1f}%"
    )
