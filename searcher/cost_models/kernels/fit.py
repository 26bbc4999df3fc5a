"""Training the model of one type of kernel: every form is tried on kernels that it has not seen, and the best is kept.

Errors that a prediction must reckon with are those on kernels left out in parts (cross-validation), near-duplicates
together. The reach of intervals is a conformal quantile of them: the ⌈(n+1)·confidence⌉-th smallest of n. Each is of a
model of fewer kernels than the one that is kept, so that intervals are rather too wide; Barber et al. (Annals of
Statistics 49, 2021) tell what such bounds guarantee: in practice the confidence, under the worst distribution less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.conformal import conformal_ratio, networks_for
from searcher.cost_models.kernels.baseline import Floats, baseline_ms, fit_baseline
from searcher.cost_models.kernels.features import logarithms, matrix, ranges, sizes, varying
from searcher.cost_models.kernels.kernel_model import FORMS, SESSION, Form, Judgement, KernelModel, log_own
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.smooth import Smooth, fit_smooth
from searcher.cost_models.kernels.spread import fit_spread
from searcher.cost_models.kernels.terms import terms
from searcher.cost_models.kernels.tree_learner import fit_trees
from searcher.cost_models.kernels.trees import Trees
from searcher.errors import BadInputError

FEWEST_KERNELS = 20
_PARTS = 6
# Of the call: what the agent's measurements of kernels that do next to nothing differ by.
_START = 0.05
# A single kernel that is predicted worse says no more about a form.
_WORST_LOG_ERROR = 0.5
_COMMON_NOISE = 0.02
# A smooth function takes the cube of the number of points.
_MOST_SMOOTH = 2000


@dataclass(frozen=True)
class _Sample:
    """Kernels of one type as arrays: own latencies and calls in ms, (n,) each; features (n, d).

    `noise` is (n,) by how much the logarithm of a latency may be off as its measurement tells.
    """

    rows: tuple[MeasuredKernel, ...]
    works: tuple[dict[str, float], ...]
    own_ms: Floats
    call_ms: Floats
    features: Floats
    noise: Floats
    start_ms: float

    def of(self, chosen: NDArray[np.integer[Any]]) -> _Sample:
        """Return some of the kernels."""
        return _Sample(
            tuple(self.rows[index] for index in chosen),
            tuple(self.works[index] for index in chosen),
            self.own_ms[chosen],
            self.call_ms[chosen],
            self.features[chosen],
            self.noise[chosen],
            self.start_ms,
        )

    def baseline(self, prices_ms: dict[str, float]) -> Floats:
        """Return (n,) logarithms of baseline plus start, in ms."""
        return np.log(np.array([baseline_ms(prices_ms, work) for work in self.works]) + self.start_ms)


@dataclass(frozen=True)
class _Parts:
    """A baseline and the corrections fitted to it; None where the kernels are too many or all alike."""

    prices_ms: dict[str, float]
    smooth: Smooth | None
    trees: Trees | None

    def corrections(self, features: Floats) -> dict[Form, tuple[Floats, Floats]]:
        """Return by form (n,) corrections and (n,) their deviations, in the order of FORMS."""
        nothing, one = np.zeros(len(features)), np.ones(len(features))
        found: dict[Form, tuple[Floats, Floats]] = {"baseline": (nothing, one)}
        if self.trees is not None:
            found["trees"] = (self.trees.values(features), one)
        if self.smooth is not None:
            found["smooth"] = (self.smooth.values(features), self.smooth.deviations(features))
        if self.trees is not None and self.smooth is not None:
            found["average"] = ((found["trees"][0] + found["smooth"][0]) / 2, found["smooth"][1])
        return found


def fit_kernel_model(rows: Sequence[MeasuredKernel], confidence: float, seed: int) -> KernelModel:
    """Train a model.

    Args:
        rows: measured kernels of one type.
        confidence: of the intervals, between 0 and 1.
        seed: of the parts, and of what is random in trees.

    Raises:
        BadInputError: the confidence is no share, or the kernels are too few for it or for any model.
    """
    groups = sorted({row.group for row in rows})
    fewest = max(FEWEST_KERNELS, networks_for(confidence))
    if len(groups) < fewest:
        near = "" if len(groups) == len(rows) else f": near-duplicates among {len(rows)} count once"
        raise BadInputError(f"a model takes {fewest} different kernels, not {len(groups)}{near}")
    sample, names = _sample(rows)
    part_of = _parts_of([row.group for row in rows], np.random.default_rng(seed))
    middles, deviations = _left_out(sample, part_of, seed)
    errors = {form: _relative_errors(sample, middle) for form, middle in middles.items()}
    mean_errors = {form: float(np.minimum(np.abs(error), _WORST_LOG_ERROR).mean()) for form, error in errors.items()}
    form = min(mean_errors, key=lambda one: mean_errors[one])
    surprises = (log_own(sample.own_ms, sample.start_ms) - middles[form]) / deviations[form]
    parts = _fitted(sample, seed)
    return KernelModel(
        form=form,
        start_ms=sample.start_ms,
        prices_ms=parts.prices_ms,
        ranges=ranges([sizes(row.spec) for row in rows]),
        activations=tuple(sorted({row.spec.activation or "" for row in rows})),
        features=names,
        smooth=parts.smooth if form in ("smooth", "average") else None,
        trees=parts.trees if form in ("trees", "average") else None,
        spread=fit_spread(sample.features, surprises),
        reach=_reach(sample.features, surprises, part_of, confidence),
        session=SESSION,
        judged=_judgement(errors[form], len(groups), mean_errors),
    )


def _relative_errors(sample: _Sample, middle: Floats) -> Floats:
    """Return (n,) logarithms of predicted over measured latency, the call on both sides."""
    predicted_ms = np.maximum(np.exp(middle) - sample.start_ms, 0.0) + sample.call_ms
    return np.asarray(np.log(predicted_ms / (sample.own_ms + sample.call_ms)), dtype=np.float64)


def _judgement(errors: Floats, groups: int, mean_errors: Mapping[Form, float]) -> Judgement:
    relative = np.abs(np.expm1(errors))
    return Judgement(
        points=len(errors),
        groups=groups,
        within_5=float((relative <= 0.05).mean()),
        within_10=float((relative <= 0.10).mean()),
        median_error_pct=100 * float(np.median(relative)),
        mean_log_error=mean_errors,
    )


def _sample(rows: Sequence[MeasuredKernel]) -> tuple[_Sample, tuple[str, ...]]:
    activations = sorted({row.spec.activation for row in rows if row.spec.activation is not None})
    told = [logarithms(row.spec, activations) for row in rows]
    names = varying(told)
    own_ms, call_ms = np.array([row.own_ms for row in rows]), np.array([row.call_ms for row in rows])
    half_widths = np.array([(row.interval_ms[1] - row.interval_ms[0]) / 2 for row in rows])
    start_ms = _START * float(np.median(call_ms))
    sample = _Sample(
        rows=tuple(rows),
        works=tuple(terms(row.spec) for row in rows),
        own_ms=own_ms,
        call_ms=call_ms,
        features=matrix(told, names),
        noise=half_widths / (np.maximum(own_ms, 0.0) + start_ms),
        start_ms=start_ms,
    )
    return sample, names


def _reach(features: Floats, surprises: Floats, part_of: NDArray[np.int64], confidence: float) -> float:
    """Return the conformal quantile of errors relative to the spread that those of other parts tell."""
    relative = np.empty(len(surprises))
    for part in range(_PARTS):
        unseen = part_of == part
        spread = fit_spread(features[~unseen], surprises[~unseen])
        relative[unseen] = np.abs(surprises[unseen]) / spread.values(features[unseen])
    return conformal_ratio(relative.tolist(), confidence)


def _left_out(sample: _Sample, part_of: NDArray[np.int64], seed: int) -> tuple[dict[Form, Floats], dict[Form, Floats]]:
    """Return by form (n,) the logarithm of latency plus start as told from other kernels, and (n,) its deviation."""
    middles: dict[Form, Floats] = {form: np.full(len(sample.rows), np.nan) for form in FORMS}
    deviations: dict[Form, Floats] = {form: np.full(len(sample.rows), np.nan) for form in FORMS}
    for part in range(_PARTS):
        seen, unseen = np.flatnonzero(part_of != part), np.flatnonzero(part_of == part)
        fitted, judged = _fitted(sample.of(seen), seed), sample.of(unseen)
        baseline = judged.baseline(fitted.prices_ms)
        for form, (correction, deviation) in fitted.corrections(judged.features).items():
            middles[form][unseen] = baseline + correction
            deviations[form][unseen] = deviation
    possible = [form for form in FORMS if not np.isnan(middles[form]).any()]
    return {form: middles[form] for form in possible}, {form: deviations[form] for form in possible}


def _fitted(sample: _Sample, seed: int) -> _Parts:
    # What a good measurement is off by and the form cannot say.
    deviations = np.hypot(_COMMON_NOISE, sample.noise)
    scales_ms = (np.maximum(sample.own_ms, 0.0) + sample.start_ms) * deviations / _COMMON_NOISE
    prices_ms = fit_baseline(sample.works, sample.own_ms, scales_ms)
    if sample.features.shape[1] == 0:
        return _Parts(prices_ms, None, None)
    left = log_own(sample.own_ms, sample.start_ms) - sample.baseline(prices_ms)
    smooth, variances = None, sample.noise**2
    if len(left) <= _MOST_SMOOTH:
        smooth = fit_smooth(sample.features, left, variances, np.random.default_rng(seed))
        # Trees believe contradicted points no more than the smooth function does.
        variances = np.array(smooth.disturbances)
    weights = _COMMON_NOISE**2 / (_COMMON_NOISE**2 + variances)
    return _Parts(prices_ms, smooth, fit_trees(sample.features, left, weights, seed))


def _parts_of(groups: Sequence[str], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return (n,) the part that each kernel is left out with: groups whole, and parts of about equal size."""
    names, group_of, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    filled, part = np.zeros(_PARTS, np.int64), np.empty(len(names), np.int64)
    drawn = generator.permutation(len(names))
    # The large ones first, so that the small ones even the parts out.
    for group in drawn[np.argsort(-counts[drawn], kind="stable")]:
        part[group] = int(np.argmin(filled))
        filled[part[group]] += counts[group]
    found: NDArray[np.int64] = part[group_of]
    return found
