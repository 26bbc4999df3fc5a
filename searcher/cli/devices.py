"""`searcher devices`: the profiles there are, and what works on a device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.profile import DeviceProfile, find_profile, profile_document, profile_files, read_profile
from searcher.errors import BadInputError, SearcherError
from searcher.reports import devices as shown
from searcher.workflows.check_device import FAILS, Check, check_device

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A profile's name, a .toml file, local, or ssh://user@host:port.")]


@group.callback()
def devices() -> None:
    """List and show device profiles, and tell what works on a device."""


@group.command("list")
def list_profiles(as_json: options.Json = False) -> None:
    """List the profiles: the project's, and the user's own, which come first."""
    files = profile_files()
    found: dict[str, DeviceProfile] = {}
    problems: dict[str, str] = {}
    for name, path in files.items():
        try:
            found[name] = read_profile(path)
        except BadInputError as e:
            problems[name] = str(e)
    if as_json:
        show.document([_row(name, path, found.get(name), problems.get(name)) for name, path in files.items()])
    else:
        show.result(shown.profiles(found))
        for name, problem in problems.items():
            show.result(f"{name} cannot be used: {problem}")


def _row(name: str, file: Path, one: DeviceProfile | None, problem: str | None) -> dict[str, str | None]:
    told = {} if one is None else {"title": one.title, "reached_at": shown.where(one)}
    return {"name": name, "file": str(file), "problem": problem, **told}


@group.command("show")
def show_profile(
    name: Annotated[str, typer.Argument(help="A profile's name, or a .toml file.")], as_json: options.Json = False
) -> None:
    """Print what a profile says."""
    path = find_profile(name, "profile")
    one = read_profile(path)
    if as_json:
        show.document({"name": path.stem, "file": str(path), **profile_document(one)})
    else:
        show.result(shown.profile(path.stem, one))
        show.result(f"from {path}")


@group.command("check")
@reaches_devices
def check(
    name: Name,
    reached: Reached = AS_USUAL,
    cluster: options.ClusterName = None,
    as_json: options.Json = False,
) -> None:
    """Connect, bring the agent, and tell line by line what works; exit with 1 if something needed fails."""
    device = reached.device(name, options.cluster(cluster))
    checks: list[Check] = []
    for one in check_device(device):
        checks.append(one)
        if not as_json:
            show.result(f"{one.verdict:<5}  {one.check}: {one.sentence}")
    failed = [one.check for one in checks if one.verdict == FAILS]
    if as_json:
        show.document({"device": name, "works": not failed, "checks": [dataclasses.asdict(one) for one in checks]})
    if failed:
        raise SearcherError(f"{name} cannot measure: {failed[0]} fails")
