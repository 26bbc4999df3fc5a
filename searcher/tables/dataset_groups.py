"""Near-duplicates of kernels stay together: groups of them, and parts of a dataset that no group is split between.

Two kernels of a type are near-duplicates if each of their sizes differs by less than 15%; whether an activation is
fused is no size, and makes no other kernel; neither does how an operand is repeated. What is linked by a chain of
near-duplicates is one group, so that no kernel on which a model is judged has a near-duplicate among those that it was
fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_features, kernel_type

NEAR = 0.15
"""Sizes whose quotient is less than 1 plus this are near each other."""
SIZES = ("height", "width", "channels", "outputs", "kernel", "stride", "groups", "hidden", "inputs", "sum")
"""The features that tell near-duplicates."""

Integers = NDArray[np.int64]

_IN_PLACE_OF_ZERO = 1e-3


def near_duplicates(first: BlockSpec, second: BlockSpec) -> bool:
    """Tell whether two kernels are of one type and near each other in every size."""
    if kernel_type(first) != kernel_type(second):
        return False
    one, other = _sizes([first, second])
    return bool(_near(one, other))


def groups_of(specs: Sequence[BlockSpec]) -> Integers:
    """Return the group of each kernel.

    Returns:
        (kernels,) numbers of groups, from 0 in the order of their first kernels.
    """
    groups = np.empty(len(specs), dtype=np.int64)
    for members in _by_type(specs):
        labels = _linked(_sizes([specs[one] for one in members]))
        # The first kernel of a group names it, over all types.
        for label in np.unique(labels):
            inside = members[labels == label]
            groups[inside] = inside[0]
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def group_folds(specs: Sequence[BlockSpec], folds: int, generator: np.random.Generator) -> Integers:
    """Deal kernels to the folds of a cross-validation: groups stay whole, and each type is dealt evenly.

    Args:
        specs: the rows' kernels.
        folds: how many, at least 2.
        generator: orders the groups.

    Returns:
        (kernels,) the fold of each, from 0.

    Raises:
        BadInputError: there are fewer groups than folds.
    """
    groups = groups_of(specs)
    if folds < 2 or groups.size == 0 or folds > groups.max() + 1:
        count = 0 if groups.size == 0 else int(groups.max()) + 1
        raise BadInputError(f"{count} groups of near-duplicates cannot be dealt to {folds} folds")
    dealt = np.empty(len(specs), dtype=np.int64)
    sizes = np.zeros(folds, dtype=np.int64)
    for members in _by_type(specs):
        of_type = np.zeros(folds, dtype=np.int64)
        for group in _largest_first(groups[members], generator):
            inside = members[groups[members] == group]
            # Even within the type first, over all types where that leaves a choice.
            fold = int(np.lexsort((sizes, of_type))[0])
            dealt[inside] = fold
            of_type[fold] += inside.size
            sizes[fold] += inside.size
    return dealt


def held_out(specs: Sequence[BlockSpec], share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Choose kernels to hold out: whole groups of each type, drawn at random until they are the share.

    Args:
        specs: the rows' kernels.
        share: of each type's kernels to hold out, between 0 and 1; a group that would pass it is left in.
        generator: draws the groups.

    Returns:
        (kernels,) whether each is held out.

    Raises:
        BadInputError: the share is not between 0 and 1, or no group fits into one of both parts.
    """
    if not 0 < share < 1:
        raise BadInputError(f"a share to hold out lies between 0 and 1, not at {share:g}")
    groups = groups_of(specs)
    chosen = np.zeros(len(specs), dtype=np.bool_)
    for members in _by_type(specs):
        room = round(share * members.size)
        for group in generator.permutation(np.unique(groups[members])):
            inside = members[groups[members] == group]
            if inside.size <= room:
                chosen[inside] = True
                room -= inside.size
    if not chosen.any() or chosen.all():
        raise BadInputError(f"{len(specs)} kernels cannot be split so that a share of {share:g} is held out")
    return chosen


def _by_type(specs: Sequence[BlockSpec]) -> list[Integers]:
    """Return the indices of each type's kernels."""
    found: dict[str, list[int]] = {}
    for index, spec in enumerate(specs):
        found.setdefault(kernel_type(spec), []).append(index)
    return [np.array(members, dtype=np.int64) for members in found.values()]


def _sizes(specs: Sequence[BlockSpec]) -> NDArray[np.float64]:
    """Return (kernels, SIZES) sizes."""
    features = [kernel_features(spec) for spec in specs]
    return np.array([[one[name] for name in SIZES] for one in features], dtype=np.float64)


def _linked(sizes: NDArray[np.float64]) -> Integers:
    """Return (kernels,) labels of (kernels, SIZES) sizes: equal ones are linked by near-duplicates."""
    different, places = np.unique(sizes, axis=0, return_inverse=True)
    # Zero has no logarithm; it is near zero alone, and far from 1, the least of all other sizes.
    logarithms = np.log(np.maximum(different, _IN_PLACE_OF_ZERO))
    # A little more than near, for what is rounded: the definition itself decides.
    pairs = KDTree(logarithms).query_pairs(1.01 * np.log1p(NEAR), p=np.inf, output_type="ndarray")
    linked = pairs[_near(different[pairs[:, 0]], different[pairs[:, 1]])]
    graph = coo_array((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(len(different),) * 2)
    _, labels = connected_components(graph, directed=False)
    found: Integers = labels[places.ravel()].astype(np.int64)
    return found


def _near(sizes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (…,) whether (…, SIZES) sizes are near others, by the definition."""
    low, high = np.minimum(sizes, others), np.maximum(sizes, others)
    near: NDArray[np.bool_] = ((high < (1 + NEAR) * low) | (high == low)).all(axis=-1)
    return near


def _largest_first(groups: Integers, generator: np.random.Generator) -> Integers:
    """Return the different groups, in random order but the larger before the smaller, so that folds come out even."""
    names, counts = np.unique(groups, return_counts=True)
    order = generator.permutation(names.size)
    return names[order][np.argsort(-counts[order], kind="stable")].astype(np.int64)
