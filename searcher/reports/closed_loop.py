"""What a closed loop found, for a terminal."""

from __future__ import annotations

from rich.table import Table

from searcher.reports.terminal import roles
from searcher.verification.verification import Round, Verification


def rounds_table(verified: Verification) -> Table:
    """Return every network that was measured, round by round, with what was predicted of it just before."""
    title = f"measured on {verified.device.name} ({verified.runtime}); limit {verified.max_latency_ms:.4f} ms"
    shown = Table(title=title, title_justify="left")
    shown.add_column("round", justify="right")
    # Copied from here into commands: folded it stays whole.
    shown.add_column("architecture", overflow="fold")
    for heading in ("predicted ms", "measured ms", "error %", "within limit", ""):
        shown.add_column(heading, justify="right" if heading.endswith(("ms", "%")) else "left")
    for number, one in enumerate(verified.rounds, start=1):
        for verdict in one.candidates:
            shown.add_row(
                str(number),
                verdict.architecture,
                f"{verdict.predicted_ms:.4f}",
                f"{verdict.measured_ms:.4f}",
                f"{verdict.error_pct:+.1f}",
                "yes" if verdict.feasible else "no",
                ", ".join(roles(verdict, verified)),
            )
    return shown


def corrections(verified: Verification) -> str:
    """Return what each round showed of the model, and what was left open, a line each."""
    lines = [_correction(number, one) for number, one in enumerate(verified.rounds, start=1)]
    if verified.winner is not None and verified.winner.measured_ci_ms[1] > verified.max_latency_ms:
        lines.append("the interval of the winner's median reaches above the limit: a smaller --precision would tell")
    if verified.winner is not None and verified.untested:
        lines.append(
            f"{verified.untested} candidates that were not measured are believed to be better and within the limits: "
            "more rounds, or more time, would tell"
        )
    if verified.rounds and verified.rounds[-1].unscored:
        lines.append(
            f"{verified.rounds[-1].unscored} candidates that the search took to be above its limits, and never scored, "
            "are now believed to be within: a search with a calibration would look at them"
        )
    return "\n".join(lines)


def _correction(number: int, one: Round) -> str:
    changed = max(one.correction.kinds.items(), key=lambda kind: abs(kind[1] - 1), default=None)
    kind = "" if changed is None else f" ({changed[0]} {100 * (changed[1] - 1):+.1f}% beside that)"
    bound = (
        "" if one.bound_over_prediction == 1 else f", bounds {100 * (one.bound_over_prediction - 1):.1f}% above them"
    )
    return (
        f"after round {number}: predictions {100 * (one.correction.common - 1):+.1f}%{kind}{bound}; "
        f"{one.within} candidates within the limits"
    )
