"""A latency model of a new device from about ten networks measured there, and many on devices that are known.

`device_prior` says what known devices teach of a new one; `Experience` holds that, chooses what to measure, and has
rehearsed: each known device is taken for a new one, of which the others are known. How far off these predictions are,
in units of their own standard deviations, bounds those of the new device: normalised conformal prediction (Lei et al.,
JASA 2018, 5.2) whose calibration pools devices, as Dunn, Wasserman and Ramdas (JASA 2022) pool groups. Devices are few
and no random draw: a bound holds as often as it says for devices like the known ones, and is no promise for others.

Disconnected cells compute a constant, which runtimes know or do not know: they are predicted like all others, but never
chosen, learnt from or bounded reliably.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.conformal import conformal_ratio, networks_for
from searcher.cost_models.cost_model import LatencyRange
from searcher.cost_models.device_prior import DevicePrior, Posterior, learn_prior
from searcher.cost_models.known_devices import Floats, KnownDevices, are_connected, require_enough
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.tables.network_latencies import NetworkLatencies

DEFAULT_NETWORKS = 10
# Below this a measurement that is off cannot be told from a device that is strange.
FEWEST_MEASURED = 5
# Far beyond what a prior is needed for; the time grows with the third power.
MOST_MEASURED = 500
# Rehearsals are judged by some of the networks: devices differ, and more networks would tell no more of that.
_JUDGED_EVERY = 7


class Experience:
    """What known devices teach: a prior from all of them, and one without each of them, for rehearsals."""

    def __init__(self, known: KnownDevices) -> None:
        """Learn, which takes some seconds for seven devices and all cells.

        Raises:
            BadInputError: there are fewer than three devices.
        """
        require_enough(len(known.names))
        self.known = known
        self.prior: DevicePrior = learn_prior(known)

    @cached_property
    def rehearsed(self) -> tuple[DevicePrior, ...]:
        """A prior without each of the devices, in their order."""
        return tuple(learn_prior(self.known.without(device)) for device in range(len(self.known.names)))

    def informative(self, genotypes: NDArray[np.integer[Any]], count: int = DEFAULT_NETWORKS) -> list[int]:
        """Choose the networks whose measurements will tell the most; disconnected ones are never chosen.

        Args:
            genotypes: (m, 6) to choose from.
            count: how many.

        Returns:
            Their rows in `genotypes`, in the order of choice.

        Raises:
            BadInputError: `count` is below 5 or more than there are connected networks, these are no encodings of the
                space, or not all known devices have a latency of each.
        """
        candidates = np.flatnonzero(are_connected(self.known.space, genotypes))
        if not FEWEST_MEASURED <= count <= len(candidates):
            raise BadInputError(
                f"of {len(candidates)} connected networks, between {FEWEST_MEASURED} and all are chosen, not {count}"
            )
        chosen = self.prior.informative(self.known.rows(genotypes[candidates]), count)
        return [int(candidates[place]) for place in chosen]

    def errors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the errors of rehearsals that measure these networks, in standard deviations of the predictions.

        All devices together, of each of them every seventh of the connected networks that were not measured.
        """
        unseen = self.known.connected.copy()
        unseen[rows] = False
        judged = np.flatnonzero(unseen)[::_JUDGED_EVERY]
        found = []
        for device, prior in enumerate(self.rehearsed):
            true_ms = self.known.latency_ms[:, device]
            posterior = prior.posterior(rows, true_ms[rows])
            ratios = true_ms[judged] / (posterior.scale_ms * prior.typical[judged])
            terms = prior.terms[judged]
            found.append((ratios - posterior.ratios(terms)) / posterior.deviations(terms))
        return np.concatenate(found)


class Transfer:
    """Predicts latency on the new device, and bounds it; fits `CostModel` and `BoundedCostModel`."""

    def __init__(self, experience: Experience, genotypes: NDArray[np.integer[Any]], measured_ms: Floats) -> None:
        """Fit.

        Args:
            experience: of known devices.
            genotypes: (m, 6) of at most 500 networks measured on the new device, of which at least 5 are connected.
            measured_ms: (m,) their latencies.

        Raises:
            BadInputError: these are no encodings of the space, the latencies are not positive or not as many, a network
                is there twice, not all known devices have a latency of each, they are too many, or too few of them are
                connected.
        """
        if measured_ms.shape != genotypes.shape[:1] or not (np.isfinite(measured_ms) & (measured_ms > 0)).all():
            raise BadInputError("a transfer takes one positive latency for each network that was measured")
        if len(genotypes) > MOST_MEASURED:
            raise BadInputError(
                f"a transfer takes {MOST_MEASURED} networks at most, not {len(genotypes)}: give it some of them"
            )
        rows = experience.known.rows(genotypes)
        connected = are_connected(experience.known.space, genotypes)
        if connected.sum() < FEWEST_MEASURED:
            raise BadInputError(
                f"a transfer takes {FEWEST_MEASURED} connected networks at least, not {connected.sum()}"
            )
        if len(np.unique(rows)) < len(rows):
            raise BadInputError("a network that was measured on the new device is there twice")
        self._experience = experience
        self._rows = rows[connected]
        self._posterior: Posterior = experience.prior.posterior(self._rows, measured_ms[connected])

    @classmethod
    def of(cls, experience: Experience, measured: NetworkLatencies) -> Transfer:
        """Fit to a file of latencies.

        Raises:
            BadInputError: it is of another space or of a known device, or as for the class.
        """
        known = experience.known
        if measured.space != known.space.name:
            raise BadInputError(f"the latencies are of the space {measured.space!r}, not of {known.space.name!r}")
        if measured.device in known.names:
            raise BadInputError(f"the device {measured.device!r} is one of the known ones: nothing is to be predicted")
        texts = measured.networks
        genotypes = np.array([known.space.parse(text).genotype for text in texts], np.int64).reshape(len(texts), 6)
        return cls(experience, genotypes, np.array([one.median_ms for one in texts.values()], np.float64))

    @property
    def not_believed(self) -> tuple[Architecture, ...]:
        """Connected networks whose measurements contradict the others so much that the fit leaves them out."""
        genotypes = self._experience.known.genotypes[self._rows[~self._posterior.believed]]
        return tuple(Architecture(self._experience.known.space.name, tuple(one)) for one in genotypes.tolist())

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        return float(self.latencies_ms(self._encoded(architecture))[0])

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted latencies in ms, of (n, 6) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space, or not all known devices have a latency of each.
        """
        return self._in_ms(self._experience.known.rows(genotypes), 0.0)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        Raises:
            BadInputError: the confidence is no share, or too high for the known networks.
        """
        return float(self.uppers_ms(self._encoded(architecture), confidence)[0])

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, 6) integer encodings, never below the predictions.

        Raises:
            BadInputError: these are no encodings of the space, not all known devices have a latency of each, or the
                confidence cannot be had.
        """
        return self._in_ms(self._experience.known.rows(genotypes), max(0.0, self._steps(self._errors, confidence)))

    def intervals_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n, 2) ends of intervals that hold the measured latency with this probability, in ms.

        Both ends miss as often, and the prediction lies between them.

        Raises:
            BadInputError: as `uppers_ms`.
        """
        networks_for(confidence)
        rows, one_sided = self._experience.known.rows(genotypes), (1 + confidence) / 2
        above = max(0.0, self._steps(self._errors, one_sided))
        below = max(0.0, self._steps(-self._errors, one_sided))
        return np.stack([self._in_ms(rows, -below), self._in_ms(rows, above)], axis=1)

    def latency_range(self, confidence: float | None = None) -> LatencyRange:
        """Return the range of the predictions of all connected networks that are known, or of their bounds.

        Raises:
            BadInputError: the confidence cannot be had.
        """
        known = self._experience.known
        genotypes = known.genotypes[known.connected]
        costs = self.latencies_ms(genotypes) if confidence is None else self.uppers_ms(genotypes, confidence)
        least, most = (
            Architecture(known.space.name, tuple(genotypes[at].tolist())) for at in (costs.argmin(), costs.argmax())
        )
        return LatencyRange(float(costs.min()), float(costs.max()), least, most)

    @cached_property
    def _errors(self) -> Floats:
        return self._experience.errors(self._rows)

    def _steps(self, errors: Floats, confidence: float) -> float:
        """Return how many standard deviations above its prediction a bound is."""
        return conformal_ratio(errors.tolist(), confidence)

    def _in_ms(self, rows: NDArray[np.int64], steps: float) -> Floats:
        """Return (n,) latencies so many standard deviations above their predictions, positive, in ms."""
        prior, posterior = self._experience.prior, self._posterior
        terms = prior.terms[rows]
        expected = posterior.ratios(terms)
        ratios = expected if steps == 0 else expected + steps * posterior.deviations(terms)
        positive: Floats = np.maximum(ratios, np.finfo(np.float64).eps) * posterior.scale_ms * prior.typical[rows]
        return positive

    def _encoded(self, architecture: Architecture) -> NDArray[np.int64]:
        if architecture.space != self._experience.known.space.name:
            raise BadInputError(f"{architecture} is not an architecture of {self._experience.known.space.name}.")
        return np.array([architecture.genotype], np.int64)
