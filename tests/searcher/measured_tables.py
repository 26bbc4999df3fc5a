"""Tables on the disk, each with the journal that it was made of, by the road that every table is made on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from profiler_agent.records import Settings, TableKey, format_job
from searcher.artifacts import ExportedModel
from searcher.cli import show
from searcher.devices.answers import checked
from searcher.devices.device import Device
from searcher.history.history import History
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable
from searcher.tables.plan import Plan
from searcher.workflows.make_table import Target, make_table
from tests.searcher.builders import KEY, agent_program

SPACE = NasBench201()
BLOCKS = tuple(block.key for block in SPACE.all_blocks())
SHA256 = "ab" * 32


def by_place(block: str) -> float:
    """A latency in ms that differs from block to block."""
    return round(0.01 * (BLOCKS.index(block) + 1), 4)


def measured_table(
    path: Path,
    latency_ms: Callable[[str], float] = by_place,
    *,
    blocks: Sequence[str] = BLOCKS,
    key: TableKey = KEY,
    rounds: int = 8,
) -> LookupTable:
    """Make a table and its journal from what a scripted agent tells; all rounds are alike."""
    models = tuple(ExportedModel(block, Path(f"{block}.onnx"), SHA256) for block in blocks)
    settings = Settings(rounds=rounds, samples=2)
    plan = Plan(f"job-{path.stem}", SPACE.name, "local", models, settings, None, {"torch": "2"}, None)
    program = agent_program(latency_ms, key)
    list(program(["python", "-m", "profiler_agent", "job", "start", "folder"], format_job(plan.job).encode()))

    def lines() -> Generator[str, None, None]:
        yield from program(["python", "-m", "profiler_agent", "job", "follow", "folder", "boot", "0"], b"")

    history = History(path.with_name("history.sqlite"))
    history.begin(plan, Device(), path)
    return show.run(make_table(Target(path, overwrite=True), plan, checked(lines(), plan.job, "the agent"), history))
