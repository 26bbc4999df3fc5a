"""What a person reads in the terminal: measurements and the machine, as plain aligned text."""

from __future__ import annotations

from typing import Dict, Iterable, List, Sequence, Tuple

from profiler_agent.compare import Comparison
from profiler_agent.doctor import Finding
from profiler_agent.records import Costs, Environment, Measurement, OperatorCost, OperatorReport, TensorType

_LONGEST_NAME = 40


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
                f"{measurement.median_ms:.5f}",
                f"{low:.5f} … {high:.5f}{label}",
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


def operator_table(report: OperatorReport) -> str:
    """Return one line per operator, the costliest first, the runtime's call among them, and the sums."""
    head = ("share", "ms", "#", "operator", "shapes", "attributes", "node")
    rows = [(report.call_ms, ("", "(call)", "", "what calling the runtime costs", ""))]
    if report.unattributed_ms > 0:
        rows.append((report.unattributed_ms, ("", "(unattributed)", "", "operators without an estimate", "")))
    rows += [(one.estimate_ms or 0.0, _words(number, one)) for number, one in enumerate(report.operators)]
    lines: List[Sequence[str]] = [head]
    for cost_ms, words in sorted(rows, key=lambda row: -row[0]):
        known = not words[0] or report.operators[int(words[0])].estimate_ms is not None
        cost = (f"{100 * cost_ms / report.wall_ms:.1f}%", f"{cost_ms:.5f}") if known else ("?", "?")
        lines.append((*cost, *words))
    return "\n".join((aligned(lines), *_sums(report)))


def _words(number: int, operator: OperatorCost) -> Tuple[str, str, str, str, str]:
    shapes = " + ".join(_shape(each) for each in operator.inputs if not each.constant)
    shapes = f"{shapes} -> {' + '.join(_shape(each) for each in operator.outputs)}"
    words = [f"{name}={value}" for name, value in operator.attributes.items()]
    words += [] if operator.fused_into is None else [f"(fused into #{operator.fused_into})"]
    words += [] if operator.problem is None else [f"({operator.problem})"]
    # Converters name a tensor after all the modules around it: the innermost stand last.
    name = operator.name
    short = name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME:]
    return str(number), operator.operation, shapes, " ".join(words), short


def _shape(tensor: TensorType) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {tensor.dtype}"


def _sums(report: OperatorReport) -> List[str]:
    low, high = report.wall_interval_ms
    label = "" if report.wall_confidence >= 0.95 else f" ({100 * report.wall_confidence:.0f}% only)"
    lines = [
        f"{len(report.operators)} operators {report.operators_ms:.4f} ms + call {report.call_ms:.4f} ms"
        + (f" + unattributed {report.unattributed_ms:.4f} ms" if report.unattributed_ms > 0 else "")
        + f" = {report.total_ms:.4f} ms",
        f"measured without profiler: {report.wall_ms:.4f} ms, 95% interval {low:.4f} … {high:.4f} ms{label}",
    ]
    if report.additivity is not None:
        lines.append(f"before scaling, the parts sum to {100 * report.additivity:.1f}% of that")
    if report.profiler_inflation is not None:
        lines.append(f"with the profiler on, the model takes {report.profiler_inflation:.2f} times as long")
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _gib(size: object) -> str:
    return f"{size / 2**30:.1f} GiB" if isinstance(size, int) else "not told by this machine"
