"""Looks into one model: measures it without any profiler, and shares that latency among its operators.

What an operator's own time is told by depends on the runtime: ONNX Runtime's profiler, or the measurement of the
operator as a model of its own. Either way the latency that is shared out is the agent's own, of `measure`.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from profiler_agent.attribution import attribute, fused_times, profiler_cost
from profiler_agent.errors import AgentError, BadInputError
from profiler_agent.inspection import Finding, Inspected, InspectionFailed, InspectionOrder, SeenOperator
from profiler_agent.launch import WorkerCrash, launch_inspection, launch_worker
from profiler_agent.measure import measure
from profiler_agent.opening import Launch, probe
from profiler_agent.records import (
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measurement,
    OperatorCost,
    OperatorReport,
    Settings,
    Warned,
    measurements_of,
)

Inspect = Callable[[InspectionOrder], Finding]
Note = Callable[[str], None]
# Processes whose profiles are taken; of each operator the median counts.
_PROFILES = 3
_MODEL = "model"
_US_PER_MS = 1e3
USER_ERRORS = (
    *("unreadable_model", "unsupported_model", "dynamic_shape", "wrong_shape", "unknown_input", "unsupported_input"),
    *("wrong_file", "bad_order"),
)


@dataclass(frozen=True)
class Examination:
    """What is to be looked into.

    Attributes:
        model: the file.
        settings: as of a job.
        input_shapes: of dynamic inputs, by name.
        budget_s: no round of measuring starts that would end later; None for no bound.
    """

    model: Path
    settings: Settings
    input_shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)
    budget_s: Optional[float] = None


def examine(
    wanted: Examination,
    folder: Path,
    note: Note,
    launch: Launch = launch_worker,
    inspect: Inspect = launch_inspection,
) -> OperatorReport:
    """Return what a model's operators cost.

    Args:
        wanted: the model and the settings.
        folder: an empty one for the models that are measured beside it.
        note: told what goes on, and warnings.
        launch: starts a measuring worker.
        inspect: lets a worker look into the model.

    Raises:
        BadInputError: the model or the settings are to blame.
        AgentError: it could not be measured.
    """
    ready = probe(wanted.settings, launch)
    order = InspectionOrder(
        ready.runtime, wanted.settings, str(wanted.model), wanted.input_shapes, str(folder.resolve())
    )
    found = _inspections(order, inspect)
    files = _files(found[0])
    note(f"measuring the model and {len(files)} small ones beside it")
    events = _measured(wanted, ready.runtime, files, folder, note, launch)
    return _report(wanted, found, events)


def _inspections(order: InspectionOrder, inspect: Inspect) -> Tuple[Inspected, ...]:
    """Return what workers found: one, or as many as make profiles reliable."""
    first = _inspected(order, inspect)
    if all(one.profiled_us is None for one in first.operators):
        return (first,)
    found = [first, *(_inspected(order, inspect) for _ in range(_PROFILES - 1))]
    if len({tuple(one.name for one in finding.operators) for finding in found}) > 1:
        raise AgentError("the runtime's profiles differ in the operators that they tell")
    return tuple(found)


def _inspected(order: InspectionOrder, inspect: Inspect) -> Inspected:
    try:
        finding = inspect(order)
    except WorkerCrash as e:
        raise AgentError(f"{Path(order.model).name} cannot be looked into: {e}") from e
    if isinstance(finding, InspectionFailed):
        raise _error(finding.code, finding.sentence)
    return finding


def _error(code: str, sentence: str) -> AgentError:
    return BadInputError(sentence) if code in USER_ERRORS else AgentError(sentence)


def _files(found: Inspected) -> Tuple[str, ...]:
    """Return the names of the models that are measured beside the one that is meant."""
    names: List[Optional[str]] = [found.call]
    names += [None if found.calibration is None else found.calibration.file]
    for operator in found.operators:
        names += [operator.part, operator.group]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _measured(
    wanted: Examination, runtime: str, files: Sequence[str], folder: Path, note: Note, launch: Launch
) -> Tuple[Event, ...]:
    blocks = [_block(_MODEL, wanted.model, wanted.input_shapes)]
    blocks += [_block(name, folder / name, {}) for name in files]
    settings = replace(wanted.settings, runtime=runtime)
    events: List[Event] = []
    for event in measure(Job(uuid.uuid4().hex, tuple(blocks), settings, wanted.budget_s), launch=launch):
        events.append(event)
        if isinstance(event, Warned):
            note(f"warning: {event.sentence}")
        elif isinstance(event, Failed) and event.block_id in (_MODEL, files[0]):
            raise _error(event.code, event.sentence)
    return tuple(events)


def _block(name: str, file: Path, shapes: Dict[str, Tuple[int, ...]]) -> JobBlock:
    try:
        return JobBlock(name, str(file), hashlib.sha256(file.read_bytes()).hexdigest(), shapes)
    except OSError as e:
        raise BadInputError(f"cannot read the model {file}: {e.strerror}") from e


def _report(wanted: Examination, found: Sequence[Inspected], events: Sequence[Event]) -> OperatorReport:
    measured = {one.block_id: one for one in measurements_of(events)}
    problems = {event.block_id: event.sentence for event in events if isinstance(event, Failed)}
    hello = next(event for event in events if isinstance(event, Hello))
    wall = _of(measured, _MODEL)
    call_ms = _of(measured, found[0].call).median_ms
    profiled = found[0].calibration is not None
    seen = found[0].operators
    times = _profiled_times(found, measured, call_ms) if profiled else _part_times(seen, measured, call_ms)
    shared = attribute(times, call_ms, wall.median_ms)
    low, high, confidence = wall.interval_ms
    walls_us = sorted(one.profiled_wall_us for one in found if one.profiled_wall_us is not None)
    costs = zip(seen, times, shared.estimates)
    return OperatorReport(
        model=wanted.model.name,
        model_sha256=_block(_MODEL, wanted.model, {}).sha256,
        agent_version=hello.agent_version,
        created_unix_s=time.time(),
        key=hello.key,
        environment=hello.environment,
        settings=hello.settings,
        input_shapes=wanted.input_shapes,
        method="profile" if profiled else "parts",
        wall_ms=wall.median_ms,
        wall_interval_ms=(low, high),
        wall_confidence=confidence,
        wall_rounds=len(wall.rounds),
        wall_converged=wall.converged(hello.settings.target_half_width_pct),
        call_ms=shared.call,
        operators=tuple(_cost(one, raw, estimate, wall.median_ms, problems) for one, raw, estimate in costs),
        unattributed_ms=shared.unattributed,
        profiled_wall_ms=walls_us[len(walls_us) // 2] / _US_PER_MS if walls_us else None,
        additivity=shared.additivity,
        warnings=tuple(event.sentence for event in events if isinstance(event, Warned)),
    )


def _of(measured: Dict[str, Measurement], name: str) -> Measurement:
    if name not in measured:
        raise AgentError("the model was not measured")
    return measured[name]


def _profiled_times(
    found: Sequence[Inspected], measured: Dict[str, Measurement], call_ms: float
) -> Tuple[Optional[float], ...]:
    """Return each operator's time in the profiles, what the profiler adds taken off, in ms: medians over processes."""
    by_process = []
    for one in found:
        chain = one.calibration
        if chain is None or chain.file not in measured:
            raise AgentError("the profiler could not be calibrated")
        chain_ms = measured[chain.file].median_ms
        cost_us = _US_PER_MS * profiler_cost(chain.profiled_us / _US_PER_MS, chain_ms, call_ms, chain.nodes)
        by_process.append([max(0.0, (each.profiled_us or 0.0) - cost_us) / _US_PER_MS for each in one.operators])
    return tuple(sorted(times)[len(times) // 2] for times in zip(*by_process))


def _part_times(
    seen: Sequence[SeenOperator], measured: Dict[str, Measurement], call_ms: float
) -> Tuple[Optional[float], ...]:
    """Return each operator's time as a model of its own, the call taken off, in ms; None where it has none."""

    def own_ms(name: Optional[str]) -> Optional[float]:
        known = None if name is None else measured.get(name)
        return None if known is None else max(0.0, known.median_ms - call_ms)

    times = [own_ms(one.part) for one in seen]
    for main, operator in enumerate(seen):
        alone, together = times[main], own_ms(operator.group)
        satellites = [index for index, one in enumerate(seen) if one.fused_into == main]
        if alone is not None and together is not None and satellites:
            times[main], each = fused_times(alone, together, len(satellites))
            for index in satellites:
                times[index] = each
    return tuple(times)


def _cost(
    seen: SeenOperator, raw_ms: Optional[float], estimate_ms: Optional[float], wall_ms: float, problems: Dict[str, str]
) -> OperatorCost:
    problem = None
    if estimate_ms is None:
        problem = seen.problem or problems.get(seen.part or "") or "it was not measured"
    return OperatorCost(
        name=seen.name,
        operation=seen.operation,
        provider=seen.provider,
        inputs=seen.inputs,
        outputs=seen.outputs,
        attributes=seen.attributes,
        raw_ms=raw_ms,
        estimate_ms=estimate_ms,
        share_pct=None if estimate_ms is None else 100 * estimate_ms / wall_ms,
        fused_into=seen.fused_into,
        problem=problem,
    )
