"""What a differentiable search and its family tell a person in the terminal."""

from __future__ import annotations

import csv
import io

from rich.table import Table

from searcher.search.differentiable.family import Family, FamilyMember, MemberLatency
from searcher.search.differentiable.report import EpochReport


def outcome(last: EpochReport, seconds: float) -> str:
    """Return where a search has come to, in a few lines."""
    lines = [
        f"{last.epoch} of {last.epochs} epochs in {seconds:.0f} s; training accuracy {last.training_accuracy:.1f}%; "
        f"different architectures on the grid: {last.distinct}"
    ]
    if last.stopped is not None:
        lines.append(f"ended early: {last.stopped}")
    for name, correlation in last.monotony.items():
        told = "is the same at every price" if correlation is None else f"rank correlation {correlation:+.2f}"
        lines.append(f"price of {name} and what it prices: {told}")
    return "\n".join(lines)


def family_table(family: Family) -> Table:
    """Return the members in their order, those on the Pareto front and the picked one marked."""
    title = f"{family.space} after {family.epoch} epochs, {len(family.members)} architectures"
    shown = Table(title=title, title_justify="left")
    shown.add_column("architecture", overflow="fold")
    for heading in ("accuracy %", "loss"):
        shown.add_column(heading, justify="right")
    for device in family.devices:
        limit = "" if device.limit_ms is None else f", limit {device.limit_ms:g}"
        shown.add_column(f"{device.name} ms{limit}", justify="right")
    for heading in ("parameters", "MACs"):
        shown.add_column(heading, justify="right")
    shown.add_column("points", justify="right")
    shown.add_column("", overflow="fold")
    for member in family.members:
        shown.add_row(
            member.architecture,
            f"{member.validation_accuracy:.2f}",
            f"{member.validation_loss:.3f}",
            *(_latency(one) for one in member.latencies),
            f"{member.parameters:,}",
            f"{member.macs:,}",
            str(len(member.points)),
            ", ".join(_marks(member, family)),
        )
    bounds = "; ≤: bounds at their confidence" if any(one.confidence is not None for one in family.devices) else ""
    shown.caption = f"accuracy and loss by the supernet's weights on the validation half; ranked by the loss{bounds}"
    return shown


def family_conclusion(family: Family) -> str:
    """Return which member is picked, or why none is."""
    if family.picked is None:
        return f"no member is picked: {family.reason}"
    return f"picked: {family.picked}"


def family_csv(family: Family) -> str:
    """Return the members as CSV, one row each, in their order."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    numbers = ("expected_ms", "predicted_ms", "bound_ms")
    latencies = [f"{device.name}_{number}" for device in family.devices for number in numbers]
    scores, sizes = ("validation_accuracy", "validation_loss"), ("parameters", "macs", "points")
    rows.writerow(["architecture", *scores, *latencies, *sizes, "within_limits", "pareto", "picked"])
    for one in family.members:
        told = [getattr(latency, number) for latency in one.latencies for number in numbers]
        flags = [int(one.within_limits), int(one.pareto), int(one.architecture == family.picked)]
        score, size = (one.validation_accuracy, one.validation_loss), (one.parameters, one.macs, len(one.points))
        rows.writerow([one.architecture, *score, *told, *size, *flags])
    return written.getvalue()


def _latency(latency: MemberLatency) -> str:
    bound = "" if latency.bound_ms is None else f" (≤ {latency.bound_ms:.4f})"
    above = " above" if latency.within_limit is False else ""
    return f"{latency.predicted_ms:.4f}{bound}{above}"


def _marks(member: FamilyMember, family: Family) -> list[str]:
    marks = ["picked"] if member.architecture == family.picked else []
    return [*marks, "Pareto"] if member.pareto else marks
