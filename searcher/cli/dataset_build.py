"""`searcher dataset build`: kernels drawn and measured on a device, more of them where predictions fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.device import LOCAL
from searcher.errors import BadInputError
from searcher.reports.datasets import dataset_table, fresh_error_table
from searcher.spaces.block import DTYPES
from searcher.spaces.catalogue import space_named
from searcher.spaces.kernel_domain import DEFAULT_TYPES, DOMAINS, Limits
from searcher.tables.dataset_card import CARD_DOCUMENT, card_path
from searcher.tables.dataset_file import read_dataset
from searcher.workflows.build_dataset import DEFAULT_POINTS, DatasetRequest, build_dataset

# A kernel more tells a model more than a round more of one that is known to some percent.
_ROUNDS, _SAMPLES, _PRECISION_PCT = 8, 7, 3.0
_MOST_FACTOR = 1000.0
_USUAL = ", ".join(DEFAULT_TYPES)


@reaches_devices
def command(
    out: Annotated[Path, typer.Option(help="FILE.csv or FILE.parquet; one that is there is gone on with.")],
    types: Annotated[str, typer.Option(help=f"Of {', '.join(DOMAINS)}; unless given {_USUAL}.")] = "",
    points: Annotated[int, typer.Option(help="Kernels of each type.")] = DEFAULT_POINTS,
    target_pct: Annotated[
        float | None, typer.Option(help="A type is done when fresh random kernels are predicted so well, on average.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="Draw a part at and near the kernels of this search space.")] = None,
    channels: options.Channels = None,
    classes: options.Classes = None,
    image_size: options.ImageSize = None,
    largest: Annotated[
        float, typer.Option(help="Factor on the limits that keep a kernel below some ms on a common processor.")
    ] = 1.0,
    device: options.DeviceName = LOCAL,
    reached: Reached = AS_USUAL,
    cluster: options.ClusterName = None,
    max_temperature_c: options.MaxTemperature = None,
    runtime: options.DeviceRuntime = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help=f"Numbers to compute with, of {', '.join(DTYPES)}; may be repeated.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Threads of one operator; may be repeated. The profile's, else 1.")
    ] = None,
    affinity: options.Affinity = None,
    optimization: options.Optimization = "extended",
    provider: options.Provider = None,
    provider_option: options.ProviderOption = None,
    require: options.Require = None,
    tune: options.Tune = False,
    precision: options.Precision = _PRECISION_PCT,
    rounds: options.Rounds = _ROUNDS,
    samples: options.Samples = _SAMPLES,
    budget_s: Annotated[
        float | None, typer.Option(help="Begin no job later, and after the first no round that would end later.")
    ] = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Measure random kernels in rounds, more of the types and in the regions where predictions fail."""
    options.require_positive("--budget-s", budget_s)
    options.require_positive("--max-temperature-c", max_temperature_c)
    options.require_positive("--target-pct", target_pct)
    if not 0 < largest <= _MOST_FACTOR:
        raise BadInputError(f"--largest takes a positive factor up to {_MOST_FACTOR:g}, not {largest:g}")
    if space is None and (channels, classes, image_size) != (None, None, None):
        raise BadInputError("--channels, --classes and --image-size belong to the networks of a --space")
    named = reached.device(device, options.cluster(cluster))
    known = named.profile.measure
    settings = [
        options.settings(
            runtime or known.runtime, one_dtype, count, affinity, optimization, tune, precision, rounds, samples
        )
        for one_dtype in dict.fromkeys(dtype or ["fp32"])
        for count in dict.fromkeys(threads or [known.threads])
    ]
    limit_c = max_temperature_c or known.max_temperature_c
    request = DatasetRequest(
        out=out,
        device=named,
        settings=[
            options.placed(replace(one, max_temperature_c=limit_c), provider, provider_option, require)
            for one in settings
        ],
        types=tuple(name.strip() for name in types.split(",")) if types else DEFAULT_TYPES,
        points=points,
        seed=seed,
        limits=Limits().scaled(largest),
        target_pct=target_pct,
        space=None if space is None else space_named(space, classes=classes, image_size=image_size, channels=channels),
        budget_s=budget_s,
    )
    card = show.run(build_dataset(request))
    if as_json:
        show.document(CARD_DOCUMENT.dump(card))
        return
    show.result(dataset_table(read_dataset(out), f"{card.rows} kernels in {out.name}"))
    errors = fresh_error_table(card)
    if errors is not None:
        show.result(errors)
    show.result(f"wrote {out} and {card_path(out).name}")
