"""What devices have in common: how a device's latencies follow from those of others, and how far it may stray.

    latency(x) ÷ (scale · typical(x)) = 1 + a + b ÷ typical(x)
        + Σ over rules r, operations o of: price[r, o] · count[r, o](x) ÷ typical(x)
        + Σ over known devices d of: c[d] · (latency_d(x) ÷ typical(x) - 1)
        + error

`typical` is the geometric mean of the known devices, each divided by its own geometric mean, and `count` tells how many
operations each rule of `executed_edges` has executed. Latencies add up, so they are not taken as logarithms; divided by
what is typical, their errors are about equally large.

The coefficients of a new device are drawn from a normal distribution that the known devices teach (empirical Bayes:
Robbins 1956; Efron and Morris, JASA 1975). Each known device is predicted from the others by all its cells, which tells
its coefficients; the variance of each price, and that which the c have in common, are those under which the devices
together are most probable (expectation maximisation: Dempster, Laird and Rubin, JRSS B 39, 1977). Prices go together,
too: a device with dear 3x3 convolutions has dear 1x1 ones. The few devices cannot tell a whole covariance, so that the
prior is half-way between the covariance of their prices and the variances alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.known_devices import Floats, KnownDevices
from searcher.spaces.executed_edges import executed_edges

# Coefficients that only the new device tells, a and b: of ratios, which are about 1, this says nothing.
_FREE, _FREE_VARIANCE = 2, 1.0
_SHARED = 0.5
_FIRST_VARIANCE, _LEAST_VARIANCE, _STEPS = 1e-2, 1e-8, 60
# A device may be noisier and stranger than the known ones: all variances have one unknown factor, which this many
# measurements' worth of belief holds at 1 (the t process: Shah, Wilson and Ghahramani, AISTATS 2014).
_BELIEF = 4.0
# A measurement that the others contradict by so many deviations is an accident (where errors are normal, hardly one of
# a hundred devices has such a one among ten by chance), and no more than this share is.
_CONTRADICTED, _MOST_CONTRADICTED = 5.0, 0.2
# No cell takes less than this part of what is typical: a prediction is positive.
_LEAST_RATIO = 0.1


@dataclass(frozen=True, eq=False)
class Posterior:
    """What measurements on one device leave of a prior.

    Attributes:
        scale_ms: of the device: ratios are latencies divided by this and by what is typical.
        coefficients: (f,) expected.
        covariance: (f, f) of the coefficients.
        noise: variance of an error of a ratio.
        believed: (m,) which of the measurements do not contradict the others.
    """

    scale_ms: float
    coefficients: Floats
    covariance: Floats
    noise: float
    believed: NDArray[np.bool_]

    def ratios(self, terms: Floats) -> Floats:
        """Return (n,) expected ratios of (n, f) terms."""
        ratios: Floats = np.maximum(1 + terms @ self.coefficients, _LEAST_RATIO)
        return ratios

    def deviations(self, terms: Floats) -> Floats:
        """Return (n,) standard deviations of the ratios of (n, f) terms."""
        deviations: Floats = np.sqrt(np.einsum("nf,nf->n", terms @ self.covariance, terms) + self.noise)
        return deviations


@dataclass(frozen=True, eq=False)
class DevicePrior:
    """The distribution that a new device is drawn from.

    Attributes:
        known: the devices that teach it.
        typical: (n,) latency of each network, relative.
        terms: (n, f) what the coefficients are multiplied with.
        covariance: (f, f) of the coefficients, whose mean is 0.
        noise: variance of an error.
    """

    known: KnownDevices
    typical: Floats
    terms: Floats
    covariance: Floats
    noise: float

    def posterior(self, rows: NDArray[np.int64], measured_ms: Floats) -> Posterior:
        """Learn from measurements on a device; those that contradict the others are not believed.

        Args:
            rows: (m,) of networks.
            measured_ms: (m,) their latencies.
        """
        scaled = measured_ms / self.typical[rows]
        scale_ms = float(np.median(scaled))
        terms, errors = self.terms[rows], scaled / scale_ms - 1
        kernel = terms @ self.covariance @ terms.T + self.noise * np.eye(len(rows))
        believed = _believed(kernel, errors)
        terms, errors = terms[believed], errors[believed]
        told = self.covariance @ terms.T
        inverse = np.linalg.inv(kernel[np.ix_(believed, believed)])
        factor = (_BELIEF + float(errors @ inverse @ errors)) / (_BELIEF + len(errors))
        return Posterior(
            scale_ms=scale_ms,
            coefficients=told @ inverse @ errors,
            covariance=factor * (self.covariance - told @ inverse @ told.T),
            noise=factor * self.noise,
            believed=believed,
        )

    def informative(self, candidates: NDArray[np.int64], count: int) -> list[int]:
        """Choose networks to measure, before anything is known of the new device.

        One after the other, each time the one that leaves the least variance in the predictions of all connected
        networks together (Cohn, Ghahramani and Jordan, Journal of AI Research 4, 1996; here in closed form).

        Args:
            candidates: rows of networks to choose from.
            count: how many, at most all.

        Returns:
            Places in `candidates`, in the order of choice.
        """
        rows, covariance = self.terms[candidates], self.covariance
        chosen: list[int] = []
        for _ in range(min(count, len(candidates))):
            told = rows @ covariance
            variances = np.einsum("nf,nf->n", told, rows) + self.noise
            gains = np.einsum("nf,nf->n", told @ self._information, told) / variances
            gains[chosen] = -np.inf
            best = int(gains.argmax())
            chosen.append(best)
            covariance = covariance - np.outer(told[best], told[best]) / variances[best]
        return chosen

    @cached_property
    def _information(self) -> Floats:
        connected = self.terms[self.known.connected]
        return np.asarray(connected.T @ connected)


def learn_prior(known: KnownDevices) -> DevicePrior:
    """Learn from at least two devices what a device is like."""
    counts, connected, devices = _counts(known.genotypes), known.connected, len(known.names)
    samples = []
    for device in range(devices):
        typical, terms = _terms(np.delete(known.latency_ms, device, axis=1), counts, connected)
        ratios = known.latency_ms[:, device] / typical
        ratios /= _geometric_mean(ratios[connected])
        samples.append(_Sample.of(terms[connected], ratios[connected] - 1))
    prices = counts.shape[1]
    groups = _groups(devices - 1, prices)
    variances, noises = _most_probable(samples, groups)
    pairs = zip(samples, noises, strict=True)
    priced = np.array([sample.solve(variances[groups], noise)[0][-prices:] for sample, noise in pairs])
    covariance = np.diag(variances[_groups(devices, prices)])
    covariance[-prices:, -prices:] *= 1 - _SHARED
    covariance[-prices:, -prices:] += _SHARED * (priced.T @ priced / devices)
    typical, terms = _terms(known.latency_ms, counts, connected)
    return DevicePrior(known, typical, terms, covariance, float(np.median(noises)))


@dataclass(frozen=True, eq=False)
class _Sample:
    """All that a regression takes of one device: sums of products of its terms and errors, over so many cells."""

    products: Floats
    with_errors: Floats
    squares: float
    cells: int

    @classmethod
    def of(cls, terms: Floats, errors: Floats) -> _Sample:
        return cls(terms.T @ terms, terms.T @ errors, float(errors @ errors), len(errors))

    def solve(self, variances: Floats, noise: float) -> tuple[Floats, Floats]:
        """Return the coefficients' mean and covariance under their variances before."""
        covariance = np.asarray(np.linalg.inv(self.products / noise + np.diag(1 / variances)))
        return covariance @ self.with_errors / noise, covariance

    def noise(self, mean: Floats, covariance: Floats) -> float:
        """Return the expected square of an error."""
        left = self.squares - 2 * mean @ self.with_errors + mean @ self.products @ mean
        return float(left + (covariance * self.products).sum()) / self.cells


def _most_probable(samples: Sequence[_Sample], groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the variance of each group of coefficients, the first fixed, and of each device's errors."""
    variances = np.full(groups.max() + 1, _FIRST_VARIANCE)
    variances[0] = _FREE_VARIANCE
    noises = np.full(len(samples), _FIRST_VARIANCE)
    members = np.bincount(groups) * len(samples)
    for _ in range(_STEPS):
        squares = np.zeros(len(groups))
        for device, sample in enumerate(samples):
            mean, covariance = sample.solve(variances[groups], noises[device])
            squares += mean**2 + np.diag(covariance)
            noises[device] = max(sample.noise(mean, covariance), _LEAST_VARIANCE)
        variances = np.maximum(np.bincount(groups, squares) / members, _LEAST_VARIANCE)
        variances[0] = _FREE_VARIANCE
    return variances, noises


def _believed(kernel: Floats, errors: Floats) -> NDArray[np.bool_]:
    """Return (m,) which measurements the others do not contradict, left out one after the other, the worst first."""
    believed = np.ones(len(errors), bool)
    for _ in range(int(_MOST_CONTRADICTED * len(errors))):
        kept = np.flatnonzero(believed)
        inverse = np.linalg.inv(kernel[np.ix_(kept, kept)])
        told = inverse @ errors[kept]
        contradictions = told**2 / np.diag(inverse)
        worst = int(contradictions.argmax())
        factor = (_BELIEF + errors[kept] @ told - contradictions[worst]) / (_BELIEF + len(kept) - 1)
        if contradictions[worst] < factor * _CONTRADICTED**2:
            break
        believed[kept[worst]] = False
    return believed


def _counts(genotypes: NDArray[np.integer[Any]]) -> Floats:
    """Return (n, 17) counts of operations under each rule; `none` is executed under the first alone."""
    first, *others = executed_edges(genotypes)
    return np.concatenate([first, *(one[:, 1:] for one in others)], axis=1)


def _terms(latency_ms: Floats, counts: Floats, connected: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return (n,) what is typical of devices, and (n, 2 + K + counts) terms: those of a and b, of devices, of prices.

    Args:
        latency_ms: (n, K) on the devices.
        counts: (n, counts).
        connected: (n,) networks that tell how fast a device is.
    """
    relative = latency_ms / _geometric_mean(latency_ms[connected])
    typical = np.exp(np.log(relative).mean(axis=1))
    one = np.ones((len(typical), 1))
    terms = np.concatenate([one, one / typical[:, None], relative / typical[:, None] - 1, counts / typical[:, None]], 1)
    return typical, terms


def _groups(devices: int, counts: int) -> NDArray[np.int64]:
    """Return (2 + K + counts,) which coefficients share a variance: the free ones, those of devices, each price."""
    return np.concatenate([np.repeat([0, 1], [_FREE, devices]), np.arange(2, 2 + counts)])


def _geometric_mean(values: Floats) -> Floats:
    return np.asarray(np.exp(np.log(values).mean(axis=0)))
