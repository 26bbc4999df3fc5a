"""Kernel predictors: what every kernel of a type takes on one device, told by models that were trained on a dataset.

A predictor answers for kernels like those that it was trained on, and refuses all others: it never says 0 for what it
does not know.

History of the schema:
3: transpositions are copies of channels, and what outgrows 8 MiB has a price of its own.
2: works of convolutions are other amounts, so that prices mean something else.
1: the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.cost_models.kernels.kernel_model import Estimate, KernelModel, UnknownKernelError, summed
from searcher.cost_models.kernels.whole_networks import NetworkCorrection
from searcher.documents import Document
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_type

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class PredictorFile:
    """A kernel predictor, complete: nothing else is needed to predict.

    Attributes:
        created: UTC date and time, ISO 8601.
        key: conditions of all measurements.
        dataset: name of the dataset's file.
        dataset_sha256: hash of its bytes.
        versions: of the packages that trained the models.
        seed: of everything random in the training.
        confidence: of the intervals of single kernels.
        call_ms: what one call of the runtime takes, in ms.
        sentinel_ms: latency of the agent's sentinel when the kernels were measured, in ms; None if unknown.
        kernels: the model of each type of kernel.
        left_out: types of the dataset that have no model, and why.
        trained_on: keys of the blocks of the dataset that models were trained on, sorted.
        networks: what whole networks take beyond their kernels; None before any were measured.
    """

    created: str
    key: TableKey
    dataset: str
    dataset_sha256: str
    versions: Mapping[str, str]
    seed: int
    confidence: float
    call_ms: float
    sentinel_ms: float | None
    kernels: Mapping[str, KernelModel]
    left_out: Mapping[str, str]
    trained_on: tuple[str, ...]
    networks: NetworkCorrection | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse what nothing can be predicted from.

        Raises:
            ValueError: there is no model, the confidence is no share, or a latency is not positive.
        """
        if not self.kernels:
            raise ValueError("a predictor has the model of one type of kernel at least")
        if not 0 < self.confidence < 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")
        if not all(0 < one < math.inf for one in (self.call_ms, self.sentinel_ms or 1.0)):
            raise ValueError("the latencies of a call and of a sentinel are positive")


PREDICTOR_DOCUMENT = Document(
    PredictorFile, "kernel predictor", SCHEMA_VERSION, "searcher predictor train makes another of the dataset"
)


@dataclass(frozen=True)
class NetworkEstimate:
    """What a network is expected to take: one call of the runtime, its kernels one after the other, and what both miss.

    Attributes:
        latency_ms: in ms.
        interval_ms: in which it lies with the predictor's confidence, as networks have shown that were measured whole;
            where none were, the call plus the lows, and the call plus the highs, of all kernels, in ms: errors of
            kernels that are alike do not average out.
        kernels: what each kernel takes beside the call, in their order.
        fitted: whether networks that were measured whole told latency and interval; else they are sums.
    """

    latency_ms: float
    interval_ms: tuple[float, float]
    kernels: tuple[Estimate, ...]
    fitted: bool


class KernelPredictor:
    """Tells what kernels take on one device, under one table key."""

    def __init__(self, file: PredictorFile) -> None:
        self._file = file

    @classmethod
    def load(cls, path: Path) -> KernelPredictor:
        """Read a predictor's file.

        Raises:
            BadInputError: it cannot be read or is no kernel predictor.
        """
        return cls(PREDICTOR_DOCUMENT.load(path))

    @property
    def file(self) -> PredictorFile:
        """All that is known of the predictor."""
        return self._file

    @property
    def key(self) -> TableKey:
        """Conditions under which the predictions hold."""
        return self._file.key

    @property
    def call_ms(self) -> float:
        """What one call of the runtime takes, in ms."""
        return self._file.call_ms

    @property
    def sentinel_ms(self) -> float | None:
        """Latency of the agent's sentinel when the kernels were measured, in ms; None if unknown."""
        return self._file.sentinel_ms

    @property
    def confidence(self) -> float:
        """Share of kernels whose latency lies in their interval."""
        return self._file.confidence

    def estimate(self, spec: BlockSpec) -> Estimate:
        """Return what a kernel takes by itself, without the runtime's call.

        Raises:
            UnknownKernelError: the predictor was not trained on kernels like this one.
        """
        return self.estimates([spec])[0]

    def estimates(self, specs: Sequence[BlockSpec]) -> list[Estimate]:
        """Return what each kernel takes by itself, in their order; many at once take little longer than one.

        Raises:
            UnknownKernelError: the predictor was not trained on kernels like one of them.
        """
        by_type: dict[str, list[int]] = {}
        for index, spec in enumerate(specs):
            self._model_of(spec)
            by_type.setdefault(kernel_type(spec), []).append(index)
        found: dict[int, Estimate] = {}
        for name, indices in by_type.items():
            told = self._file.kernels[name].estimates([specs[index] for index in indices])
            found.update(zip(indices, told, strict=True))
        return [found[index] for index in range(len(specs))]

    def network(self, specs: Sequence[BlockSpec]) -> NetworkEstimate:
        """Return what a network of these kernels takes, the runtime's call included.

        Raises:
            UnknownKernelError: the predictor was not trained on kernels like one of them.
        """
        kernels = tuple(self.estimates(specs))
        correction = self._file.networks
        if correction is not None and len(specs) > 1:
            latency_ms = correction.latency_ms(self.call_ms, specs, [one.latency_ms for one in kernels])
            ratio = correction.ratio(self.confidence)
            return NetworkEstimate(latency_ms, (latency_ms / ratio, latency_ms * ratio), kernels, fitted=True)
        own, call_ms = summed(kernels), self.call_ms
        interval_ms = (call_ms + own.interval_ms[0], call_ms + own.interval_ms[1])
        return NetworkEstimate(call_ms + own.latency_ms, interval_ms, kernels, fitted=False)

    def _model_of(self, spec: BlockSpec) -> KernelModel:
        name = kernel_type(spec)
        if spec.dtype != self.key.precision:
            raise UnknownKernelError(f"{spec.key} is not predicted: the predictor was trained on {self.key.precision}")
        if name not in self._file.kernels:
            why = self._file.left_out.get(name, f"it was trained on {', '.join(sorted(self._file.kernels))} alone")
            raise UnknownKernelError(
                f"{spec.key} is not predicted: the predictor has no model of the type {name}: {why}"
            )
        return self._file.kernels[name]
