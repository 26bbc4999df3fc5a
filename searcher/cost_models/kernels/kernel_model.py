"""The latency model of one type of kernel, as it is kept and as it answers.

    latency + start = (baseline + start) · exp(correction)

The baseline is linear in the kernel's work (`terms`); the correction is a smooth function of the logarithms of its
sizes, boosted trees on them, the mean of both, or nothing, whichever predicted kernels best that it had not seen.
`start`, a small part of the runtime's call, makes errors relative for what takes long and absolute for what takes next
to nothing, which no measurement tells better.

The interval spans `reach` times the kernel's deviation on both sides of that logarithm: of kernels that the model had
not seen, as many lay within as the confidence asks for. The deviation is the smooth function's own, which says where it
knows less (1 without one), times the spread that such kernels had. All of these were measured in one session, and what
is predicted will be measured in another: `session` is added to both sides for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from searcher.cost_models.kernels.baseline import Floats, baseline_ms
from searcher.cost_models.kernels.features import ACTIVATED, SIZES, logarithms, matrix, outside, sizes
from searcher.cost_models.kernels.smooth import Smooth
from searcher.cost_models.kernels.spread import Spread
from searcher.cost_models.kernels.terms import MINOR, terms
from searcher.cost_models.kernels.trees import Trees
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec

Form = Literal["baseline", "trees", "smooth", "average"]
FORMS: tuple[Form, ...] = get_args(Form)
LEAST_MS = 1e-6
"""No kernel takes less than 1 ns."""
SESSION = 0.015
"""By how much logarithms of the same latencies differ from one session to the next."""
# Beyond it a correction is no correction.
_MOST_CORRECTION = 20.0


class UnknownKernelError(BadInputError):
    """A predictor was not trained on kernels like this one."""


@dataclass(frozen=True)
class Estimate:
    """What a kernel is expected to take by itself, without the runtime's call.

    Attributes:
        latency_ms: in ms, positive.
        interval_ms: in which it lies with the predictor's confidence, in ms, positive.
    """

    latency_ms: float
    interval_ms: tuple[float, float]


def summed(kernels: Sequence[Estimate]) -> Estimate:
    """Return what kernels take together, end by end: errors of kernels that are alike do not average out."""
    return Estimate(
        math.fsum(one.latency_ms for one in kernels),
        (math.fsum(one.interval_ms[0] for one in kernels), math.fsum(one.interval_ms[1] for one in kernels)),
    )


@dataclass(frozen=True)
class Judgement:
    """How well a model predicted kernels that it had not seen: its own, in parts, each predicted from the others.

    Latencies are compared with the call.

    Attributes:
        points: how many kernels.
        groups: of near-duplicates, which are predicted together.
        within_5: share predicted within ±5%.
        within_10: share predicted within ±10%.
        median_error_pct: median of the errors' sizes, in percent.
        mean_log_error: by form, the mean size of the error's logarithm, no single one counting more than 0.5.
    """

    points: int
    groups: int
    within_5: float
    within_10: float
    median_error_pct: float
    mean_log_error: Mapping[Form, float]


@dataclass(frozen=True)
class KernelModel:
    """The model of one type of kernel.

    Attributes:
        form: of its correction.
        start_ms: see the module.
        prices_ms: what one unit of each kind of work takes, in ms; of works that it never met it says nothing.
        ranges: the lowest and the highest value of each size in what it was trained on.
        activations: fused ones that it was trained on, the empty text for none.
        features: that the correction looks at, in their order.
        smooth: None if the form needs none.
        trees: None if the form needs none.
        spread: how far errors go.
        reach: half-width of the interval, in deviations.
        session: added to that half-width: by how much latencies differ from one session to the next.
        judged: how it was judged.
    """

    form: Form
    start_ms: float
    prices_ms: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    activations: tuple[str, ...]
    features: tuple[str, ...]
    smooth: Smooth | None
    trees: Trees | None
    spread: Spread
    reach: float
    session: float
    judged: Judgement

    def __post_init__(self) -> None:
        """Refuse what no answer can be worked out from.

        Raises:
            ValueError: parts are missing or do not fit each other, or a price is negative.
        """
        if (self.smooth is None) != (self.form in ("baseline", "trees")):
            raise ValueError(f"a model of the form {self.form!r} has {'a' if self.smooth else 'no'} smooth function")
        if (self.trees is None) != (self.form in ("baseline", "smooth")):
            raise ValueError(f"a model of the form {self.form!r} has {'some' if self.trees else 'no'} trees")
        if not (
            self.start_ms > 0
            and self.reach > 0
            and self.session >= 0
            and all(price >= 0 for price in self.prices_ms.values())
        ):
            raise ValueError("a start and a reach are positive, and prices are not negative")
        if set(self.ranges) != set(SIZES) or any(low > high for low, high in self.ranges.values()):
            raise ValueError("a model says what it was trained on: from a low to a high of each size")
        if len(self.spread.slopes) != len(self.features):
            raise ValueError(f"a spread has a slope for each of the {len(self.features)} features")
        if self.smooth is not None:
            self.smooth.require_features(len(self.features))
        if self.trees is not None:
            self.trees.require_features(len(self.features))

    def require_known(self, spec: BlockSpec) -> None:
        """Refuse a kernel unlike those that the model was trained on.

        Raises:
            UnknownKernelError: a size is out of its range, or its activation is another.
        """
        if (spec.activation or "") not in self.activations:
            known = ", ".join(one or "none" for one in self.activations)
            raise UnknownKernelError(f"{spec.key} is not predicted: its activation was not trained on, only {known}")
        strange = outside(sizes(spec), self.ranges)
        if strange is not None:
            raise UnknownKernelError(f"{spec.key} is not predicted: {strange} in what was trained on")
        priced = {*self.prices_ms, *MINOR}
        new = [name for name, amount in terms(spec).items() if amount > 0 and name not in priced]
        if new:
            raise UnknownKernelError(f"{spec.key} is not predicted: nothing trained on has work of the kind {new[0]}")

    def estimates(self, specs: Sequence[BlockSpec]) -> list[Estimate]:
        """Return what kernels of the type are expected to take.

        Raises:
            UnknownKernelError: one is unlike those that the model was trained on.
        """
        for spec in specs:
            self.require_known(spec)
        if not specs:
            return []
        baselines = np.array([baseline_ms(self.prices_ms, terms(spec)) for spec in specs])
        features = self._features(specs)
        correction, deviations = self._correction(features), self._deviations(features)
        middle = np.log(baselines + self.start_ms) + np.clip(correction, -_MOST_CORRECTION, _MOST_CORRECTION)
        half = np.minimum(self.reach * deviations + self.session, _MOST_CORRECTION)
        found = [np.exp(middle + side * half) - self.start_ms for side in (-1.0, 0.0, 1.0)]
        bounded = np.maximum(np.stack(found, axis=1), LEAST_MS).tolist()
        return [Estimate(latency, (low, high)) for low, latency, high in bounded]

    def _deviations(self, features: Floats) -> Floats:
        spreads = self.spread.values(features)
        return spreads if self.smooth is None else spreads * self.smooth.deviations(features)

    def _features(self, specs: Sequence[BlockSpec]) -> Floats:
        activations = [name.removeprefix(ACTIVATED) for name in self.features if name.startswith(ACTIVATED)]
        try:
            return matrix([logarithms(spec, activations) for spec in specs], self.features)
        except KeyError as e:
            raise BadInputError(f"this version knows no feature {e} of kernels, which the predictor looks at") from e

    def _correction(self, features: Floats) -> Floats:
        parts = [part.values(features) for part in (self.smooth, self.trees) if part is not None]
        return sum(parts, np.zeros(len(features))) / max(len(parts), 1)


def log_own(own_ms: Floats, start_ms: float) -> Floats:
    """Return the logarithms of latencies plus the start, in ms; noise may have made some latencies negative."""
    return np.asarray(np.log(np.maximum(own_ms, -start_ms / 2) + start_ms), dtype=np.float64)
