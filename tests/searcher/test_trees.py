"""Boosted trees as plain numbers: they say what scikit-learn's say, and what is no tree is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searcher.cost_models.kernels.tree_learner import fit_trees, learner, trees_of
from searcher.cost_models.kernels.trees import LEAF, Tree, Trees

STUMP = Tree((0, LEAF, LEAF), (0.5, 0.0, 0.0), (1, LEAF, LEAF), (2, LEAF, LEAF), (0.0, -1.0, 1.0))


def sample(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 5)) * 3
    values = np.sin(features[:, 0]) + 0.3 * features[:, 1] * (features[:, 2] > 0) + generator.normal(0, 0.05, count)
    return features, values, generator.uniform(0.2, 1, count)


def test_they_equal_the_learner_on_points_seen_and_unseen() -> None:
    features, values, weights = sample(1)
    fitted = learner(7).fit(features, values, sample_weight=weights)
    unseen = np.vstack((sample(2, 500)[0], features))
    assert np.abs(trees_of(fitted).values(unseen) - fitted.predict(unseen)).max() < 1e-12


def test_one_seed_grows_the_same_trees_and_they_learn() -> None:
    features, values, weights = sample(1)
    grown = fit_trees(features, values, weights, seed=3)
    assert grown == fit_trees(features, values, weights, seed=3)
    assert grown != fit_trees(features, values, weights, seed=4)
    unseen, expected, _ = sample(2)
    assert np.abs(grown.values(unseen) - expected).mean() < 0.5 * np.abs(expected - expected.mean()).mean()


def test_a_stump_sends_points_at_its_threshold_to_the_left() -> None:
    assert Trees(10.0, (STUMP, STUMP)).values(np.array([[0.5], [0.6], [-3.0]])).tolist() == [8.0, 12.0, 8.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"left": (0, LEAF, LEAF)}, "node 0 of a tree leads to itself, back or nowhere"),
        ({"left": (3, LEAF, LEAF)}, "nowhere"),
        ({"right": (1, LEAF, LEAF)}, "leads to"),
        ({"feature": (0, 0, LEAF), "left": (1, 0, LEAF), "right": (2, 2, LEAF)}, "node 1"),
        ({"feature": (-2, LEAF, LEAF)}, "node 0"),
        ({"value": (0.0, 1.0)}, "one number for each of its nodes"),
    ],
)
def test_what_is_no_tree_is_refused(changed: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUMP, **changed)


def test_a_feature_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the 1 that there are"):
        Trees(0.0, (replace(STUMP, feature=(1, LEAF, LEAF)),)).require_features(1)
