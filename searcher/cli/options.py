"""Options that several subcommands share, and what they mean."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import typer

from profiler_agent.records import RecordError, Settings
from searcher.devices.profile import Cluster
from searcher.errors import BadInputError
from searcher.spaces.block import DTYPES
from searcher.spaces.catalogue import SPACES

DEFAULTS = Settings()
_SPACES_NAMED = f"{', '.join(SPACES[:-1])} or {SPACES[-1]}"

Space = Annotated[str, typer.Option(help=f"Search space: {_SPACES_NAMED}.")]
Cells = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cells of the networks that run on the device: per stage of nasbench201 (5 unless given), in all of darts "
        "(20 unless given).",
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(min=1, help="Channels of the first cells: 16 of nasbench201 and 36 of darts unless given."),
]
Classes = Annotated[
    int | None,
    typer.Option(min=1, help="Outputs of the networks; 10 of nasbench201 and darts, 100 of fbnet unless given."),
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="Side of the images in pixels, 32 unless given; fbnet for ImageNet takes 224.")
]
# How a device is reached and which it is.
DeviceName = Annotated[str, typer.Option("--device", help="local, a profile's name, or ssh://user@host:port.")]
DeviceNames = Annotated[
    list[str] | None,
    typer.Option("--device", help="local, a profile's name, or ssh://user@host:port; several are measured at once."),
]
Fleet = Annotated[
    Path | None,
    typer.Option(
        help="TOML file that lists boards, which are measured at once; one without a name is called by its host."
    ),
]
Shard = Annotated[bool, typer.Option("--shard", help="Boards of one kind share the blocks, into one table.")]
ProfileName = Annotated[str | None, typer.Option("--profile", help="Profile of a device that is named by its address.")]
Python = Annotated[str | None, typer.Option(help="Python on the device, 3.8 or newer.")]
RuntimeFrom = Annotated[
    str | None,
    typer.Option(
        help="deploy brings the runtime to the device; system takes what the device's Python has. "
        "Unless given: deploy over SSH without --python, else system."
    ),
]
Identity = Annotated[Path | None, typer.Option(help="Private key file, instead of ssh-agent and default keys.")]
KnownHosts = Annotated[Path | None, typer.Option(help="Instead of ~/.ssh/known_hosts.")]
SshConfig = Annotated[Path | None, typer.Option(help="Instead of ~/.ssh/config.")]
AcceptNewHostKey = Annotated[
    bool, typer.Option("--accept-new-host-key", help="Trust, and write down, the key of a server never met before.")
]
ClusterName = Annotated[str | None, typer.Option("--cluster", help="Processors to pin to: fastest, slowest or all.")]

# How it is measured; what is left out comes from the profile.
Runtime = Annotated[str, typer.Option(help="Runtime identifier or family.")]
DeviceRuntime = Annotated[
    str | None, typer.Option("--runtime", help="Runtime identifier or family; the profile's, else onnx.")
]
Dtype = Annotated[str, typer.Option(help=f"Numbers to compute with: {', '.join(DTYPES[:-1])} or {DTYPES[-1]}.")]
Data = Annotated[str, typer.Option(help="Images to calibrate fp16 and int8 on: digits or cifar10:PATH.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one operator.")]
DeviceThreads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of one operator; the profile's, else 1.")
]
MaxTemperature = Annotated[
    float | None,
    typer.Option("--max-temperature-c", help="Above it nothing counts; the profile's, else the kernel's own limits."),
]
Affinity = Annotated[str | None, typer.Option(help="Processors to pin to, such as 0,1.")]
Optimization = Annotated[str, typer.Option(help="Graph optimisation: disabled, basic, extended or all.")]
Provider = Annotated[str | None, typer.Option(help="What shall compute there: cpu, cuda, xnnpack, none, …")]
ProviderOption = Annotated[list[str] | None, typer.Option(help="NAME=VALUE for that provider; may be repeated.")]
Require = Annotated[str | None, typer.Option(help="Refuse blocks that this provider does not compute alone.")]
Costs = Annotated[bool, typer.Option(help="Also measure memory, size and, where rails exist, energy.")]
Tune = Annotated[bool, typer.Option("--tune", help="Set governors and turbo there for the time of measuring.")]
Precision = Annotated[float, typer.Option(min=0.01, help="Half-width of the interval, in %, at which a block is done.")]
Rounds = Annotated[int, typer.Option(min=1, help="The most fresh processes for a block; below eight none is done.")]
Samples = Annotated[int, typer.Option(min=1, help="Raw samples per block and round.")]
Budget = Annotated[float | None, typer.Option(help="Start no round, after the first, that would end later.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace also a table of another key.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def cluster(text: str | None) -> Cluster | None:
    """Return the cluster that an option names.

    Raises:
        BadInputError: it names none.
    """
    for known in get_args(Cluster):
        if text == known:
            named: Cluster = known
            return named
    if text is not None:
        raise BadInputError(f"--cluster takes {', '.join(get_args(Cluster))}, not {text!r}")
    return None


def settings(
    runtime: str,
    dtype: str,
    threads: int,
    affinity: str | None,
    optimization: str,
    tune: bool,
    precision_pct: float,
    rounds: int,
    samples: int,
) -> Settings:
    """Return the agent's settings that the options ask for.

    Raises:
        BadInputError: the processors are not numbers, or a value is out of its range.
    """
    try:
        return Settings(
            runtime=runtime,
            precision=dtype,
            threads=threads,
            affinity=None if affinity is None else _processors(affinity),
            optimization=optimization,
            tune=tune,
            target_half_width_pct=precision_pct,
            rounds=rounds,
            samples=samples,
        )
    except RecordError as e:
        raise BadInputError(str(e)) from e


def placed(
    measured: Settings, provider: str | None, provider_options: list[str] | None, require: str | None
) -> Settings:
    """Return settings with what shall compute.

    Raises:
        BadInputError: an option is not of the form NAME=VALUE, or provider and requirement disagree.
    """
    pairs = [option.partition("=") for option in provider_options or ()]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise BadInputError(f"--provider-option takes NAME=VALUE, not {name!r}")
    options = {name: value for name, _, value in pairs}
    try:
        return replace(measured, provider=provider, provider_options=options, require=require)
    except RecordError as e:
        raise BadInputError(str(e)) from e


def require_other_file(out: Path, source: Path, option: str = "--out") -> None:
    """Refuse an output, given by an option, that would replace the command's own input.

    Raises:
        BadInputError: both are one file.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise BadInputError(f"{option} {out} would replace the input of that name")


def require_positive(name: str, value: float | None) -> None:
    """Refuse a number that is neither left out nor positive and finite.

    Args:
        name: of the option, such as `--budget-s`.
        value: what the user gave.

    Raises:
        BadInputError: it is zero, negative, infinite or no number.
    """
    if value is not None and not 0 < value < math.inf:
        raise BadInputError(f"{name} takes a positive number, not {value:g}")


def _processors(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as e:
        raise BadInputError(f"--affinity takes processor numbers such as 0,1, not {text!r}") from e
