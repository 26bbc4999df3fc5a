"""`searcher search --verify-top`: the options of the measuring, and what is printed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, reached, show
from searcher.cost_models.calibration import Calibration
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.reports import closed_loop, terminal
from searcher.search.candidate import SEARCH_DOCUMENT, SearchResult
from searcher.tables.lookup_table import LookupTable
from searcher.verification.verification import VERIFICATION_DOCUMENT, Verification
from searcher.workflows.closed_loop import LoopSettings
from searcher.workflows.measure_networks import settings_of_key

VerifyTop = Annotated[
    int | None,
    typer.Option(
        min=1, help="Measure so many of the best on the device, correct the cost model, and rank anew until one holds."
    ),
]
VerifyDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Of --verify-top: the device of --lut or --calibration; local, a profile, or ssh://user@host:port.",
    ),
]
VerifyOut = Annotated[
    Path | None,
    typer.Option("--verification", help="Of --verify-top: the file to write; verification.json beside --out."),
]
VerifyRounds = Annotated[int, typer.Option(min=1, help="Of --verify-top: the most times to measure and to rank anew.")]
VerifyBudget = Annotated[
    float | None, typer.Option(help="Of --verify-top: start no such round, after the first, later than this.")
]

_OF_MEASURING = frozenset(
    (*reached.NAMES, "device", "verification", "verify_rounds", "verify_budget_s", "precision", "rounds", "samples")
)


def loop_settings(
    prices: LookupTable | Calibration,
    device: Device,
    out: Path,
    top: int,
    most_rounds: int,
    budget_s: float | None,
    measured: tuple[float, int, int],
) -> LoopSettings:
    """Return where and how much to measure after a search.

    Args:
        prices: of the search's first limit on latency: networks are measured under their conditions.
        device: theirs.
        out: the verification to write.
        top: how many to measure in a round.
        most_rounds: how many rounds.
        budget_s: seconds for them.
        measured: precision in percent, rounds of processes, and samples, as `settings_of_key` takes them.

    Raises:
        BadInputError: the prices' conditions are none that can be measured under, or the file cannot be written.
    """
    options.require_positive("--verify-budget-s", budget_s)
    key = prices.table_key if isinstance(prices, Calibration) else prices.key
    VERIFICATION_DOCUMENT.require_writable(out)
    return LoopSettings(
        key=key,
        device=device,
        settings=settings_of_key(key, prices.sentinel_ms, *measured),
        out=out,
        top=top,
        most_rounds=most_rounds,
        budget_s=budget_s,
    )


def require_no_measuring(context: typer.Context) -> None:
    """Refuse options of a measuring that was not asked for.

    Raises:
        BadInputError: there is one.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in _OF_MEASURING and source is not None and source.name == "COMMANDLINE":
            raise BadInputError(f"{parameter.opts[0]} says how --verify-top measures: give both or neither")


def shown(search: SearchResult, verified: Verification, out: Path, as_json: bool) -> None:
    """Print what the loop found."""
    if as_json:
        documents = {"search": SEARCH_DOCUMENT.dump(search), "verification": VERIFICATION_DOCUMENT.dump(verified)}
        show.document(documents)
        return
    show.result(closed_loop.rounds_table(verified))
    show.result(closed_loop.corrections(verified))
    show.result(terminal.conclusion(verified))
    show.result(f"wrote {out}")
