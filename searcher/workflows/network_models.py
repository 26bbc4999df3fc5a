"""Latency models of whole networks, from file to file: trained on latencies, judged by others, asked for networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from searcher.artifacts import sha256_of
from searcher.cost_models.agreement import figures
from searcher.cost_models.network_fit import encoded
from searcher.cost_models.network_model import NetworkModel, digest_of, fit_network_model
from searcher.documents import field_names_in
from searcher.errors import BadInputError
from searcher.spaces.catalogue import space_named
from searcher.tables.lookup_table import KeyMismatchError, key_differences
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies

CONFIDENCE = 0.9


@dataclass(frozen=True)
class NetworkPrediction:
    """What a network is predicted to take; all fields go into JSON as they are.

    Attributes:
        architecture: its text.
        latency_ms: predicted median latency of one inference, the runtime's call included.
        interval_ms: that holds the measured latency.
        confidence: with this probability, for networks drawn at random.
    """

    architecture: str
    latency_ms: float
    interval_ms: tuple[float, float]
    confidence: float


@dataclass(frozen=True)
class NetworkJudgement:
    """How a model's predictions agree with networks that it was not fitted to; all fields go into JSON as they are.

    Attributes:
        space: of the networks.
        device: what it is called in the file of their latencies.
        networks: how many were predicted.
        disconnected: how many were left out, since they compute a constant.
        trained_on: how many connected ones were left out, since the model was fitted to them.
        mape_pct: mean of |predicted - measured| ÷ measured, in percent.
        within_5_share: share with at most 5% of error.
        within_10_share: share with at most 10% of error.
        spearman: rank correlation, or None where either side is constant.
        kendall_tau: Kendall's τ-b, or None likewise.
        confidence: of the intervals.
        in_interval_share: share of the networks whose latency lies in its interval.
        below_bound_share: share below the upper end of it, which a share of (1 + confidence) ÷ 2 should be.
    """

    space: str
    device: str
    networks: int
    disconnected: int
    trained_on: int
    mape_pct: float
    within_5_share: float
    within_10_share: float
    spearman: float | None
    kendall_tau: float | None
    confidence: float
    in_interval_share: float
    below_bound_share: float


def is_network_latencies(path: Path) -> bool:
    """Tell a file of network latencies by what only it has; what cannot be read at all is none."""
    return "networks" in field_names_in(path)


def is_network_model(path: Path) -> bool:
    """Tell a model of network latencies by what only it has; what cannot be read at all is none."""
    return {"sample", "additive"} <= field_names_in(path)


def train_network_model(path: Path, created: str | None = None) -> NetworkModel:
    """Fit a model to a file of network latencies.

    Args:
        path: of the file.
        created: UTC date and time, ISO 8601; that of the latencies unless given, so that the same comes of them again.

    Raises:
        BadInputError: the file cannot be read, its space has no such models, or its networks are too few.
    """
    latencies = NETWORKS_DOCUMENT.load(path)
    return fit_network_model(latencies, path.name, sha256_of(path), created or latencies.created)


def judge_network_model(model: NetworkModel, path: Path, confidence: float = CONFIDENCE) -> NetworkJudgement:
    """Hold a model against networks that it was not fitted to; those that it was are left out.

    Args:
        model: to be judged.
        path: file of their latencies.
        confidence: of the intervals.

    Raises:
        KeyMismatchError: they were measured under other conditions.
        BadInputError: the file cannot be read, is of another space, holds no connected network but those that the model
            was fitted to, or the confidence cannot be had.
    """
    measured = NETWORKS_DOCUMENT.load(path)
    if measured.space != model.space:
        raise BadInputError(f"{path} is of networks of {measured.space}, not of {model.space}")
    if model.key is not None and measured.key is not None and model.key != measured.key:
        differences = "; its ".join(key_differences(model.key, measured.key))
        raise KeyMismatchError(
            f"{path} was measured under other conditions than the model's networks: its {differences}"
        )
    return _judged(model, measured, confidence)


def predict_network(
    model: NetworkModel, architecture: str, confidence: float = CONFIDENCE, cells: int | None = None
) -> NetworkPrediction:
    """Predict one network.

    Args:
        model: of its space.
        architecture: its text.
        confidence: of the interval.
        cells: per stage, of networks that have cells; None for those of the model, or else the space's own.

    Raises:
        BadInputError: the text is no architecture of the model's space, the depth is another, the network computes a
            constant, or the confidence cannot be had.
    """
    space = space_named(model.space, model.export_cells if cells is None else cells)
    predictor, parsed = model.model(space), space.parse(architecture)
    if not space.is_connected(parsed):
        raise BadInputError(f"the output of {architecture} does not depend on its input: no such network was fitted to")
    genotypes = np.array([parsed.genotype])
    ((low, high),) = predictor.intervals_ms(genotypes, confidence).tolist()
    return NetworkPrediction(space.format(parsed), predictor.latency_ms(parsed), (low, high), confidence)


def _judged(model: NetworkModel, measured: NetworkLatencies, confidence: float) -> NetworkJudgement:
    space = space_named(model.space, measured.export_cells or model.export_cells)
    predictor = model.model(space)
    connected = {text: one for text, one in measured.networks.items() if space.is_connected(space.parse(text))}
    if not connected:
        raise BadInputError("there is no connected network to compare with")
    known = frozenset(model.sample.digests)
    new = {text: one for text, one in connected.items() if digest_of(space, text) not in known}
    if not new:
        raise BadInputError("the model was fitted to all of these networks: they say nothing of others")
    genotypes, measured_ms = encoded(space, new)
    found = figures(predictor.latencies_ms(genotypes), measured_ms)
    low, high = predictor.intervals_ms(genotypes, confidence).T
    return NetworkJudgement(
        space=model.space,
        device=measured.device,
        networks=len(new),
        disconnected=len(measured.networks) - len(connected),
        trained_on=len(connected) - len(new),
        mape_pct=found.mape_pct,
        within_5_share=found.within_5_share,
        within_10_share=found.within_10_share,
        spearman=found.spearman,
        kendall_tau=found.kendall_tau,
        confidence=confidence,
        in_interval_share=float(((low <= measured_ms) & (measured_ms <= high)).mean()),
        below_bound_share=float((measured_ms <= high).mean()),
    )
