"""Gradient-boosted regression trees as plain numbers, worked out by numpy alone; `tree_learner` grows them.

Friedman (Annals of Statistics 29, 2001) adds up small trees, each fitted to what the ones before leave. A tree sends a
point to the left where its feature is at most the threshold, and else to the right, until it comes to a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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
