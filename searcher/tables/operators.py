"""The operators of measured models become a table, or rows of a dataset.

What an entry holds is an estimate: the operator's share of its models' latency, as `agent ops` told it. It was not
measured alone, and it does not hold the runtime's call, which is an entry of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.records import OperatorCost, OperatorReport, RecordError, TensorType, parse_operator_report
from searcher.artifacts import sha256_of
from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD
from searcher.tables.flat_rows import csv_text
from searcher.tables.lookup_table import Entry, LookupTable, Provenance, require_same_key

SPACE = "operators"
_MS_DIGITS = 6  # down to 1 ns
_ONE_NS_MS = 1e-6
_SHORT_DTYPES = {"float32": "fp32", "float16": "fp16"}
COLUMNS = (
    *("model", "model_sha256", "device_key", "runtime", "runtime_version", "optimization", "threads", "precision"),
    *("operation", "provider", "dtype", "input_shapes", "weight_shapes", "output_shapes"),
    *("kernel", "strides", "padding", "dilations", "groups", "activation", "latency_ms", "share_pct", "key"),
)
# An attribute under the names that ONNX and TFLite give it.
_ATTRIBUTES = {
    "kernel": ("kernel_shape", "kernel"),
    "strides": ("strides",),
    "padding": ("pads", "padding"),
    "dilations": ("dilations",),
    "groups": ("group", "groups"),
    "activation": ("activation",),
}


@dataclass(frozen=True)
class Source:
    """A report of `agent ops`, and the hash of the file that it was read from."""

    report: OperatorReport
    sha256: str


def read_sources(files: Sequence[Path]) -> tuple[Source, ...]:
    """Read reports.

    Raises:
        BadInputError: a file cannot be read or is no report, or they are of different keys.
    """
    sources = tuple(_read(file) for file in files)
    for file, source in zip(files, sources, strict=True):
        try:
            require_same_key(sources[0].report.key, source.report.key)
        except BadInputError as e:
            raise BadInputError(f"{file} does not mix with {files[0]}: {e}") from e
    return sources


def _read(file: Path) -> Source:
    try:
        return Source(parse_operator_report(file.read_text(encoding="utf-8")), sha256_of(file))
    except (OSError, UnicodeDecodeError) as e:
        raise BadInputError(f"cannot read the report {file}: {getattr(e, 'strerror', None) or e}") from e
    except RecordError as e:
        raise BadInputError(f"{file} is no report of agent ops: {e}") from e


def operator_key(operator: OperatorCost) -> str:
    """Return what an operator computes as a name: `operation[attributes]-inputs-toOUTPUTS-dtype`.

    Constants count by their shapes, in brackets: `Conv[group=1;...]-1x16x32x32(16x16x3x3)-to1x16x32x32-fp32`.
    """
    attributes = ";".join(f"{name}={value}" for name, value in sorted(operator.attributes.items()))
    constants = "+".join(_shape(one) for one in operator.inputs if one.constant)
    inputs = "+".join(_shape(one) for one in operator.inputs if not one.constant)
    outputs = "+".join(_shape(one) for one in operator.outputs)
    fused = "-fused" if operator.fused_into is not None else ""
    head = f"{operator.operation}[{attributes}]-{inputs}" + (f"({constants})" if constants else "")
    return f"{head}-to{outputs}{fused}-{_dtype(operator)}"


def operator_table(sources: Sequence[Source], device: str, created: str) -> LookupTable:
    """Merge equal operators of several models: an entry is the median of their estimates.

    Args:
        sources: reports of one key, at least one.
        device: how the user calls the device.
        created: UTC date and time, ISO 8601.

    Raises:
        BadInputError: no operator has an estimate.
    """
    found: dict[str, list[tuple[OperatorCost, float, Source]]] = {}
    for source in sources:
        for operator in source.report.operators:
            if operator.estimate_ms is not None:
                found.setdefault(operator_key(operator), []).append((operator, operator.estimate_ms, source))
    if not found:
        raise BadInputError("no operator of these models has an estimate")
    calls = [source.report.call_ms for source in sources]
    entries = {key: _entry(members) for key, members in found.items()}
    entries[CALL_OVERHEAD.key] = _summed(calls, sources, ())
    first = sources[0].report
    return LookupTable(
        space=SPACE,
        key=first.key,
        environment=first.environment,
        provenance=Provenance(
            created=created,
            device=device,
            agent_version=first.agent_version,
            journal_sha256=None,
            versions={},
            estimated_from={source.report.model: source.sha256 for source in sources},
        ),
        entries=dict(sorted(entries.items())),
    )


def _entry(members: Sequence[tuple[OperatorCost, float, Source]]) -> Entry:
    return _summed(
        [estimate_ms for _, estimate_ms, _ in members],
        [source for _, _, source in members],
        (members[0][0].operation,),
    )


def _summed(estimates_ms: Sequence[float], sources: Sequence[Source], operations: tuple[str, ...]) -> Entry:
    """Return an entry whose interval is the range of the estimates: they are too dependent for any other."""
    # An estimate may be zero where nothing could be told apart; a latency never is.
    low, middle, high = (
        max(_ONE_NS_MS, round(one, _MS_DIGITS))
        for one in (min(estimates_ms), statistics.median(estimates_ms), max(estimates_ms))
    )
    return Entry(
        median_ms=middle,
        interval_ms=(low, high),
        confidence=0.0,
        rounds=min(source.report.wall_rounds for source in sources),
        samples=len(estimates_ms),
        converged=all(source.report.wall_converged for source in sources),
        operations=operations,
        model_sha256=sources[0].report.model_sha256,
        occurrences=len(estimates_ms),
    )


def operator_rows(sources: Sequence[Source]) -> str:
    """Return a dataset as CSV: one row for each operator that has an estimate, a head before them."""
    return csv_text(
        COLUMNS,
        (
            _row(source.report, one)
            for source in sources
            for one in source.report.operators
            if one.estimate_ms is not None
        ),
    )


def _row(report: OperatorReport, operator: OperatorCost) -> Mapping[str, object]:
    known = {
        column: next((operator.attributes[name] for name in names if name in operator.attributes), "")
        for column, names in _ATTRIBUTES.items()
    }
    if not known["kernel"] and "Conv" in operator.operation and len(operator.inputs) > 1:
        known["kernel"] = ",".join(map(str, operator.inputs[1].shape[2:]))
    key = report.key
    return {
        "model": report.model,
        "model_sha256": report.model_sha256,
        "device_key": key.device_fingerprint,
        "runtime": key.runtime,
        "runtime_version": key.runtime_version,
        "optimization": key.optimization,
        "threads": key.threads,
        "precision": key.precision,
        "operation": operator.operation,
        "provider": operator.provider,
        "dtype": _dtype(operator),
        "input_shapes": "+".join(_shape(one) for one in operator.inputs if not one.constant),
        "weight_shapes": "+".join(_shape(one) for one in operator.inputs if one.constant),
        "output_shapes": "+".join(_shape(one) for one in operator.outputs),
        **known,
        "latency_ms": round(operator.estimate_ms or 0.0, _MS_DIGITS),
        "share_pct": round(operator.share_pct or 0.0, 4),
        "key": operator_key(operator),
    }


def _shape(tensor: TensorType) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _dtype(operator: OperatorCost) -> str:
    dtypes = [one.dtype for one in (*operator.inputs, *operator.outputs)]
    return _SHORT_DTYPES.get(dtypes[0], dtypes[0]) if dtypes else "none"
