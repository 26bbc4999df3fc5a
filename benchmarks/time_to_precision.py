"""How long every block takes to 1%: the agent, which stops each block by itself, beside a fixed count of rounds.

`python -m benchmarks.time_to_precision` measures the NAS-Bench-201 blocks in turn by both protocols, with the same
workers, samples and drift rule. The agent leaves out of later rounds what has reached the precision. The fixed
protocol measures every block in every round, until all that the agent can bring to the precision have reached it at
one of the agent's looks; it counts as if that number of rounds, the least one that does, had been known beforehand.
Blocks that did not reach the precision in one of a repetition's two jobs are named and left out of both sides.
Two jobs meet different noise, and the block that comes last may be another. So each repetition also says how long its
fixed job would have taken without the batches that sequential stopping spares (`replayed_ratio`): the same samples.

With `--pyperf`, where that is installed, `pyperf timeit` in its default shape (20 processes of 3 values, each of at
least 100 ms after as long a warm-up) measures each block once too: what precision that gives, in how many seconds.

The last line is one JSON object with `agent_seconds`, `fixed_seconds`, `fixed_rounds` (medians over repetitions) and
`ratio` = agent ÷ fixed seconds: below 1 the agent needs less.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.block_set import JobRun, export_block_set, run_job
from benchmarks.machine import describe_machine
from benchmarks.precision_watch import PrecisionWatch, last_reached, without_spared
from benchmarks.pyperf_shape import measure_with_pyperf
from profiler_agent.records import Event, JobBlock, Sentinel, Settings

# No block reaches it, so that the agent's own rule stops none.
_NEVER_PCT = 1e-9


@dataclass(frozen=True)
class Side:
    """One job of one protocol.

    Attributes:
        run: the job.
        watch: when each block reached the precision.
    """

    run: JobRun
    watch: PrecisionWatch


def run_agent(blocks: Sequence[JobBlock], settings: Settings, max_s: float) -> Side:
    """Measure with sequential stopping."""
    watch = PrecisionWatch(settings.target_half_width_pct)

    def never_enough(event: Event, seconds: float) -> bool:
        watch.add(event, seconds)
        return False

    return Side(run_job(blocks, settings, max_s, enough=never_enough), watch)


def run_fixed(blocks: Sequence[JobBlock], settings: Settings, max_s: float, wanted: Collection[str]) -> Side:
    """Measure every block in every round until the wanted ones, or without such all, have reached the precision."""
    awaited = wanted or [block.block_id for block in blocks]
    watch = PrecisionWatch(settings.target_half_width_pct)

    def enough(event: Event, seconds: float) -> bool:
        watch.add(event, seconds)
        # A round's late rejections come before the next round's first reading: the agent waits for them as well.
        between_rounds = isinstance(event, Sentinel) and event.position == 0
        return between_rounds and all(name in watch.reached for name in awaited)

    unstoppable = dataclasses.replace(settings, target_half_width_pct=_NEVER_PCT)
    return Side(run_job(blocks, unstoppable, max_s, enough=enough), watch)


def run_pairs(
    blocks: Sequence[JobBlock], settings: Settings, max_s: float, repetitions: int
) -> list[tuple[Side, Side]]:
    """Run agent and fixed protocol in turn, the other one first each time."""
    pairs: list[tuple[Side, Side]] = []
    wanted: Collection[str] = ()
    for repetition in range(repetitions):
        # Other seeds: the repetitions shall not share one order of blocks.
        own = dataclasses.replace(settings, seed=settings.seed + repetition)
        print(f"repetition {repetition + 1} of {repetitions} …", file=sys.stderr, flush=True)
        if repetition % 2 == 0:
            agent = run_agent(blocks, own, max_s)
            wanted = agent.watch.reached.keys()
            fixed = run_fixed(blocks, own, max_s, wanted)
        else:
            fixed = run_fixed(blocks, own, max_s, wanted)
            agent = run_agent(blocks, own, max_s)
        pairs.append((agent, fixed))
    return pairs


def compare(agent: Side, fixed: Side) -> dict[str, Any] | None:
    """Return the figures of one repetition over the blocks that both jobs brought to the precision; None without."""
    common = agent.watch.reached.keys() & fixed.watch.reached.keys()
    agent_last, fixed_last = last_reached(agent.watch.reached, common), last_reached(fixed.watch.reached, common)
    if agent_last is None or fixed_last is None:
        return None
    return {
        "agent_seconds": round(agent_last[0], 2),
        "agent_rounds": agent_last[1],
        "fixed_seconds": round(fixed_last[0], 2),
        "fixed_rounds": fixed_last[1],
        "ratio": round(agent_last[0] / fixed_last[0], 3),
        "replayed_ratio": round(without_spared(fixed.watch, fixed_last[0]) / fixed_last[0], 3),
        "blocks_compared": len(common),
    }


def summarise(pairs: Sequence[tuple[Side, Side]], blocks: Sequence[JobBlock]) -> dict[str, Any]:
    """Return the figures of all repetitions; they are null where no block reached the precision."""
    repetitions = [one for one in (compare(agent, fixed) for agent, fixed in pairs) if one is not None]
    names = ("agent_seconds", "fixed_seconds", "fixed_rounds", "replayed_ratio")
    medians = {name: statistics.median(one[name] for one in repetitions) if repetitions else None for name in names}
    agent_s, fixed_s = medians["agent_seconds"], medians["fixed_seconds"]
    everywhere = set.intersection(*(set(side.watch.reached) for pair in pairs for side in pair))
    return {
        "ratio": round(agent_s / fixed_s, 3) if agent_s and fixed_s else None,
        **medians,
        "blocks": len(blocks),
        "left_out": sorted({block.block_id for block in blocks} - everywhere),
        "repetitions": repetitions,
        "jobs": [{"agent": _job_details(agent), "fixed": _job_details(fixed)} for agent, fixed in pairs],
    }


def _job_details(side: Side) -> dict[str, Any]:
    return {
        "seconds": round(side.run.times_s[-1], 2),
        "batches": side.run.batches,
        "rejected_share": round(side.run.rejected / side.run.batches, 4),
        "reached": {name: [round(one.seconds, 1), one.rounds] for name, one in side.watch.reached.items()},
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="the most fresh processes for a block")
    parser.add_argument("--max-s", type=float, default=175, help="for each of the jobs")
    parser.add_argument("--repetitions", type=int, default=2, help="of each protocol")
    parser.add_argument("--pyperf", action="store_true", help="also pyperf's default shape; some 5 minutes more")
    options = parser.parse_args()
    if options.pyperf and importlib.util.find_spec("pyperf") is None:
        sys.exit("benchmarks.time_to_precision --pyperf needs pyperf: pip install pyperf")
    settings = Settings(rounds=options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        blocks = export_block_set(Path(folder))
        pairs = run_pairs(blocks, settings, options.max_s, options.repetitions)
        by_pyperf = measure_with_pyperf(blocks, settings.target_half_width_pct) if options.pyperf else None
    result = {
        "benchmark": "time_to_precision",
        "machine": describe_machine(),
        "table_key": dataclasses.asdict(pairs[0][0].run.hello.key),
        "settings": {
            "agent": dataclasses.asdict(settings),
            "max_s": options.max_s,
            "repetitions": options.repetitions,
            "pyperf": options.pyperf,
        },
        **summarise(pairs, blocks),
        "pyperf": by_pyperf,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
