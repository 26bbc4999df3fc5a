"""What a calibration found, for a terminal."""

from __future__ import annotations

from rich.table import Table

from searcher.cost_models.calibration import Calibration
from searcher.cost_models.conformal import CONFIDENCE, upper_ratio


def calibration_table(made: Calibration) -> Table:
    """Return the factor of each group of blocks."""
    shown = Table(title=f"{made.space} on {made.device} ({made.table_key.runtime})", title_justify="left")
    shown.add_column("blocks")
    shown.add_column("cost in networks ÷ alone", justify="right")
    for group, scale in made.scales.items():
        shown.add_row(group, f"{scale:.3f}")
    return shown


def conclusion(made: Calibration) -> str:
    """Return how well held-out networks are predicted, the bound, and what was read of ReLUs, a line each."""
    judged, relus = made.held_out, made.relus
    tau = "undefined" if judged.tau is None else f"{judged.tau:.3f}"
    shares = f"within 5%: {100 * judged.within_5:.0f}%, within 10%: {100 * judged.within_10:.0f}%"
    lines = [
        f"{len(judged.networks)} held-out networks: mean error {judged.mape:.1f}% "
        f"(plain sums: {judged.raw_mape:.1f}%), {shares}, rank correlation {tau}",
    ]
    if relus is not None:
        into = ", ".join(relus.into) or "nothing"
        used = "" if relus.holds else "; so the table's ReLUs are left as they are"
        lines.append(
            f"ReLUs of one value are {'one' if relus.merges else 'several'}, and part of {into} before them: explains "
            f"{relus.explained} of {relus.networks} graphs{used}"
        )
        if min(relus.adds, relus.pools) < relus.networks:
            lines.append(
                f"graphs with the sums and average pools that their cells say: {relus.adds} and {relus.pools} of "
                f"{relus.networks}; what is fused away is charged"
            )
    if made.slopes:
        lines.append(f"{len(made.slopes)} kinds of blocks convert layouts alone: priced by what they add to a row")
    unsettled = sum(one.converged is False for one in (*made.fitted.values(), *judged.networks.values()))
    if unsettled:
        lines.append(f"{unsettled} networks were measured less precisely than asked: a greater --budget-s would help")
    if made.edge_gap is not None:
        lines.append(
            f"priced edge by edge, as a gradient needs, networks cost {made.edge_gap.median_pct:+.1f}% in the median "
            f"and {made.edge_gap.worst_pct:+.1f}% at most beside these sums"
        )
    if made.refused is None:
        above_pct = 100 * (upper_ratio(judged.ratios, CONFIDENCE) - 1)
        lines.append(f"measured latencies stay below the prediction and {above_pct:.1f}% with a confidence of 95%")
    return "\n".join(lines)
