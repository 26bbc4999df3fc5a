"""`searcher predictor measure`: latencies of whole networks on a device, for transfers and models of networks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.device import LOCAL
from searcher.devices.transport import printable
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.catalogue import space_named
from searcher.spaces.drawn_networks import drawn_networks
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NETWORKS_DOCUMENT
from searcher.workflows.measure_latencies import LatenciesRequest, measure_latencies


@reaches_devices
def command(
    out: Annotated[Path, typer.Option("--out", "--output", help="The file to write or to go on with.")],
    networks: Annotated[
        Path | None,
        typer.Option(help="File of an architecture a line, as `searcher predictor propose` prints; - reads them."),
    ] = None,
    random: Annotated[
        int | None, typer.Option(min=1, help="Measure so many networks drawn at random, instead of --networks.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the device in the file; --device unless given.")] = None,
    space: options.Space = "nasbench201",
    cells: options.Cells = None,
    device: options.DeviceName = LOCAL,
    reached: Reached = AS_USUAL,
    cluster: options.ClusterName = None,
    max_temperature_c: options.MaxTemperature = None,
    runtime: options.DeviceRuntime = None,
    dtype: options.Dtype = "fp32",
    data: options.Data = "digits",
    threads: options.DeviceThreads = None,
    affinity: options.Affinity = None,
    optimization: options.Optimization = "extended",
    provider: options.Provider = None,
    provider_option: options.ProviderOption = None,
    require: options.Require = None,
    tune: options.Tune = False,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    budget_s: Annotated[
        float | None, typer.Option(help="Begin no job later, and after the first no round that would end later.")
    ] = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Measure whole networks of a space; the file is written after every ten, and goes on where it was broken off."""
    options.require_positive("--budget-s", budget_s)
    options.require_positive("--max-temperature-c", max_temperature_c)
    searched = space_named(space, cells)
    if (networks is None) == (random is None):
        raise BadInputError("say what to measure: give --networks FILE or --random NUMBER")
    if networks is not None:
        options.require_other_file(out, networks)
        chosen = _read(networks, searched)
    else:
        chosen = drawn_networks(searched, random or 0, np.random.default_rng(seed))
    named = reached.device(device, options.cluster(cluster))
    known = named.profile.measure
    settings = options.settings(
        *(runtime or known.runtime, dtype, threads or known.threads, affinity, optimization, tune),
        *(precision, rounds, samples),
    )
    placed = options.placed(settings, provider, provider_option, require)
    request = LatenciesRequest(
        out=out,
        space=searched,
        architectures=chosen,
        device=named,
        name=name or device,
        settings=replace(placed, max_temperature_c=max_temperature_c or known.max_temperature_c),
        budget_s=budget_s,
        data=data,
    )
    found = show.run(measure_latencies(request))
    if as_json:
        show.document(NETWORKS_DOCUMENT.dump(found))
        return
    missing = sum(searched.format(one) not in found.networks for one in chosen)
    left = f"; {missing} are left" if missing else ""
    if found.networks:
        show.result(f"wrote {out}: latencies of {len(found.networks)} networks on {printable(found.device)}{left}")
    else:
        show.result(f"wrote nothing: the budget was over before a network was measured{left}")


def _read(path: Path, space: SearchSpace) -> Sequence[Architecture]:
    """Return the architectures that a file names, each once.

    Raises:
        BadInputError: the file cannot be read, names none, or a line is no architecture of the space.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(
            f"cannot read the networks {path}: {getattr(e, 'strerror', None) or 'it is no text'}"
        ) from e
    lines = _of_document(text, path) if text.lstrip().startswith("{") else text.splitlines()
    chosen = {space.parse(line.strip()): None for line in lines if line.strip()}
    if not chosen:
        raise BadInputError(f"{path} names no network: it takes an architecture a line")
    return list(chosen)


def _of_document(text: str, path: Path) -> list[str]:
    """Return the texts in what `searcher predictor propose --json` prints."""
    try:
        found = json.loads(text)["networks"]
    except (ValueError, KeyError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadInputError(f"{path} names no networks: a JSON document has them as a list of texts under networks")
    return found
