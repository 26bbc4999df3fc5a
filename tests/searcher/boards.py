"""A shelf of devices in memory, for tests of what many do at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from profiler_agent.records import Done, Event, Measured, Settings, format_event
from searcher.devices.device import Device
from searcher.devices.transport import Transport, UnreachableError
from searcher.spaces.nasbench201 import NasBench201
from searcher.workflows.profile_space import ProfileRequest
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import KEY, QUICK, agent_program

SPACE = NasBench201()
BLOCKS = len(SPACE.all_blocks())


class Shelf:
    """Boards by name; None for one that nobody can reach."""

    def __init__(self, boards: Mapping[str, Program | None]) -> None:
        self.transports = {
            name: None if program is None else FakeTransport(program) for name, program in boards.items()
        }

    def connect(self, device: Device) -> Transport:
        transport = self.transports[name_of(device)]
        if transport is None:
            raise UnreachableError(f"{device.name} does not answer within 10 s; is it switched on and on this network?")
        return transport

    def requests(self, folder: Path, *, resume: bool = False, settings: Settings = QUICK) -> dict[str, ProfileRequest]:
        return {
            name: ProfileRequest(
                SPACE, Device(f"ssh://{name}", runtime_from="system"), settings, folder / f"{name}.json", resume=resume
            )
            for name in self.transports
        }

    def transport(self, name: str) -> FakeTransport:
        transport = self.transports[name]
        assert transport is not None
        return transport

    def started(self, name: str) -> int:
        """How often a job was started on a board."""
        return sum(run.arguments[4] == "start" for run in self.transport(name).runs)


def name_of(device: Device) -> str:
    return device.name.removeprefix("ssh://")


def board(
    latency_ms: float = 1.0,
    sentinel_ns: float = 80_000.0,
    after_share_ns: float | None = None,
    fingerprint: str = KEY.device_fingerprint,
    spoil: Callable[[list[Event]], Iterable[Event]] | None = None,
) -> Program:
    """A board whose sentinel takes so long, and with more than one block `after_share_ns`."""

    def change(events: list[Event]) -> Iterable[str]:
        blocks = {event.block_id for event in events if isinstance(event, Measured)}
        told = sentinel_ns if after_share_ns is None or len(blocks) == 1 else after_share_ns
        changed = [replace(event, sentinel_ns=told) if isinstance(event, Done) else event for event in events]
        for event in changed if spoil is None else spoil(changed):
            yield format_event(event)

    key = replace(KEY, device_fingerprint=fingerprint)
    return agent_program(lambda _name: latency_ms, key=key, change=change)


def dying_after(count: int, error: Exception) -> Callable[[list[Event]], Iterable[Event]]:
    """Lets a board die after some events of each job that is long enough."""

    def spoil(events: list[Event]) -> Iterable[Event]:
        yield from events[:count]
        if len(events) > count:
            raise error

    return spoil
