"""Gradient-boosted regression trees: fitted by scikit-learn, kept as plain numbers, and worked out by numpy alone.

Friedman (Annals of Statistics 29, 2001) adds up small trees, each fitted to what the ones before leave. A tree sends a
point to the left where its feature is at most the threshold, and else to the right, until it comes to a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor

Floats = NDArray[np.float64]
LEAF = -1


@dataclass(frozen=True)
class Tree:
    """A tree of n nodes; each node comes after the one that leads to it.

    Attributes:
        feature: (n,) that a node looks at; LEAF for a leaf.
        threshold: (n,) up to which a point goes left; 0 for a leaf.
        left: (n,) the next node; LEAF for a leaf.
        right: (n,) likewise.
        value: (n,) what a leaf adds; 0 for others.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no tree, so that every walk comes to an end.

        Raises:
            ValueError: the lists are of different lengths, or a node leads to itself, back or nowhere.
        """
        nodes = len(self.feature)
        if nodes == 0 or {len(self.threshold), len(self.left), len(self.right), len(self.value)} != {nodes}:
            raise ValueError("a tree's lists have one number for each of its nodes")
        for node, (feature, left, right) in enumerate(zip(self.feature, self.left, self.right, strict=True)):
            if feature == LEAF and left == right == LEAF:
                continue
            if feature < 0 or not (node < left < nodes and node < right < nodes and left != right):
                raise ValueError(f"the node {node} of a tree leads to itself, back or nowhere")

    def values(self, features: Floats) -> Floats:
        """Return (m,) what the tree adds for (m, d) features."""
        feature, threshold, left, right, value = self._arrays
        at = np.zeros(len(features), dtype=np.int64)
        while (inner := np.flatnonzero(feature[at] != LEAF)).size:
            nodes = at[inner]
            goes_left = features[inner, feature[nodes]] <= threshold[nodes]
            at[inner] = np.where(goes_left, left[nodes], right[nodes])
        found: Floats = value[at]
        return found

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64], Floats]:
        return (
            np.array(self.feature, np.int64),
            np.array(self.threshold, np.float64),
            np.array(self.left, np.int64),
            np.array(self.right, np.int64),
            np.array(self.value, np.float64),
        )


@dataclass(frozen=True)
class Trees:
    """Boosted trees: the start plus what every tree adds."""

    start: float
    trees: tuple[Tree, ...]

    def require_features(self, count: int) -> None:
        """Refuse trees that look at features that there are not.

        Raises:
            ValueError: a tree does.
        """
        if any(feature >= count for tree in self.trees for feature in tree.feature):
            raise ValueError(f"a tree looks at a feature beyond the {count} that there are")

    def values(self, features: Floats) -> Floats:
        """Return (m,) values at (m, d) features."""
        # The learner compares features as 32-bit numbers.
        narrow = features.astype(np.float32).astype(np.float64)
        total = np.full(len(features), self.start)
        for tree in self.trees:
            total += tree.values(narrow)
        return total


def fit_trees(features: Floats, values: Floats, seed: int) -> Trees:
    """Fit boosted trees to (n,) values at (n, d) features; single values that fit nothing count less."""
    return trees_of(learner(seed).fit(features, values))


def learner(seed: int) -> GradientBoostingRegressor:
    """Return the learner with the settings that suit some hundreds of points."""
    return GradientBoostingRegressor(
        loss="huber",
        alpha=0.95,
        learning_rate=0.08,
        n_estimators=150,
        max_depth=3,
        min_samples_leaf=4,
        subsample=0.7,
        random_state=seed,
    )


def trees_of(fitted: GradientBoostingRegressor) -> Trees:
    """Return a fitted learner's trees as plain numbers."""
    start = float(fitted.init_.constant_.item())
    return Trees(start, tuple(_tree(one.tree_, fitted.learning_rate) for one in fitted.estimators_[:, 0]))


def _tree(grown: object, rate: float) -> Tree:
    def listed(name: str) -> Sequence[float]:
        numbers: Sequence[float] = np.asarray(getattr(grown, name)).ravel().tolist()
        return numbers

    leaves = [left < 0 for left in listed("children_left")]
    value = [rate * one if leaf else 0.0 for one, leaf in zip(listed("value"), leaves, strict=True)]
    return Tree(
        feature=tuple(LEAF if leaf else int(one) for one, leaf in zip(listed("feature"), leaves, strict=True)),
        threshold=tuple(0.0 if leaf else one for one, leaf in zip(listed("threshold"), leaves, strict=True)),
        left=tuple(int(one) for one in listed("children_left")),
        right=tuple(int(one) for one in listed("children_right")),
        value=tuple(value),
    )
