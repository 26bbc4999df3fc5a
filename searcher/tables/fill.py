"""Measurements become a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profiler_agent.records import Costs, Measurement
from searcher.artifacts import ExportedModel
from searcher.devices.answers import JobResult, MeasurementFailedError
from searcher.tables.lookup_table import Entry, LookupTable, Provenance

_MS_DIGITS = 6  # down to 1 ns


def fill_table(
    space: str,
    device: str,
    created: str,
    result: JobResult,
    models: Sequence[ExportedModel],
    versions: Mapping[str, str],
    journal_sha256: str,
    calibration: str | None = None,
) -> LookupTable:
    """Fill a table from one job.

    Args:
        space: name of the search space whose blocks these are.
        device: how the user reached the device.
        created: UTC date and time, ISO 8601.
        result: the whole job.
        models: the exported blocks; their names are the blocks' keys.
        versions: of the packages that exported them.
        journal_sha256: hash of the journal's bytes.
        calibration: what the blocks were calibrated on; None for fp32.

    Raises:
        MeasurementFailedError: a block could not be measured, or what was measured is no latency.
    """
    result.require_complete()
    files = {model.name: model for model in models}
    missing = files.keys() - {measurement.block_id for measurement in result.measurements}
    if missing:
        raise MeasurementFailedError(f"{min(missing)} was not measured, and nobody said why")
    costs = {event.block_id: event for event in result.events if isinstance(event, Costs)}
    sentinel_ns, floor_pct = result.done.sentinel_ns, result.done.noise_floor_pct
    target = result.hello.settings.target_half_width_pct
    return LookupTable(
        space=space,
        key=result.hello.key,
        environment=result.hello.environment,
        provenance=Provenance(
            created=created,
            device=device,
            agent_version=result.hello.agent_version,
            journal_sha256=journal_sha256,
            versions=dict(versions),
            calibration=calibration,
        ),
        entries={
            measurement.block_id: _entry(
                measurement, target, files[measurement.block_id], costs.get(measurement.block_id)
            )
            # Sorted, so that the difference of two tables shows what changed and not what came first.
            for measurement in sorted(result.measurements, key=lambda one: one.block_id)
        },
        sentinel_ms=None if sentinel_ns is None else round(sentinel_ns / 1e6, _MS_DIGITS),
        noise_floor_pct=None if floor_pct is None else round(floor_pct, 3),
    )


def _entry(measurement: Measurement, target_half_width_pct: float, model: ExportedModel, costs: Costs | None) -> Entry:
    low, high, confidence = measurement.interval_ms
    try:
        return Entry(
            median_ms=round(measurement.median_ms, _MS_DIGITS),
            interval_ms=(round(low, _MS_DIGITS), round(high, _MS_DIGITS)),
            confidence=round(confidence, 4),
            rounds=len(measurement.rounds),
            samples=measurement.sample_count,
            converged=measurement.converged(target_half_width_pct),
            operations=measurement.operations,
            model_sha256=model.sha256,
            numerical_error=model.numerical_error,
            peak_memory_bytes=None if costs is None else costs.peak_memory_bytes,
            file_bytes=None if costs is None else costs.file_bytes,
            energy_mj=None if costs is None else costs.energy_mj,
        )
    except ValueError as e:
        raise MeasurementFailedError(f"the measurement of {measurement.block_id} cannot be used: {e}") from e
