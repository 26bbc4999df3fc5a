"""A dataset of kernels: what each took on a device, from which models learn what others take.

One row is one kernel under one table key; a file may hold rows of several keys. Every row repeats its schema version,
so that rows of several files can stand in one of the reader's own.
History of the schema: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from profiler_agent.records import RecordError, TableKey
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.block_key import block_of_key
from searcher.spaces.kernels import FEATURES, kernel_features, kernel_type
from searcher.tables.dataset_groups import groups_of

SCHEMA_VERSION = 1
RANDOM, ENDS, NEAR_ERROR, SPACE, OPERATORS = "random", "ends", "near_error", "space", "operators"
ORIGINS = (RANDOM, ENDS, NEAR_ERROR, SPACE, OPERATORS)

_KEY_COLUMNS = tuple(field.name for field in dataclasses.fields(TableKey))
_ENDS = ("interval_low_ms", "interval_high_ms")
_MEASURED = (
    *("latency_ms", "call_ms", *_ENDS, "confidence", "rounds", "samples", "converged", "operations"),
    *("model_sha256", "sentinel_ms", "job", "origin", "drawing_round", "predicted_ms"),
)
COLUMNS = ("schema_version", "block", "type", *FEATURES, *_MEASURED, "group", *_KEY_COLUMNS)
"""Columns of a dataset, in their order."""


@dataclass(frozen=True)
class KernelRow:
    """What one kernel took.

    Attributes:
        spec: the kernel, in the number type of the key.
        key: conditions of the measurement.
        latency_ms: median latency of one inference, in ms: with the runtime's call, but of an estimate without.
        call_ms: what a call that computes nothing took in the same job, in ms; None for an estimate, which has none.
        interval_ms: distribution-free interval of the median, in ms; None for an estimate.
        confidence: the probability that the interval covers it; 0 for an estimate.
        rounds: fresh processes that measured it, or the model that it is a part of.
        samples: raw samples over all rounds; of an estimate the rounds once more.
        converged: whether the interval is as narrow as the job asked.
        operations: operators of the graph as the runtime optimised it.
        model_sha256: hash of the model file that was measured.
        origin: why it is there, one of ORIGINS: drawn over the whole domain; chosen for an extreme size; drawn near a
            kernel whose prediction was wrong; drawn at or near a kernel of a search space; or estimated from a whole
            model's operators.
        drawing_round: in which round of a build it was drawn, from 0.
        predicted_ms: what a model fitted to all earlier rounds told of `latency_ms` before it was measured; None in the
            first round, and for estimates.
        sentinel_ms: latency of the agent's sentinel in that job, in ms; None if unknown.
        job: identity of the job; of an estimate, the name of the model.

    Raises:
        ValueError: a value is out of its range.
    """

    spec: BlockSpec
    key: TableKey
    latency_ms: float
    call_ms: float | None
    interval_ms: tuple[float, float] | None
    confidence: float
    rounds: int
    samples: int
    converged: bool
    operations: tuple[str, ...]
    model_sha256: str
    origin: str
    drawing_round: int = 0
    predicted_ms: float | None = None
    sentinel_ms: float | None = None
    job: str = ""

    def __post_init__(self) -> None:
        _require_positive("latency_ms", self.latency_ms)
        for name, value in (("call_ms", self.call_ms), ("predicted_ms", self.predicted_ms)):
            if value is not None:
                _require_positive(name, value)
        if self.sentinel_ms is not None:
            _require_positive("sentinel_ms", self.sentinel_ms)
        if self.interval_ms is not None:
            low, high = self.interval_ms
            if not (math.isfinite(high) and 0 < low <= high):
                raise ValueError(f"an interval goes from a positive low to a high, not from {low} to {high} ms")
        if self.origin not in ORIGINS:
            raise ValueError(f"an origin is one of {', '.join(ORIGINS)}, not {self.origin!r}")
        if self.estimated != (self.call_ms is None) or self.estimated != (self.interval_ms is None):
            raise ValueError("estimates have neither a call nor an interval, and measurements have both")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")
        if self.rounds < 1 or self.samples < 1 or self.drawing_round < 0:
            raise ValueError(f"nothing was measured in {self.rounds} rounds with {self.samples} samples")
        if self.spec.dtype != self.key.precision:
            raise ValueError(f"the block computes in {self.spec.dtype}, its key tells of {self.key.precision}")

    @property
    def estimated(self) -> bool:
        """Whether the latency is an operator's share of a whole model, which was not measured alone."""
        return self.origin == OPERATORS

    @property
    def own_ms(self) -> float:
        """The kernel's own latency without the call, in ms; not positive where it drowns in the call's noise."""
        return self.latency_ms - (self.call_ms or 0.0)

    @property
    def kernel_type(self) -> str:
        """Type of the kernel."""
        return kernel_type(self.spec)

    @property
    def error_pct(self) -> float | None:
        """100 · (predicted - measured) / measured, of the prediction beforehand; None where there is none."""
        return None if self.predicted_ms is None else 100 * (self.predicted_ms / self.latency_ms - 1)


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is a positive number, not {value}")


_ROW = TypeAdapter(KernelRow)
_VERSION = TypeAdapter(int)


def flat_rows(rows: Sequence[KernelRow]) -> list[dict[str, Any]]:
    """Return rows by COLUMNS, with the groups of near-duplicates that they form together; unknown values are None."""
    groups = groups_of([row.spec for row in rows]).tolist()
    return [_flat(row, group) for row, group in zip(rows, groups, strict=True)]


def _flat(row: KernelRow, group: int) -> dict[str, Any]:
    low, high = (None, None) if row.interval_ms is None else row.interval_ms
    features = kernel_features(row.spec)
    told = {
        "schema_version": SCHEMA_VERSION,
        "block": row.spec.key,
        "type": row.kernel_type,
        **{name: int(features[name]) for name in FEATURES},
        **{name: getattr(row, name) for name in _MEASURED if hasattr(row, name)},
        **dict(zip(_ENDS, (low, high), strict=True)),
        "operations": json.dumps(list(row.operations), ensure_ascii=False),
        "group": group,
        **{name: getattr(row.key, name) for name in _KEY_COLUMNS},
    }
    return {name: told[name] for name in COLUMNS}


def row_of(flat: Mapping[str, Any]) -> KernelRow:
    """Return what a flat row tells; texts may stand for numbers.

    Args:
        flat: a value for each of COLUMNS, None where nothing is known.

    Raises:
        BadInputError: it is of another schema version, or does not tell a kernel and what it took; the message says
            why, but not where.
    """
    try:
        version = _VERSION.validate_python(flat["schema_version"])
        if version != SCHEMA_VERSION:
            raise BadInputError(f"its schema version is {version}, not {SCHEMA_VERSION}")
        spec = block_of_key(str(flat["block"]))
        _require_own_features(spec, flat)
        plain = {name: flat[name] for name in _MEASURED if name not in _ENDS}
        ends = [flat[name] for name in _ENDS]
        row: KernelRow = _ROW.validate_python(
            {
                **plain,
                "spec": spec,
                "key": {name: flat[name] for name in _KEY_COLUMNS},
                "interval_ms": None if ends == [None, None] else ends,
                "operations": json.loads(flat["operations"] or "null"),
                # What is empty was no text, but a hash or a job's name may be unknown.
                "model_sha256": flat["model_sha256"] or "",
                "job": flat["job"] or "",
            }
        )
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{place or 'it'}: {first['msg'].removeprefix('Value error, ').lower()}") from e
    except (RecordError, TypeError, ValueError, RecursionError) as e:
        raise BadInputError(str(e)) from e
    return row


def _require_own_features(spec: BlockSpec, flat: Mapping[str, Any]) -> None:
    """Refuse sizes that are not those of the block: whoever reads them would learn of another kernel."""
    if flat["type"] != kernel_type(spec):
        raise BadInputError(f"{spec.key} is a {kernel_type(spec)}, not a {flat['type']}")
    for name, value in kernel_features(spec).items():
        try:
            told = float(flat[name])
        except (TypeError, ValueError) as e:
            raise BadInputError(f"{name} is no number: {str(flat[name])[:40]!r}") from e
        if told != value:
            raise BadInputError(f"{name} of {spec.key} is {value:g}, not {told:g}")
