"""Training the models of all types of kernels that a dataset holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from searcher.cost_models.conformal import networks_for
from searcher.cost_models.kernels.fit import fit_kernel_model
from searcher.cost_models.kernels.kernel_model import KernelModel
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.errors import BadInputError
from searcher.spaces.kernels import kernel_type


@dataclass(frozen=True)
class TrainedType:
    """What became of one type of kernel.

    Attributes:
        name: of the type.
        points: how many kernels of it there were.
        model: None where there is none.
        left_out: why there is none; else None.
    """

    name: str
    points: int
    model: KernelModel | None
    left_out: str | None


def train_types(kernels: Sequence[MeasuredKernel], confidence: float, seed: int) -> Iterator[TrainedType]:
    """Train the model of each type, in alphabetical order, and yield it when it is ready.

    Types with too few kernels are left out, with the reason: a predictor refuses such kernels.

    Args:
        kernels: measured under one table key.
        confidence: of the intervals, between 0 and 1.
        seed: of everything random.

    Raises:
        BadInputError: the confidence is no share, or a kernel's operation is unknown.
    """
    # Refused before anything is fitted.
    networks_for(confidence)
    by_type: dict[str, list[MeasuredKernel]] = {}
    for kernel in kernels:
        by_type.setdefault(kernel_type(kernel.spec), []).append(kernel)
    for name in sorted(by_type):
        # In an order of their own, so that the order of a file's rows changes nothing.
        rows = sorted(by_type[name], key=lambda one: (one.spec.key, one.latency_ms))
        try:
            yield TrainedType(name, len(rows), fit_kernel_model(rows, confidence, seed), None)
        except BadInputError as e:
            yield TrainedType(name, len(rows), None, str(e))
