"""What a dataset of kernels tells a person: its rows by type, how wrong predictions were, and what is to be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from searcher.devices.transport import printable
from searcher.tables.dataset import ORIGINS, KernelRow
from searcher.tables.dataset_card import AddedReport, DatasetCard
from searcher.tables.dataset_groups import groups_of


def dataset_table(rows: Sequence[KernelRow], title: str) -> Table:
    """Return the rows by type: how many of each origin, in how many groups, and what they take."""
    shown = Table(title=printable(title))
    shown.add_column("type", overflow="fold")
    for heading in (*ORIGINS, "groups", "ms from", "ms to"):
        shown.add_column(heading, justify="right")
    for name in sorted({row.kernel_type for row in rows}):
        of_type = [row for row in rows if row.kernel_type == name]
        latencies_ms = [row.latency_ms for row in of_type]
        counts = (str(sum(row.origin == origin for row in of_type)) for origin in ORIGINS)
        groups = int(groups_of([row.spec for row in of_type]).max()) + 1
        shown.add_row(name, *counts, str(groups), f"{min(latencies_ms):.5f}", f"{max(latencies_ms):.5f}")
    return shown


def fresh_error_table(card: DatasetCard) -> Table | None:
    """Return how wrong predictions of fresh random kernels were, round by round; None where none were told."""
    if not card.fresh_errors:
        return None
    shown = Table(title="errors on fresh random kernels, told before they were measured")
    shown.add_column("type", overflow="fold")
    for heading in ("precision", "threads", "round", "kernels", "mean error %", "bias %", "within 10%"):
        shown.add_column(heading, justify="right")
    for one in card.fresh_errors:
        shown.add_row(
            one.kernel_type,
            one.precision,
            str(one.threads),
            str(one.drawing_round + 1),
            str(one.points),
            f"{one.mean_pct:.1f}",
            f"{one.bias_pct:+.1f}",
            f"{100 * one.within_10:.0f}%",
        )
    return shown


def card_remarks(card: DatasetCard) -> Iterator[str]:
    """Yield what else the card tells, a sentence each."""
    for one in card.conditions:
        key = one.key
        told = [] if one.device is None else [one.device]
        if one.environment is not None:
            machine = one.environment.machine
            told.append(machine.board or machine.cpu_model or machine.architecture)
        place = f" ({', '.join(told)})" if told else ""
        yield printable(
            f"{one.rows} rows of {key.device_fingerprint}{place}: {key.runtime} {key.runtime_version}, "
            f"{key.optimization}, {key.provider}, {key.precision}, {key.threads} thread(s), affinity {key.affinity}"
        )
        if one.failures:
            yield f"{len(one.failures)} kernels could not be measured there"
    for draw in card.draws:
        near = "" if draw.space is None else f", near kernels of {draw.space} too"
        yield printable(f"drawn {draw.created}, seed {draw.seed}, {draw.points} of each type wanted{near}")
    for report in card.added_reports:
        yield added_report(report)
    if card.part_of is not None:
        yield printable(f"a part of {card.part_of}")
    yield f"licence: {printable(card.licence) if card.licence else 'none is written on its card'}"
    for limit in card.known_limits:
        yield f"limit: {printable(limit)}"


def added_report(report: AddedReport) -> str:
    """Return in one sentence what became of a model's operators."""
    told = f"{report.rows} operators of {report.model} joined as estimates"
    if report.left_out:
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(report.left_out.items()))
        told += f", {sum(report.left_out.values())} did not ({reasons})"
    return printable(told).replace("\n", " ")
