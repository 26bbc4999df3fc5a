"""What blocks cost beside their latency, measured when the latencies are done: file size, peak memory, energy.

Nothing of this can make a block fail: what cannot be told is None, and a warning says why.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from profiler_agent.energy import Energy, NoEnergyError, PowerLog, energy_of
from profiler_agent.errors import SessionError
from profiler_agent.exercise import REST_S, RUN_S, SETTLE_S
from profiler_agent.launch import WorkerCrash
from profiler_agent.opening import Launch
from profiler_agent.orders import ENERGY, MEMORY, BlockFailed, Ran, Reply, Resting, Running, Weighed, WorkOrder
from profiler_agent.power import Meter
from profiler_agent.records import Costs, Job, JobBlock, Warned
from profiler_agent.runtimes import family_of_file
from profiler_agent.runtimes.onnx_files import external_files

# How long measuring the energy of one block takes, its opening and its warm-up aside.
ENERGY_S = 2 * SETTLE_S + REST_S + RUN_S
# What is known of a block, or why it is not.
_Peak = Union[int, str]
_Energy = Union[Energy, str]
_NO_MEMORY = "the system does not tell it, or the model failed when it was opened again"


def measure_costs(
    job: Job,
    blocks: Sequence[JobBlock],
    runtime: str,
    launch: Launch,
    meter: Optional[Meter],
    monotonic_s: Callable[[], float],
) -> Iterator[Union[Costs, Warned]]:
    """Measure the costs of blocks that have a latency, and yield them one by one, warnings last.

    Args:
        job: they belong to.
        blocks: to measure.
        runtime: identifier of the runtime.
        launch: starts a worker with an order and yields its replies.
        meter: of the machine's power, or None.
        monotonic_s: a clock in s.
    """
    if not blocks:
        return
    problems: Dict[str, List[str]] = {"size": [], "memory": [], "energy": []}
    peaks = dict(_peaks(job, blocks, runtime, launch))
    for block, energy in _energies(job, blocks, runtime, launch, meter, monotonic_s):
        peak = peaks.get(block.block_id, _NO_MEMORY)
        for kind, found in (("memory", peak), ("energy", energy)):
            if isinstance(found, str):
                problems[kind].append(f"of {block.block_id}: {found}")
        try:
            size = file_bytes(Path(block.file))
        except OSError as e:
            problems["size"].append(f"of {block.block_id}: {e.strerror}")
            continue
        yield _costs(job, block, size, peak, energy, meter)
    for kind, sentences in problems.items():
        if sentences:
            others = f" (and of {len(sentences) - 1} more)" if len(sentences) > 1 else ""
            yield Warned(f"no_{kind}", f"the {kind} is not known {sentences[0]}{others}")


def file_bytes(model: Path) -> int:
    """Return the size of a model's file, with the files of its weights where an ONNX model keeps them apart.

    Raises:
        OSError: one cannot be read.
    """
    size = model.stat().st_size
    if family_of_file(model) != "onnx" or size == 0:
        return size
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        names = _external_files(mapped)
    return size + sum((model.parent / name).stat().st_size for name in names)


def _external_files(mapped: mmap.mmap) -> Tuple[str, ...]:
    # The views into the map have to be gone when it is closed.
    with memoryview(mapped) as view:
        try:
            return external_files(view)
        except SessionError:
            return ()


def _costs(
    job: Job, block: JobBlock, size: int, peak: _Peak, energy: Optional[_Energy], meter: Optional[Meter]
) -> Costs:
    memory = None if isinstance(peak, str) else peak
    if meter is None or not isinstance(energy, Energy):
        return Costs(job.job_id, block.block_id, size, memory)
    return Costs(
        job_id=job.job_id,
        block_id=block.block_id,
        file_bytes=size,
        peak_memory_bytes=memory,
        energy_mj=energy.energy_mj,
        energy_half_width_mj=energy.half_width_mj,
        power_mw=energy.power_mw,
        idle_power_mw=energy.idle_power_mw,
        power_samples=energy.samples,
        power_hz=energy.hz,
        rails=meter.rails,
    )


def _peaks(job: Job, blocks: Sequence[JobBlock], runtime: str, launch: Launch) -> Iterator[Tuple[str, _Peak]]:
    """Yield the peak memory of blocks; those that are missing when the worker ends are not known."""
    order = WorkOrder(runtime, job.settings, tuple(blocks), task=MEMORY)
    try:
        for reply in launch(order):
            if isinstance(reply, Weighed) and reply.peak_memory_bytes is not None:
                yield reply.block_id, reply.peak_memory_bytes
    except WorkerCrash as e:
        for block in blocks:
            yield block.block_id, str(e)


def _energies(
    job: Job,
    blocks: Sequence[JobBlock],
    runtime: str,
    launch: Launch,
    meter: Optional[Meter],
    monotonic_s: Callable[[], float],
) -> Iterator[Tuple[JobBlock, Optional[_Energy]]]:
    """Yield each block with its energy, with why it is not known, or with None where there is no meter."""
    waiting = list(blocks)
    if meter is None:
        yield from ((block, None) for block in waiting)
        return
    with PowerLog(meter, monotonic_s) as log:
        while waiting:
            order = WorkOrder(runtime, job.settings, tuple(waiting), task=ENERGY)
            try:
                for energy in _exercised(launch(order), log, monotonic_s):
                    yield waiting.pop(0), energy
                reason = "the worker ended before its order was done"
            except WorkerCrash as e:
                reason = str(e)
            if waiting:
                yield waiting.pop(0), reason


def _exercised(replies: Iterator[Reply], log: PowerLog, monotonic_s: Callable[[], float]) -> Iterator[_Energy]:
    """Yield the energy of one block after the other from what the worker says and the meter read meanwhile."""
    rested_s = ran_s = 0.0
    for reply in replies:
        now_s = monotonic_s()
        if isinstance(reply, Resting):
            rested_s = now_s
        elif isinstance(reply, Running):
            ran_s = now_s
        elif isinstance(reply, BlockFailed):
            yield reply.sentence
        elif isinstance(reply, Ran):
            try:
                latency_s = reply.duration_ns / 1e9 / reply.inferences
                yield energy_of(log.between(rested_s, ran_s), log.between(ran_s + SETTLE_S, now_s), latency_s)
            except NoEnergyError as e:
                yield str(e)
