"""Stand-ins for the clock, the runtime and the worker process, for exact and instant tests of the agent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from profiler_agent.errors import SessionError
from profiler_agent.launch import WorkerCrash
from profiler_agent.orders import (
    MEMORY,
    PROBE,
    BatchTaken,
    BlockFailed,
    Ready,
    Reply,
    SentinelTaken,
    Started,
    Weighed,
    WorkOrder,
)
from profiler_agent.records import NO_SIGNS, Event, JobBlock, Settings, Signs
from profiler_agent.runtimes.placement import PlacedOperator

Kind = TypeVar("Kind")


class FakeClock:
    """A clock that stands still until someone lets time pass."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, duration_ns: int) -> None:
        self.now_ns += duration_ns


class FakeSession:
    """Runs for `latency_ns(run_index)` on a fake clock."""

    def __init__(self, clock: FakeClock, latency_ns: Callable[[int], int]) -> None:
        self._clock = clock
        self._latency_ns = latency_ns
        self._closed = False
        self.runs = 0

    def run(self) -> None:
        if self._closed:
            raise SessionError("runtime_error", "the session is closed")
        self._clock.sleep(self._latency_ns(self.runs))
        self.runs += 1

    def close(self) -> None:
        self._closed = True


class FakeRuntime:
    """Opens any file that begins with `fake`; its latency in ns stands in the file's second line."""

    version = "1.0"
    sentinel_model = b"fake\n1000\n"
    own_provider = "FakeProvider"

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def effective(self, settings: Settings) -> Settings:
        return settings

    def open(self, model: Path, settings: Settings, input_shapes: dict[str, tuple[int, ...]]) -> FakeSession:
        if not model.is_file() or not model.read_bytes().startswith(b"fake"):
            raise SessionError("unreadable_model", f"{model.name} is no model")
        latency_ns = int(model.read_text().splitlines()[1])
        return FakeSession(self._clock, lambda _run: latency_ns)

    def provider(self, settings: Settings) -> str:
        return settings.asked_provider or self.own_provider

    def placement(
        self, model: Path, settings: Settings, input_shapes: dict[str, tuple[int, ...]]
    ) -> tuple[PlacedOperator, ...]:
        return (PlacedOperator("Fake", self.own_provider),)


def fake_launch(
    latency_ns: Callable[[str, int], int],
    crash: frozenset[str] = frozenset(),
    orders: list[WorkOrder] | None = None,
    sentinel_ns: Callable[[int, int], int] = lambda _process, _position: 1000,
    signs: Callable[[str, int], Signs] = lambda _block, _process: NO_SIGNS,
) -> Callable[[WorkOrder], Iterator[Reply]]:
    """Return a `launch` that answers at once.

    Block and process index give the latency (negative: the block fails); some blocks crash; process index and
    position give the sentinel's latency; block and process index give the machine's signs.
    """
    processes = iter(range(-1, 1_000_000))  # the first order is the probe

    def launch(order: WorkOrder) -> Iterator[Reply]:
        if orders is not None:
            orders.append(order)
        process = next(processes)

        def reading(position: int) -> SentinelTaken:
            return SentinelTaken(position, (sentinel_ns(process, position),) * 5, 1)

        settings = order.settings
        level, spinning, threads = settings.optimization, settings.spinning, settings.threads
        if order.task == MEMORY:
            yield from (Weighed(block.block_id, 1000) for block in order.blocks)
            return
        yield Ready(order.runtime, "1.0", "FakeProvider", level, spinning, threads, "any")
        if order.task == PROBE:
            return
        yield reading(0)
        for position, block in enumerate(order.blocks):
            yield Started(block.block_id)
            if block.block_id in crash:
                raise WorkerCrash("the worker was killed by signal 11")
            if latency_ns(block.block_id, process) < 0:
                yield BlockFailed(block.block_id, "runtime_error", "it fails")
            else:
                samples = (latency_ns(block.block_id, process),) * order.settings.samples
                operations = ("Fake",) if order.list_operations else None
                told = signs(block.block_id, process)
                yield BatchTaken(block.block_id, samples, 1, position, True, operations, told)
            yield reading(position + 1)

    return launch


def of_kind(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def block_of(path: Path, text: str) -> JobBlock:
    path.write_text(text)
    return JobBlock(path.name, str(path), hashlib.sha256(path.read_bytes()).hexdigest())
