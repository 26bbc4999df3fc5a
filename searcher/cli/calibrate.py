"""`searcher calibrate`: a table fitted to whole networks, with a bound on how wrong it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT
from searcher.cost_models.conformal import CONFIDENCE, networks_for
from searcher.devices.device import LOCAL
from searcher.reports import calibration
from searcher.spaces.catalogue import space_named
from searcher.tables.lookup_table import TABLE_DOCUMENT, require_same_key
from searcher.workflows.calibrate import FITTED, HELD_OUT, CalibrateRequest, calibrate


@reaches_devices
def command(
    lut: Annotated[Path, typer.Option(help="Lookup table of the device.")],
    device: options.DeviceName = LOCAL,
    out: Annotated[Path, typer.Option(help="The calibration to write.")] = Path("calibration.json"),
    cells: options.Cells = None,
    channels: options.Channels = None,
    classes: options.Classes = None,
    image_size: options.ImageSize = None,
    networks: Annotated[int, typer.Option(min=1, help="Whole networks to fit to, chosen to be informative.")] = FITTED,
    held_out: Annotated[
        int | None, typer.Option(help=f"Random networks that judge the fit; {HELD_OUT}, or more for a --confidence.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the bound that they must suffice for.")] = CONFIDENCE,
    reached: Reached = AS_USUAL,
    precision: options.Precision = CalibrateRequest.precision_pct,
    data: options.Data = "digits",
    rounds: options.Rounds = CalibrateRequest.rounds,
    samples: options.Samples = CalibrateRequest.samples,
    seed: options.Seed = 0,
    budget_s: options.Budget = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace also a calibration of another key.")] = False,
    as_json: options.Json = False,
) -> None:
    """Measure whole networks and fit the table to them; exit with 1 if sums of blocks do not hold on the device."""
    options.require_other_file(out, lut)
    options.require_positive("--budget-s", budget_s)
    table = TABLE_DOCUMENT.load(lut)
    if out.is_file() and not overwrite:
        require_same_key(CALIBRATION_DOCUMENT.load(out).table_key, table.key)
    CALIBRATION_DOCUMENT.require_writable(out)
    request = CalibrateRequest(
        space=space_named(table.space, cells, classes, image_size, channels),
        table=lut,
        device=reached.device(device),
        fitted=networks,
        held_out=max(HELD_OUT, networks_for(confidence)) if held_out is None else held_out,
        confidence=confidence,
        seed=seed,
        precision_pct=precision,
        rounds=rounds,
        samples=samples,
        budget_s=budget_s,
        data=data,
    )
    made = show.run(calibrate(request))
    # Also when it is refused: its measurements took the device's time.
    CALIBRATION_DOCUMENT.save(made, out)
    if as_json:
        show.document(CALIBRATION_DOCUMENT.dump(made))
    else:
        show.result(calibration.calibration_table(made))
        show.result(calibration.conclusion(made))
        show.result(f"wrote {out}")
    made.require_additive()
