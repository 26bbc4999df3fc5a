"""How long every block takes to 1%: the agent, which stops each block by itself, beside fixed counts of rounds.

`python -m benchmarks.time_to_precision` measures the NAS-Bench-201 blocks in turn by two jobs with the same workers,
samples and drift rule. The agent's leaves out of later rounds what has reached the precision. The fixed job measures
every block in every round, for as long as any of the comparisons needs; what a fixed protocol would have taken is read
from its batches. All of them count but those that are rejected, at once or later. Three fixed protocols are compared:

* `ratio`: the agent's seconds ÷ those of the **best count in hindsight**, `fixed_rounds`: the least count at which the
  plain 95% intervals of all blocks are within the target at once. Whoever knows a count beforehand looks once, and so
  needs no wider intervals for looking often. That count is known only when all is over: it is a bound, which no real
  protocol keeps, and the ratio may well be above 1.
* `ratio_count_from_other`: against a protocol that must choose its count before it measures, here the best count in
  hindsight of the repetition before (the first one's is the last's). It cannot know whether that count will do:
  `blocks_within` of the `blocks` reach the target by it. Null for a repetition whose fixed job had ended before.
* `ratio_same_intervals`: against a protocol that goes by the agent's own looks and intervals, but measures every block
  until the last one is done. It pays the agent's price of looking often, and shows what stopping each block by itself
  spares and nothing else.

Each compares the seconds until the last block is there, over the same blocks on both sides: those that the agent
brought to the target and, but for the second, the fixed protocol too; `left_out` names those that in some repetition
are in neither the first comparison nor the third. Two jobs meet different noise. So `replayed_ratio` and
`replayed_ratio_same_intervals` say what sequential stopping would have taken with the very batches of the fixed job:
the seconds until its last look, without the batches of blocks behind their own, ÷ the same fixed seconds.

With `--pyperf`, where that is installed, `pyperf timeit` in its default shape (20 processes of 3 values, each of at
least 100 ms after as long a warm-up) measures each block once too: what precision that gives, in how many seconds.

The last line is one JSON object. Its ratios are those of the medians over repetitions, such as `agent_seconds` and
`fixed_seconds`; below 1 the agent needs less.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.block_set import JobRun, export_block_set, run_job
from benchmarks.machine import describe_machine
from benchmarks.precision_watch import FixedCount, PrecisionWatch, Reached, last_of
from benchmarks.pyperf_shape import measure_with_pyperf
from profiler_agent.records import Event, JobBlock, Sentinel, Settings

# No block reaches it, so that the agent's own rule stops none.
_NEVER_PCT = 1e-9


@dataclass(frozen=True)
class Side:
    """One job of one protocol.

    Attributes:
        run: the job.
        watch: its batches, and when each block reached the precision.
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


def run_fixed(
    blocks: Sequence[JobBlock], settings: Settings, max_s: float, wanted: Collection[str] = (), least: int = 0
) -> Side:
    """Measure every block in every round until each comparison has what it needs.

    Args:
        blocks: what to measure.
        settings: of the agent.
        max_s: seconds after which no round starts.
        wanted: the blocks that must be within the target, at once by plain intervals and each at a look by the
            agent's; none stands for all.
        least: batches that each of them must have at least.
    """
    awaited = wanted or [block.block_id for block in blocks]
    watch = PrecisionWatch(settings.target_half_width_pct)
    found = False

    def enough(event: Event, seconds: float) -> bool:
        nonlocal found
        watch.add(event, seconds)
        # A round's late rejections come before the next round's first reading: the agent waits for them as well.
        if not (isinstance(event, Sentinel) and event.position == 0):
            return False
        count = min(len(watch.accepted(name)) for name in awaited)
        # Later counts may be without it again, which is no matter: the least is what counts.
        found = found or all(watch.within(name, count) for name in awaited)
        return found and count >= least and len(watch.first_looks(awaited)) == len(awaited)

    unstoppable = dataclasses.replace(settings, target_half_width_pct=_NEVER_PCT)
    return Side(run_job(blocks, unstoppable, max_s, enough=enough), watch)


def run_pairs(
    blocks: Sequence[JobBlock], settings: Settings, max_s: float, repetitions: int
) -> list[tuple[Side, Side]]:
    """Run agent and fixed protocol in turn, the other one first each time."""
    pairs: list[tuple[Side, Side]] = []
    wanted: Collection[str] = ()
    least = 0
    for repetition in range(repetitions):
        # Other seeds: the repetitions shall not share one order of blocks.
        own = dataclasses.replace(settings, seed=settings.seed + repetition)
        print(f"repetition {repetition + 1} of {repetitions} …", file=sys.stderr, flush=True)
        if repetition % 2 == 0:
            agent = run_agent(blocks, own, max_s)
            wanted = agent.watch.stopped.keys()
            fixed = run_fixed(blocks, own, max_s, wanted, least)
        else:
            fixed = run_fixed(blocks, own, max_s, wanted, least)
            agent = run_agent(blocks, own, max_s)
        best = best_count(agent, fixed)
        least = max(least, 0 if best is None else best.rounds)
        pairs.append((agent, fixed))
    return pairs


def best_count(agent: Side, fixed: Side) -> FixedCount | None:
    """Return the best count in hindsight for the blocks that the agent brought to the target."""
    return fixed.watch.best_count(agent.watch.stopped)


def against_best(agent: Side, fixed: Side) -> dict[str, Any] | None:
    """Compare with the best count in hindsight; None where no block reached the target."""
    best = best_count(agent, fixed)
    if best is None:
        return None
    seconds = fixed.watch.seconds_of(best.within, best.rounds)
    figures = _figures(agent, best.within, best.rounds, seconds)
    looks = fixed.watch.first_looks(best.within)
    replayed = _replayed(fixed, looks, seconds) if looks.keys() == best.within else None
    return None if figures is None else figures | {"replayed_ratio": replayed}


def against_same_intervals(agent: Side, fixed: Side) -> dict[str, Any] | None:
    """Compare with the agent's own looks and intervals without leaving out blocks; None where none reached them."""
    looks = fixed.watch.first_looks(agent.watch.stopped)
    last = last_of(looks, looks)
    figures = None if last is None else _figures(agent, looks, last.rounds, last.seconds)
    if figures is None or last is None:
        return None
    return figures | {"replayed_ratio": _replayed(fixed, looks, last.seconds)}


def against_count(agent: Side, fixed: Side, rounds: int) -> dict[str, Any] | None:
    """Compare with a count that was chosen elsewhere; None where the fixed job has too few batches for it."""
    names = agent.watch.stopped.keys()
    figures = _figures(agent, names, rounds, fixed.watch.seconds_of(names, rounds))
    if figures is None:
        return None
    return figures | {"blocks_within": sum(fixed.watch.within(name, rounds) for name in names)}


def _figures(agent: Side, names: Collection[str], rounds: int, seconds: float | None) -> dict[str, Any] | None:
    last = last_of(agent.watch.stopped, names)
    if last is None or seconds is None:
        return None
    return {
        "agent_seconds": round(last.seconds, 2),
        "agent_rounds": last.rounds,
        "fixed_seconds": round(seconds, 2),
        "fixed_rounds": rounds,
        "ratio": round(last.seconds / seconds, 3),
        "blocks": len(names),
    }


def _replayed(fixed: Side, looks: Mapping[str, Reached], seconds: float | None) -> float | None:
    """Return what sequential stopping would have taken with the batches of the fixed job, ÷ seconds."""
    last = last_of(looks, looks)
    return None if last is None or not seconds else round(fixed.watch.without_spared(looks, last.seconds) / seconds, 3)


def compare(pairs: Sequence[tuple[Side, Side]]) -> list[dict[str, Any]]:
    """Return each repetition's comparisons; one without what it needs is None."""
    counts = [best_count(agent, fixed) for agent, fixed in pairs]
    # The first repetition's is the last one's; a single repetition has no other.
    others = [counts[index - 1] if len(pairs) > 1 else None for index in range(len(pairs))]
    return [
        {
            "best_in_hindsight": against_best(agent, fixed),
            "count_from_other": None if other is None else against_count(agent, fixed, other.rounds),
            "same_intervals": against_same_intervals(agent, fixed),
        }
        for (agent, fixed), other in zip(pairs, others, strict=True)
    ]


def summarise(pairs: Sequence[tuple[Side, Side]], blocks: Sequence[JobBlock]) -> dict[str, Any]:
    """Return the figures of all repetitions; they are null where no block reached the precision."""
    repetitions = compare(pairs)
    best, other, same = (
        _medians([one[kind] for one in repetitions if one[kind] is not None])
        for kind in ("best_in_hindsight", "count_from_other", "same_intervals")
    )
    everywhere = set.intersection(*(_reached(agent, fixed) for agent, fixed in pairs))
    return {
        "ratio": best["ratio"],
        "ratio_count_from_other": other["ratio"],
        "ratio_same_intervals": same["ratio"],
        "agent_seconds": best["agent_seconds"],
        "fixed_seconds": best["fixed_seconds"],
        "fixed_rounds": best["fixed_rounds"],
        "fixed_is": "the best count in hindsight: a bound that no real protocol knows",
        "replayed_ratio": best["replayed_ratio"],
        "replayed_ratio_same_intervals": same["replayed_ratio"],
        "blocks": len(blocks),
        "blocks_within_count_from_other": other["blocks_within"],
        "left_out": sorted({block.block_id for block in blocks} - everywhere),
        "repetitions": repetitions,
        "jobs": [
            {
                "agent": _job_details(agent, agent.watch.stopped),
                "fixed": _job_details(fixed, fixed.watch.first_looks(block.block_id for block in blocks)),
            }
            for agent, fixed in pairs
        ],
    }


def _medians(comparisons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over repetitions, and the ratio of those of the seconds; None for what no repetition has."""
    names = ("agent_seconds", "fixed_seconds", "fixed_rounds", "replayed_ratio", "blocks_within")
    known = {name: [one[name] for one in comparisons if one.get(name) is not None] for name in names}
    medians = {name: statistics.median(values) if values else None for name, values in known.items()}
    agent_s, fixed_s = medians["agent_seconds"], medians["fixed_seconds"]
    return {"ratio": round(agent_s / fixed_s, 3) if agent_s and fixed_s else None, **medians}


def _reached(agent: Side, fixed: Side) -> set[str]:
    """Return the blocks that are in a comparison with a fixed protocol that reaches the target."""
    best = best_count(agent, fixed)
    return set(fixed.watch.first_looks(agent.watch.stopped)) | (set() if best is None else set(best.within))


def _job_details(side: Side, reached: Mapping[str, Reached]) -> dict[str, Any]:
    return {
        "seconds": round(side.run.times_s[-1], 2),
        "batches": side.run.batches,
        "rejected_share": round(side.run.rejected / side.run.batches, 4),
        "reached": {name: [round(one.seconds, 1), one.rounds] for name, one in reached.items()},
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
