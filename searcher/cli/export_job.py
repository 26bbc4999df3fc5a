"""`searcher jobs export`: a job as a folder that can be carried to a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.devices.carried_runtime import described
from searcher.devices.device import DEPLOY, SOURCES, SYSTEM
from searcher.devices.survey import DeviceSystem
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.spaces.catalogue import space_named
from searcher.workflows.offline import export_job
from searcher.workflows.profile_space import plan_job

_RUNTIME_FROM = "system expects numpy and the runtime on the device; deploy puts them into the folder."


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; new, or empty.")],
    space: options.Space = "nasbench201",
    channels: options.Channels = None,
    classes: options.Classes = None,
    image_size: options.ImageSize = None,
    device: Annotated[str, typer.Option("--device", help="What the table shall call the device.")] = "offline",
    runtime: options.Runtime = "onnx",
    runtime_from: Annotated[str, typer.Option(help=_RUNTIME_FROM)] = SYSTEM,
    python_version: Annotated[str | None, typer.Option(help="Of the device, for deploy: such as 3.11.")] = None,
    machine: Annotated[str, typer.Option(help="Of the device, for deploy: aarch64 or x86_64.")] = "aarch64",
    glibc: Annotated[str, typer.Option(help="Of the device or older, for deploy; ldd --version tells it.")] = "2.31",
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
    as_json: options.Json = False,
) -> None:
    """Write blocks, agent and job to a folder; README.txt in it tells the one command to run on the device."""
    options.require_positive("--budget-s", budget_s)
    system = _system(runtime_from, python_version, machine, glibc)
    settings = options.settings(runtime, dtype, threads, affinity, optimization, tune, precision, rounds, samples)
    settings = options.placed(replace(settings, costs=costs), provider, provider_option, require)
    searched = space_named(space, classes=classes, image_size=image_size, channels=channels)
    plan = show.run(plan_job(searched, device, settings, budget_s, data))
    carried = export_job(plan, folder, History(), system)
    if as_json:
        show.document({"job_id": carried.job_id, "folder": str(folder), "models": len(carried.models)})
    else:
        show.result(f"wrote the job {carried.job_id[:8]} to {folder}: its README.txt tells what to do there")


def _system(runtime_from: str, python_version: str | None, machine: str, glibc: str) -> DeviceSystem | None:
    """Return the Python that a runtime is carried to; None where it is there already."""
    if runtime_from not in SOURCES:
        raise BadInputError(f"--runtime-from takes {' or '.join(SOURCES)}, not {runtime_from!r}")
    if runtime_from == DEPLOY and python_version is None:
        raise BadInputError("--runtime-from deploy needs --python-version: python3 --version on the device tells it")
    if runtime_from == SYSTEM and python_version is not None:
        raise BadInputError("--python-version goes with --runtime-from deploy, which carries a runtime for it along")
    return None if python_version is None else described(python_version, machine, glibc)
