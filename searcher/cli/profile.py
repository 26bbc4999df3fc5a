"""`searcher profile`: a space's blocks measured on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.devices.device import LOCAL, Device
from searcher.spaces.catalogue import space_named
from searcher.workflows.profile_space import ProfileRequest, profile_space


def command(
    space: options.Space = "nasbench201",
    device: options.DeviceName = LOCAL,
    out: Annotated[Path, typer.Option(help="The table to write; the raw samples go beside it.")] = Path("table.json"),
    python: options.Python = None,
    runtime_from: options.RuntimeFrom = None,
    identity: options.Identity = None,
    known_hosts: options.KnownHosts = None,
    runtime: options.Runtime = "onnx",
    dtype: options.Dtype = "fp32",
    data: options.Data = "digits",
    threads: options.Threads = 1,
    affinity: options.Affinity = None,
    optimization: options.Optimization = "extended",
    provider: options.Provider = None,
    provider_option: options.ProviderOption = None,
    require: options.Require = None,
    costs: options.Costs = True,
    tune: options.Tune = False,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    budget_s: options.Budget = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished job for this table.")] = False,
    as_json: options.Json = False,
) -> None:
    """Bring agent and blocks to the device, measure there, and write the table."""
    options.require_positive("--budget-s", budget_s)
    settings = options.settings(runtime, dtype, threads, affinity, optimization, tune, precision, rounds, samples)
    settings = options.placed(replace(settings, costs=costs), provider, provider_option, require)
    request = ProfileRequest(
        space=space_named(space),
        device=Device(device, python, identity, known_hosts, runtime_from),
        settings=settings,
        table=out,
        budget_s=budget_s,
        overwrite=overwrite,
        data=data,
        resume=resume,
    )
    show.written_table(show.run(profile_space(request)), out, as_json)
