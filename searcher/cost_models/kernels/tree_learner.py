"""Growing boosted trees: scikit-learn's learner, and what it has learnt as plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from searcher.cost_models.kernels.trees import LEAF, Floats, Tree, Trees


def fit_trees(features: Floats, values: Floats, weights: Floats, seed: int) -> Trees:
    """Fit boosted trees to (n,) values with (n,) weights at (n, d) features, by least squares."""
    return trees_of(learner(seed).fit(features, values, sample_weight=weights))


def learner(seed: int) -> GradientBoostingRegressor:
    """Return the learner with the settings that suit some hundreds of points."""
    return GradientBoostingRegressor(
        learning_rate=0.12,
        n_estimators=80,
        max_depth=3,
        min_samples_leaf=4,
        subsample=0.7,
        random_state=seed,
    )


def trees_of(fitted: GradientBoostingRegressor) -> Trees:
    """Return a fitted learner's trees as plain numbers."""
    start = float(fitted.init_.constant_.item())
    return Trees(start, tuple(_tree(one.tree_, fitted.learning_rate) for one in fitted.estimators_[:, 0]))


def _tree(grown: Any, rate: float) -> Tree:
    leaf = grown.children_left < 0
    return Tree(
        feature=tuple(np.where(leaf, LEAF, grown.feature).tolist()),
        threshold=tuple(np.where(leaf, 0.0, grown.threshold).tolist()),
        left=tuple(grown.children_left.tolist()),
        right=tuple(grown.children_right.tolist()),
        value=tuple(np.where(leaf, rate * grown.value.ravel(), 0.0).tolist()),
    )
