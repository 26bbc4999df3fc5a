"""`searcher predictor`: models of latency, trained, judged and asked; a new device from few networks and known ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from searcher.artifacts import utc_now
from searcher.cli import show
from searcher.cli.options import Json, Seed, require_other_file
from searcher.cost_models.transfer import DEFAULT_NETWORKS
from searcher.devices.transport import printable
from searcher.errors import BadInputError
from searcher.tables.network_latencies import NETWORKS_DOCUMENT
from searcher.workflows.transfer_device import DEFAULT_POOL, predicted, proposed, read_experience

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_Known = Annotated[
    list[Path], typer.Option("--known", help="Latencies of networks on a known device; repeated, three times at least.")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


@group.callback()
def predictors() -> None:
    """Train, judge and ask models of latency; predict a new device from a few networks and from known devices."""


@group.command("propose")
def propose(
    known: _Known,
    networks: Annotated[int, typer.Option(help="How many to propose.")] = DEFAULT_NETWORKS,
    pool: Annotated[int, typer.Option(help="Networks, drawn at random, to choose them from.")] = DEFAULT_POOL,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Print the networks whose latencies on a new device would tell the most."""
    chosen = proposed(read_experience(known), np.random.default_rng(seed), networks, pool)
    if as_json:
        show.document({"networks": chosen})
    else:
        for text in chosen:
            show.result(text)


@group.command("transfer")
def transfer(
    known: _Known,
    measured: Annotated[Path, typer.Option(help="Latencies of a few networks on the new device.")],
    out: Annotated[Path, typer.Option("--out", "--output", help="The file of network latencies to write.")],
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.9,
    overwrite: _Overwrite = False,
    as_json: Json = False,
) -> None:
    """Predict what all networks that the known devices share take on the new one, with intervals."""
    for file in (*known, measured):
        require_other_file(out, file)
    if out.exists() and not overwrite:
        raise BadInputError(f"{out} is there already; --overwrite replaces it")
    NETWORKS_DOCUMENT.require_writable(out)
    few = NETWORKS_DOCUMENT.load(measured)
    created = utc_now()
    told, contradicted = predicted(read_experience(known), few, confidence, created)
    NETWORKS_DOCUMENT.save(told, out)
    if as_json:
        show.document({**NETWORKS_DOCUMENT.dump(told), "not_believed": list(contradicted)})
        return
    for text in contradicted:
        show.result(f"the measurement of {text} contradicts the others and was not believed")
    show.result(f"wrote {out}: latencies of {len(told.networks)} networks on {printable(told.device)}, {told.source}")
