"""What a job of drawn kernels measured, as rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from profiler_agent.records import Measurement
from searcher.artifacts import ExportedModel
from searcher.cost_models.adaptive_drawing import DrawnKernel
from searcher.devices.answers import JobResult, MeasurementFailedError
from searcher.spaces.block import CALL_OVERHEAD
from searcher.tables.dataset import KernelRow

TOO_MANY_IN_VAIN = 5
"""Of fewer kernels each may be an odd one; of so many that fail, the device or their type is to blame."""
_MS_DIGITS = 6  # down to 1 ns


def rows_of_job(
    result: JobResult,
    models: Sequence[ExportedModel],
    chosen: Sequence[DrawnKernel],
    drawing_round: int,
) -> list[KernelRow]:
    """Return the rows of one job; a kernel that could not be measured has none.

    Args:
        result: the whole job, the call that computes nothing among its models.
        models: its files.
        chosen: the kernels.
        drawing_round: in which they were drawn.

    Raises:
        MeasurementFailedError: the machine did not stay as it was set, or nothing of it could be measured: no call, or
            none of many kernels.
    """
    # A kernel that a runtime cannot compute is told on the card; the others are as good as before.
    replace(result, failures=()).require_complete()
    measurements = {one.block_id: one for one in result.measurements}
    call = measurements.get(CALL_OVERHEAD.in_dtype(result.hello.key.precision).key)
    in_vain = len(measurements) == 1 and (len(chosen) >= TOO_MANY_IN_VAIN or not result.failures)
    if call is None or in_vain:
        result.require_complete()
        raise MeasurementFailedError("the device measured nothing, and nobody said why")
    hashes = {model.name: model.sha256 for model in models}
    return [
        _row(measurements[one.spec.key], one, call, result, hashes[one.spec.key], drawing_round)
        for one in chosen
        if one.spec.key in measurements
    ]


def _row(
    measurement: Measurement,
    drawn: DrawnKernel,
    call: Measurement,
    result: JobResult,
    model_sha256: str,
    drawing_round: int,
) -> KernelRow:
    low, high, confidence = measurement.interval_ms
    sentinel_ns = result.done.sentinel_ns
    try:
        return KernelRow(
            spec=drawn.spec,
            key=result.hello.key,
            latency_ms=round(measurement.median_ms, _MS_DIGITS),
            call_ms=round(call.median_ms, _MS_DIGITS),
            interval_ms=(round(low, _MS_DIGITS), round(high, _MS_DIGITS)),
            confidence=round(confidence, 4),
            rounds=len(measurement.rounds),
            samples=measurement.sample_count,
            converged=measurement.converged(result.hello.settings.target_half_width_pct),
            operations=measurement.operations,
            model_sha256=model_sha256,
            origin=drawn.origin,
            drawing_round=drawing_round,
            predicted_ms=None if drawn.predicted_ms is None else round(drawn.predicted_ms, _MS_DIGITS),
            sentinel_ms=None if sentinel_ns is None else round(sentinel_ns / 1e6, _MS_DIGITS),
            job=result.hello.job_id,
        )
    except ValueError as e:
        raise MeasurementFailedError(f"the measurement of {drawn.spec.key} cannot be used: {e}") from e
