"""What a person reads in the terminal: measurements and the machine, as plain aligned text."""

from __future__ import annotations

from typing import Dict, Iterable, List, Sequence, Tuple

from profiler_agent.compare import Comparison
from profiler_agent.doctor import Finding
from profiler_agent.records import Costs, Environment, Measurement


def measurement_table(
    measurements: Iterable[Measurement], target_half_width_pct: float, costs: Iterable[Costs] = ()
) -> str:
    """Return one line per block: median, interval, rounds, samples, whether it converged, and known other costs."""
    known = {one.block_id: one for one in costs}
    columns = _cost_columns(known)
    names = ("block", "median ms", "95% interval ms", "rounds", "samples", "converged")
    rows: List[Sequence[str]] = [(*names, *columns)]
    for measurement in measurements:
        low, high, confidence = measurement.interval_ms
        label = "" if confidence >= 0.95 else f" ({100 * confidence:.0f}% only)"
        rows.append(
            (
                measurement.block_id,
                f"{measurement.median_ms:.4f}",
                f"{low:.4f} … {high:.4f}{label}",
                str(len(measurement.rounds)),
                str(measurement.sample_count),
                _verdict(measurement, target_half_width_pct),
                *(cells.get(measurement.block_id, "") for cells in columns.values()),
            )
        )
    return aligned(rows)


def _cost_columns(costs: Dict[str, Costs]) -> Dict[str, Dict[str, str]]:
    """Return the columns of costs that any block has: heading, and the cell of each block."""
    columns = {
        "peak memory MB": {
            name: f"{one.peak_memory_bytes / 1e6:.2f}"
            for name, one in costs.items()
            if one.peak_memory_bytes is not None
        },
        "file kB": {name: f"{one.file_bytes / 1e3:.1f}" for name, one in costs.items()},
        "energy mJ": {
            name: f"{one.energy_mj:.3g} ± {one.energy_half_width_mj or 0:.1g}"
            for name, one in costs.items()
            if one.energy_mj is not None
        },
    }
    return {heading: cells for heading, cells in columns.items() if cells}


def _verdict(measurement: Measurement, target_half_width_pct: float) -> str:
    if measurement.unstable:
        return "no: every batch was rejected"
    return "yes" if measurement.converged(target_half_width_pct) else "no"


def comparison_table(blocks: Iterable[Comparison], whole: Comparison) -> str:
    """Return one line per block, and one for the whole."""
    rows: List[Sequence[str]] = [("block", "B ÷ A", "95% interval", "p", "B is")]
    for one in (*blocks, whole):
        p_value = "" if one.p_value is None else f"{one.p_value:.3f}"
        interval = f"{one.low:.4f} … {one.high:.4f}"
        rows.append((one.block_id or "all together", f"{one.ratio:.4f}", interval, p_value, one.verdict))
    return aligned(rows)


def machine_table(environment: Environment, fingerprint: str, runtimes: Iterable[Tuple[str, str]]) -> str:
    """Return what the machine is and which runtimes work here, one fact a line."""
    machine, state = environment.machine, environment.state
    facts = [
        ("fingerprint", fingerprint),
        ("processor", f"{machine.cpu_model}, {machine.cpu_count} processors, {machine.architecture}"),
        ("board", machine.board),
        ("clusters", "; ".join(machine.clusters) or None),
        ("memory", _gib(environment.memory_bytes)),
        ("system", f"{environment.system} {environment.kernel}, {environment.libc}"),
        ("python", f"{environment.python}, numpy {environment.numpy}"),
        ("virtual machine", {True: "yes", False: "no"}.get(environment.virtual_machine)),  # type: ignore[arg-type]
        ("governors", ", ".join(state.governors) or None),
        ("frequencies", ", ".join(f"{mhz:.0f} MHz" for mhz in state.frequencies_mhz) or None),
        ("at most", ", ".join(f"{mhz:.0f} MHz" for mhz in state.max_frequencies_mhz) or None),
        ("temperature", None if state.temperature_c is None else f"{state.temperature_c:.1f} °C"),
        ("load (1 min)", None if state.load_1m is None else f"{state.load_1m:.2f}"),
        *runtimes,
    ]
    return aligned([(name, "not told by this machine" if value is None else value) for name, value in facts])


def diagnosis(findings: Iterable[Finding]) -> str:
    """Return one line per finding, and under it the command that mends it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<8}  {finding.check:<15}  {finding.sentence}")
        if finding.remedy:
            lines.append(f"{'':<8}  {'':<15}  → {finding.remedy}")
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _gib(size: object) -> str:
    return f"{size / 2**30:.1f} GiB" if isinstance(size, int) else "not told by this machine"
