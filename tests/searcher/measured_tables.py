"""Tables on the disk, each with the journal that it was made of, by the road that every table is made on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

from profiler_agent.records import Settings, TableKey, format_event, format_job
from searcher.artifacts import ExportedModel, sha256_of
from searcher.cli import show
from searcher.devices.answers import checked, collect
from searcher.devices.device import Device
from searcher.history.history import History
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.fill import fill_table
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
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
    plan, told = _job(path, latency_ms, blocks, key, rounds)
    events = tuple(checked(_generator(told), plan.job, "the agent"))
    journal = journal_path(path)
    # All at once: a journal that is written as a job goes on waits for the disk after every line.
    journal.write_text("".join(f"{format_event(event)}\n" for event in events), encoding="utf-8")
    created, digest = "2026-11-21T00:00:00+00:00", sha256_of(journal)
    made = fill_table(plan.space, plan.device, created, collect(events), plan.models, plan.versions, digest)
    TABLE_DOCUMENT.save(made, path)
    return made


def table_of_a_job(path: Path) -> LookupTable:
    """Make the same table, with its journal, as a job does that is followed on its device."""
    plan, told = _job(path, by_place, BLOCKS, KEY, 8)
    history = History(path.with_name("history.sqlite"))
    history.begin(plan, Device(), path)
    return show.run(make_table(Target(path), plan, checked(_generator(told), plan.job, "the agent"), history))


def _job(
    path: Path, latency_ms: Callable[[str], float], blocks: Sequence[str], key: TableKey, rounds: int
) -> tuple[Plan, Iterable[str]]:
    models = tuple(ExportedModel(block, Path(f"{block}.onnx"), SHA256) for block in blocks)
    settings = Settings(rounds=rounds, samples=2)
    plan = Plan(f"job-{path.stem}", SPACE.name, "local", models, settings, None, {"torch": "2"}, None)
    program = agent_program(latency_ms, key)
    agent = ["python", "-m", "profiler_agent", "job"]
    list(program([*agent, "start", "folder"], format_job(plan.job).encode()))
    return plan, program([*agent, "follow", "folder", "boot", "0"], b"")


def _generator(lines: Iterable[str]) -> Generator[str, None, None]:
    yield from lines
