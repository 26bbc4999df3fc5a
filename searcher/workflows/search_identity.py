"""All that the result of a search depends on, so that a broken search goes on only as what it was begun for."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from searcher.cost_models.calibration import CALIBRATION_DOCUMENT, Calibration
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT, NetworkModel
from searcher.search.evaluator import Rung
from searcher.search.evolution import EvolutionSettings
from searcher.search.limits import Constraint
from searcher.search.scores.score import Score
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.training.datasets import ImageDataset, fingerprint
from searcher.training.reference import Reference
from searcher.workflows.price_limits import Prices, WantedLimit


def search_identity(
    space: SearchSpace,
    wanted: Sequence[WantedLimit],
    constraints: Sequence[Constraint],
    kept_by: str,
    dataset: ImageDataset | None,
    reference: Reference | None,
    score: Score,
    rungs: Sequence[Rung],
    evolution: EvolutionSettings,
) -> dict[str, Any]:
    """Return the identity of a search, as JSON has it; files count by their content, and as the result names them.

    Args:
        space: of the networks that run on the devices.
        wanted: the limits, with their prices.
        constraints: the same limits, priced.
        kept_by: how limits are kept.
        dataset: that the score is measured on; None where it looks at no images.
        reference: that the score is measured against; None where it takes none.
        score: what is maximised.
        rungs: what measures for it.
        evolution: with the seed.
    """
    return {
        "space": repr(space),
        "limits": [
            {**dataclasses.asdict(one.limit), "bound_ratio": one.bound_ratio, "prices_sha256": _sha256(asked.prices)}
            for asked, one in zip(wanted, constraints, strict=True)
        ],
        "constraint": kept_by,
        "data": None if dataset is None else {"name": dataset.name, "fingerprint": fingerprint(dataset)},
        "reference_sha256": None if reference is None else reference.sha256,
        "score": score.name,
        "rungs": [{"measurer": dict(rung.measurer.identity), "keep": rung.keep} for rung in rungs],
        "evolution": dataclasses.asdict(evolution),
        "versions": {"numpy": np.__version__, "torch": torch.__version__},
    }


def _sha256(prices: Prices | None) -> str | None:
    """Return the hash of a table, a calibration or a model as it would be written."""
    if prices is None:
        return None
    if isinstance(prices, NetworkModel):
        text = NETWORK_MODEL_DOCUMENT.text(prices)
    else:
        text = CALIBRATION_DOCUMENT.text(prices) if isinstance(prices, Calibration) else TABLE_DOCUMENT.text(prices)
    return hashlib.sha256(text.encode()).hexdigest()
