"""Device profiles for a person in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from searcher.devices.profile import DeviceProfile


def where(profile: DeviceProfile) -> str:
    """Return how a device is reached; what is left out, the SSH configuration tells."""
    reach = profile.reach
    if reach.way == "local":
        return "this machine"
    if reach.address is None:
        return "no address"
    user = "" if reach.user is None else f"{reach.user}@"
    port = "" if reach.port is None else f":{reach.port}"
    return f"ssh://{user}{reach.address}{port}"


def profiles(found: Mapping[str, DeviceProfile]) -> Table:
    """Return the profiles by name."""
    shown = Table()
    for heading in ("name", "device", "reached at", "cluster", "runtime"):
        shown.add_column(heading, overflow="fold")
    for name, one in found.items():
        shown.add_row(name, one.title, where(one), one.measure.cluster, one.measure.runtime)
    return shown


def profile(name: str, one: DeviceProfile) -> str:
    """Return everything that a profile says."""
    measure, python = one.measure, one.python
    limit = "the kernel's own limits" if measure.max_temperature_c is None else f"{measure.max_temperature_c:g} °C"
    lines = [
        f"{name}: {one.title}",
        f"reached at: {where(one)}",
        f"python: {python.interpreter or 'the usual one'}; runtimes from: {python.runtime_from or 'as usual'}",
        f"runtimes there: {', '.join(python.runtimes) or 'not told'}; measured with {measure.runtime}",
        f"processors: {measure.cluster}, {measure.threads} thread(s)",
        f"hottest: {limit}",
        f"sensors: {', '.join(measure.sensors) or 'not told'}",
    ]
    return "\n".join([*lines, *(f"- {note}" for note in one.notes)])
