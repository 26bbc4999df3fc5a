"""`searcher verify`: the best candidates of a search, measured whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.device import LOCAL
from searcher.reports import terminal
from searcher.search.candidate import SEARCH_DOCUMENT
from searcher.spaces.catalogue import space_named
from searcher.verification.verification import VERIFICATION_DOCUMENT
from searcher.workflows.measure_networks import settings_of_key
from searcher.workflows.verify_search import VerifyRequest, verify_search


@reaches_devices
def command(
    search: Annotated[Path, typer.Argument(help="A result that `searcher search` wrote.")],
    device: options.DeviceName = LOCAL,
    out: Annotated[Path, typer.Option(help="The verification to write.")] = Path("verification.json"),
    top: Annotated[int, typer.Option(min=1, help="How many of the best to measure.")] = 3,
    reached: Reached = AS_USUAL,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    data: options.Data = "digits",
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    as_json: options.Json = False,
) -> None:
    """Measure under the very conditions of the search's table; exit with 1 if no candidate keeps the limit."""
    options.require_other_file(out, search)
    found = SEARCH_DOCUMENT.load(search)
    VERIFICATION_DOCUMENT.require_writable(out)
    request = VerifyRequest(
        space=space_named(found.space, found.export_cells),
        search=found,
        device=reached.device(device),
        settings=settings_of_key(found.require_table_key(), found.sentinel_ms, precision, rounds, samples),
        top=top,
        data=data,
    )
    verified = show.run(verify_search(request))
    VERIFICATION_DOCUMENT.save(verified, out)
    if as_json:
        show.document(VERIFICATION_DOCUMENT.dump(verified))
    else:
        show.result(terminal.verification(verified))
        show.result(f"wrote {out}")
    verified.require_winner()
