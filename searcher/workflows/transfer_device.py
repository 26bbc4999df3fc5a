"""Predicting a new device from files: which networks to measure there, and what all networks take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from searcher.cost_models.known_devices import KnownDevices
from searcher.cost_models.transfer import DEFAULT_NETWORKS, Experience, Transfer
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies, NetworkLatency

DEFAULT_POOL = 300


def read_experience(files: Sequence[Path]) -> Experience:
    """Learn from files of network latencies, one a device.

    Raises:
        BadInputError: a file cannot be read or is of another space, a device is there twice, or the files are too few.
    """
    return Experience(KnownDevices.of(NasBench201(), [NETWORKS_DOCUMENT.load(file) for file in files]))


def proposed(
    experience: Experience, generator: np.random.Generator, count: int = DEFAULT_NETWORKS, pool: int = DEFAULT_POOL
) -> list[str]:
    """Propose networks to measure on the new device.

    Args:
        experience: of known devices.
        generator: draws the pool.
        count: how many to measure.
        pool: how many connected networks, drawn at random, to choose them from; all where there are fewer.

    Returns:
        Their texts, the most telling first.

    Raises:
        BadInputError: `count` is below 5 or more than the pool.
    """
    known = experience.known
    connected = np.flatnonzero(known.connected)
    if pool < 1:
        raise BadInputError(f"a pool has one network at least, not {pool}")
    drawn = known.genotypes[generator.choice(connected, min(pool, len(connected)), replace=False)]
    chosen = drawn[experience.informative(drawn, count)]
    return [known.space.format(Architecture(known.space.name, tuple(one))) for one in chosen.tolist()]


def predicted(
    experience: Experience, measured: NetworkLatencies, confidence: float, created: str
) -> tuple[NetworkLatencies, tuple[str, ...]]:
    """Predict what all networks of the known devices take on the new one.

    Args:
        experience: of known devices.
        measured: some networks on the new device.
        confidence: of the intervals.
        created: UTC date and time, ISO 8601.

    Returns:
        Predictions as a file of network latencies, which says that they are that, under the conditions of the
        measurements; and the texts of networks whose measurements contradict the others, and were not believed.

    Raises:
        BadInputError: as `Transfer.of`, or the confidence cannot be had.
    """
    transfer, known = Transfer.of(experience, measured), experience.known
    latencies_ms = transfer.latencies_ms(known.genotypes).tolist()
    intervals_ms = transfer.intervals_ms(known.genotypes, confidence).tolist()
    networks = {
        known.space.format(Architecture(known.space.name, tuple(genotype))): NetworkLatency(
            median_ms=latency_ms, interval_ms=(low, high), confidence=confidence
        )
        for genotype, latency_ms, (low, high) in zip(known.genotypes.tolist(), latencies_ms, intervals_ms, strict=True)
    }
    source = f"predicted from {len(measured.networks)} networks on it and all on {', '.join(known.names)}"
    told = replace(measured, created=created, source=source, networks=networks, predicted=True)
    return told, tuple(known.space.format(one) for one in transfer.not_believed)
