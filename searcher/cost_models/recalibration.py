"""What a few whole networks, measured now, say of a cost model's predictions of all others.

The estimator is a Bayesian linear regression of y = log(measured ÷ predicted), of n networks, on the kinds of blocks
that a network's latency is made of (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, 2.1):

    y = c + Σ over kinds k of share_k · d_k + e,   c ~ N(0, common²), d ~ N(0, D), e ~ N(0, network² + measurement²)

`share_k` is the part of the predicted latency that blocks of kind k have; the shares of a network sum to 1. c is what
all networks have in common now, d what one kind has beside that, e what a network has for itself. All are pulled
towards 0: three networks move mainly the common factor, and a kind only as far as they differ in their shares of it.

- Of a plain table D = kind² · I.
- A calibration's factors were fitted to networks before; those have told of the kinds already, and D is the posterior
  covariance of that fit. So its kinds hardly move, and the common factor by as much as another day may.

A network that was measured is predicted by its measurement, and an architecture of which a runtime executes exactly the
same by the mean of such measurements. Of all others the median is exp(E[c + Σ share_k · d_k]) times the model's
prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from searcher.cost_models.calibrated import block_groups
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.conformal import upper_ratio
from searcher.cost_models.cost_model import LinearCostModel
from searcher.cost_models.fitting import NETWORK_DEVIATION, SCALE_DEVIATION
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.network_latencies import NetworkLatency

Floats = NDArray[np.float64]

# What all networks may have in common: of a table, whose blocks were measured alone, and of a calibration, which knew
# whole networks of another day. Like those of the fit they weigh, and need not be exact.
TABLE_COMMON_DEVIATION, CALIBRATED_COMMON_DEVIATION = 0.2, 0.05


@dataclass(frozen=True)
class Prior:
    """What is known of a cost model before networks are measured.

    Attributes:
        common_deviation: how far all predictions may be off together, as the standard deviation of a logarithm.
        fitted: (m, genes) networks that the model was fitted to; None where it was fitted to none.
        ratios: measured ÷ predicted of networks that the model was not fitted to; empty where there are none.
    """

    common_deviation: float = TABLE_COMMON_DEVIATION
    fitted: NDArray[np.integer[Any]] | None = None
    ratios: tuple[float, ...] = ()

    @classmethod
    def of(cls, space: SearchSpace, calibration: Calibration) -> Prior:
        """Return what a calibration of the space knows."""
        fitted = np.array([space.parse(text).genotype for text in calibration.fitted])
        return cls(CALIBRATED_COMMON_DEVIATION, fitted, calibration.held_out.ratios)


@dataclass(frozen=True)
class Correction:
    """What measured networks say of a cost model.

    Attributes:
        networks: how many were measured.
        common: factor of all predictions.
        kinds: factor of each kind of block, beside the common one.
        deviation_pct: standard deviation of the common factor's logarithm, in percent.
    """

    networks: int
    common: float
    kinds: Mapping[str, float]
    deviation_pct: float


def recalibrated(model: LinearCostModel, measured: Mapping[str, NetworkLatency], prior: Prior) -> RecalibratedModel:
    """Correct a cost model by networks that were measured.

    Args:
        model: that predicts.
        measured: networks by the architecture's text; with none, predictions stay what they are.
        prior: what is known of the model.

    Raises:
        BadInputError: a text is no architecture of the model's space, or the model predicts no positive latency of it.
    """
    space = model.space
    kinds, members = block_groups(space)
    features = _Features(model, members)
    precision = np.diag([prior.common_deviation**-2] + [SCALE_DEVIATION**-2] * len(kinds))
    if prior.fitted is not None and len(prior.fitted):
        # What all have in common now is not what these were fitted with.
        rows = features.of(prior.fitted)[:, 1:] / NETWORK_DEVIATION
        precision[1:, 1:] += rows.T @ rows
    architectures = [space.parse(text) for text in measured]
    genotypes = np.array([one.genotype for one in architectures], np.int64)
    if not len(genotypes):
        before = _Posterior(np.zeros(len(precision)), np.asarray(np.linalg.inv(precision), np.float64))
        return RecalibratedModel(features, kinds, before, (), (), prior.ratios)
    predicted_ms = model.latencies_ms(genotypes)
    if not (predicted_ms > 0).all():
        raise BadInputError(f"the cost model predicts {predicted_ms.min():g} ms for a network that was measured")
    networks = list(measured.values())
    logarithms = np.log([one.median_ms for one in networks]) - np.log(predicted_ms)
    variances = NETWORK_DEVIATION**2 + np.array([_deviation(one) ** 2 for one in networks])
    rows = features.of(genotypes)
    posterior = _Posterior.of(precision, rows, logarithms, variances)
    left_out = tuple(map(float, np.exp(posterior.left_out_errors(rows, logarithms, variances))))
    known = tuple(zip(architectures, (one.median_ms for one in networks), strict=True))
    return RecalibratedModel(features, kinds, posterior, known, left_out, prior.ratios)


@dataclass(frozen=True, eq=False)
class _Features:
    """What the regression knows of a network."""

    model: LinearCostModel
    members: Floats

    def of(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n, 1 + kinds): 1, and the share of each kind in the predicted latency."""
        parts_ms = (self.model.space.block_counts(genotypes) * self.model.block_ms) @ self.members.T
        shares = parts_ms / parts_ms.sum(axis=1, keepdims=True)
        return np.hstack([np.ones((len(shares), 1)), shares])


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Normal distribution of the common logarithm and of each kind's."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, precision: Floats, rows: Floats, logarithms: Floats, variances: Floats) -> _Posterior:
        weighted = rows / variances[:, None]
        covariance = np.asarray(np.linalg.inv(precision + rows.T @ weighted), np.float64)
        return cls(covariance @ (weighted.T @ logarithms), covariance)

    def left_out_errors(self, rows: Floats, logarithms: Floats, variances: Floats) -> Floats:
        """Return (n,) what each network's logarithm is beside its prediction from all others.

        In closed form from the leverages (Rasmussen and Williams, 5.4.2; Allen, Technometrics 16, 1974).
        """
        leverages = np.einsum("nk,kl,nl->n", rows, self.covariance, rows) / variances
        errors: Floats = (logarithms - rows @ self.mean) / (1 - leverages)
        return errors


def _deviation(network: NetworkLatency) -> float:
    """Return the standard deviation of a measured median's logarithm, as its interval tells; 0 where it tells none."""
    if network.interval_ms is None or not network.confidence or network.confidence >= 1:
        return 0.0
    low, high = network.interval_ms
    return float(np.log(high / low) / (2 * stats.norm.ppf((1 + network.confidence) / 2)))


class RecalibratedModel:
    """A cost model with its correction, and the measurements that it is from; fits `BoundedCostModel`.

    Attributes:
        correction: what the measurements say of the model.
    """

    def __init__(
        self,
        features: _Features,
        kinds: Sequence[str],
        posterior: _Posterior,
        known: Sequence[tuple[Architecture, float]],
        left_out_ratios: tuple[float, ...],
        held_out_ratios: tuple[float, ...],
    ) -> None:
        self._model = features.model
        self._features = features
        self._mean = posterior.mean
        self._known_ms = {architecture.genotype: ms for architecture, ms in known}
        self._executed_ms: dict[str, list[float]] = defaultdict(list)
        for architecture, ms in known:
            self._executed_ms[executed(self._model.space, architecture)].append(ms)
        genotypes = [architecture.genotype for architecture, _ in known]
        self._known_counts = self._model.space.block_counts(np.array(genotypes)) if genotypes else None
        self._left_out_ratios, self._held_out_ratios = left_out_ratios, held_out_ratios
        factors = map(float, np.exp(posterior.mean))
        self.correction = Correction(
            networks=len(known),
            common=next(factors),
            kinds=dict(zip(kinds, factors, strict=True)),
            deviation_pct=100 * float(np.sqrt(posterior.covariance[0, 0])),
        )

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference in ms, or the measured one."""
        return float(self.latencies_ms(np.array([architecture.genotype]))[0])

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted, or measured, median latencies in ms, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the model's space.
        """
        latencies_ms = self._model.latencies_ms(genotypes) * np.exp(self._features.of(genotypes) @ self._mean)
        for row, ms in self._measured(genotypes).items():
            latencies_ms[row] = ms
        return latencies_ms

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms; if measured, that itself.

        Raises:
            BadInputError: the confidence is no share, or too high for the networks that were held out.
        """
        return float(self.uppers_ms(np.array([architecture.genotype]), confidence)[0])

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        uppers_ms = self.latencies_ms(genotypes) * self.upper_ratio(confidence)
        for row, ms in self._measured(genotypes).items():
            uppers_ms[row] = ms
        return uppers_ms

    def upper_ratio(self, confidence: float) -> float:
        """Return the bound over the prediction of what was not measured.

        It never falls below that of the model as it was. The networks measured now join those that were held out, each
        with its measurement over what the others say of it, so that it grows where they scatter more than those.

        Raises:
            BadInputError: the confidence is no share, or too high for the networks that were held out.
        """
        if not self._held_out_ratios:
            raise BadInputError("a table alone cannot tell how wrong it may be: a confidence takes a calibration")
        before = upper_ratio(self._held_out_ratios, confidence)
        return max(before, upper_ratio((*self._held_out_ratios, *self._left_out_ratios), confidence))

    def _measured(self, genotypes: NDArray[np.integer[Any]]) -> dict[int, float]:
        """Return what was measured of those of which a runtime executes what it executed then, by row."""
        if self._known_counts is None:
            return {}
        counts = self._model.space.block_counts(genotypes)
        alike = (counts[:, None, :] == self._known_counts[None, :, :]).all(axis=2).any(axis=1)
        rows = ((int(row), tuple(int(gene) for gene in genotypes[row])) for row in np.flatnonzero(alike))
        found = {row: self._measured_ms(genotype) for row, genotype in rows}
        return {row: ms for row, ms in found.items() if ms is not None}

    def _measured_ms(self, genotype: tuple[int, ...]) -> float | None:
        if genotype in self._known_ms:
            return self._known_ms[genotype]
        space = self._model.space
        alike = self._executed_ms.get(executed(space, Architecture(space.name, genotype)))
        return None if alike is None else float(np.mean(alike))


def executed(space: SearchSpace, architecture: Architecture) -> str:
    """Return a text that is equal for architectures of which a runtime executes the same, as far as the space knows."""
    if isinstance(space, NasBench201):
        return space.computation(architecture).text
    return space.format(architecture)
