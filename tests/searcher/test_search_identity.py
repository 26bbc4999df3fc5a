"""What a search's result depends on is in its identity, and what it does not is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from searcher.networks.resnet import ResNet20
from searcher.search.evaluator import Rung
from searcher.search.evolution import EvolutionSettings
from searcher.search.limits import Constraint
from searcher.search.run_lines import first_difference
from searcher.search.scores.measuring import Measured
from searcher.search.scores.named_scores import RMI
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.reference import Reference
from searcher.workflows.price_limits import WantedLimit, constraints_of
from searcher.workflows.search_identity import search_identity
from tests.searcher.builders import table

SPACE = NasBench201()
TABLE = table(SPACE, lambda _block: 1.0)
REFERENCE = Reference(ResNet20(10), 91.6, "weights.pt", "ab")


class Known:
    """A measurer that is only asked who it is."""

    names = ("rmi",)

    def __init__(self, steps: int) -> None:
        self.identity = {"training": {"steps": steps}}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        raise AssertionError


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


def identity(digits: ImageDataset, **changes: Any) -> dict[str, Any]:
    """The identity of a search with some of what it is made of changed."""
    prices: LookupTable = changes.pop("prices", TABLE)
    wanted = (WantedLimit("latency", 25.0, prices, "pi.json"), WantedLimit("flops", 50.0))
    genotypes = np.zeros((1, 6), np.uint8)
    made: dict[str, Any] = {
        "space": SPACE,
        "wanted": wanted,
        "constraints": constraints_of(SPACE, wanted, None, genotypes),
        "kept_by": "deb",
        "dataset": digits,
        "reference": REFERENCE,
        "score": RMI,
        "rungs": (Rung(Known(20), 0.5), Rung(Known(60))),
        "evolution": EvolutionSettings(seed=3),
        **changes,
    }
    plain: dict[str, Any] = json.loads(json.dumps(search_identity(**made)))
    return plain


def stricter(constraints: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    first, *others = constraints
    return (replace(first, limit=replace(first.limit, at_most=24.0)), *others)


def test_the_same_search_has_the_same_identity_wherever_its_reference_lies(digits: ImageDataset) -> None:
    moved = Reference(ResNet20(10), 91.6, "elsewhere.pt", "ab")
    assert identity(digits, reference=moved) == identity(digits)
    assert identity(digits)["limits"][1]["prices_sha256"] is None


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"space": NasBench201(cells_per_stage=3)}, "space was"),
        ({"prices": table(SPACE, lambda _block: 1.5)}, "limits[0].prices_sha256 was"),
        ({"kept_by": "paper"}, 'constraint was "deb", is "paper"'),
        ({"reference": Reference(ResNet20(10), 91.6, "weights.pt", "cd")}, 'reference_sha256 was "ab", is "cd"'),
        ({"rungs": (Rung(Known(20), 0.5), Rung(Known(70)))}, "rungs[1].measurer.training.steps was 60, is 70"),
        ({"rungs": (Rung(Known(20), 0.3), Rung(Known(60)))}, "rungs[0].keep was 0.5, is 0.3"),
        ({"rungs": (Rung(Known(60)),)}, "rungs was [{"),
        ({"evolution": EvolutionSettings(seed=4)}, "evolution.seed was 3, is 4"),
    ],
)
def test_what_changes_the_result_changes_the_identity(
    digits: ImageDataset, changes: dict[str, Any], difference: str
) -> None:
    found = first_difference(identity(digits), identity(digits, **changes))
    assert found is not None
    assert found.startswith(difference)


def test_limits_and_images_count(digits: ImageDataset) -> None:
    constraints = constraints_of(SPACE, [WantedLimit("flops", 50.0)], None, np.zeros((1, 6), np.uint8))
    wanted = (WantedLimit("flops", 50.0),)
    loose = identity(digits, wanted=wanted, constraints=constraints)
    tight = identity(digits, wanted=wanted, constraints=stricter(constraints))
    assert first_difference(loose, tight) == "limits[0].at_most was 50.0, is 24.0"
    others = replace(digits, train_labels=torch.flip(digits.train_labels, [0]))
    assert (first_difference(identity(digits), identity(others)) or "").startswith("data.fingerprint was")
