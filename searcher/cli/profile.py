"""`searcher profile`: a space's blocks measured on a device, or on a shelf of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.device import LOCAL, Device
from searcher.devices.fleet import Board, named_boards, read_fleet
from searcher.errors import BadInputError
from searcher.reports.shelf import ShelfReport
from searcher.spaces.catalogue import space_named
from searcher.workflows.profile_shards import profile_shards
from searcher.workflows.profile_shelf import profile_shelf
from searcher.workflows.profile_space import ProfileRequest, profile_space
from searcher.workflows.progress import Work

_TABLE, _TABLES = Path("table.json"), Path("tables")
_OUT = (
    "The table to write, its raw samples beside it; of several devices the folder for their tables. "
    f"Unless given: {_TABLE}, of several devices the folder {_TABLES}."
)
_RESUME = "Go on with the unfinished job for this table; of a finished one only make the table again."


@reaches_devices
def command(
    space: options.Space = "nasbench201",
    channels: options.Channels = None,
    classes: options.Classes = None,
    image_size: options.ImageSize = None,
    device: options.DeviceNames = None,
    fleet: options.Fleet = None,
    shard: options.Shard = False,
    out: Annotated[Path | None, typer.Option(help=_OUT)] = None,
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
    costs: options.Costs = True,
    tune: options.Tune = False,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    budget_s: options.Budget = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME)] = False,
    as_json: options.Json = False,
) -> None:
    """Bring agent and blocks to the device, measure there, and write the table."""
    options.require_positive("--budget-s", budget_s)
    options.require_positive("--max-temperature-c", max_temperature_c)
    usual = reached.device(LOCAL, options.cluster(cluster))

    requests = {}
    for board in _boards(device, fleet, usual):
        known = board.device.profile.measure
        settings = options.settings(
            runtime or known.runtime,
            dtype,
            threads or known.threads,
            affinity,
            optimization,
            tune,
            precision,
            rounds,
            samples,
        )
        settings = replace(settings, costs=costs, max_temperature_c=max_temperature_c or known.max_temperature_c)
        requests[board.name] = ProfileRequest(
            space=space_named(space, classes=classes, image_size=image_size, channels=channels),
            device=board.device,
            settings=options.placed(settings, provider, provider_option, require),
            table=out or _TABLE,
            budget_s=budget_s,
            overwrite=overwrite,
            data=data,
            resume=resume,
        )
    if fleet is not None or shard or len(requests) > 1:
        report = show.run(_shared(requests, out or _TABLE) if shard else _shelf(requests, out or _TABLES))
        show.shelf_report(report, as_json)
        report.require_complete()
    else:
        (request,) = requests.values()
        show.written_table(show.run(profile_space(request)), request.table, as_json)


def _boards(devices: list[str] | None, fleet: Path | None, usual: Device) -> list[Board]:
    if fleet is None:
        return named_boards(devices or [LOCAL], usual)
    if devices:
        raise BadInputError("--device and --fleet exclude each other: list all boards in the fleet's file")
    return read_fleet(fleet, usual)


def _shared(requests: dict[str, ProfileRequest], table: Path) -> Work[ShelfReport]:
    if len(requests) < 2:
        raise BadInputError("--shard shares blocks between boards: name several with --device or --fleet")
    return profile_shards(requests, table)


def _shelf(requests: dict[str, ProfileRequest], folder: Path) -> Work[ShelfReport]:
    """Give each board its table in the folder, unless that looks like the user expects one table."""
    if folder.is_file() or folder.suffix == ".json":
        raise BadInputError(
            f"each board writes a table of its own: --out names a folder, not {folder} (--shard makes one)"
        )
    return profile_shelf({name: replace(request, table=folder / f"{name}.json") for name, request in requests.items()})
