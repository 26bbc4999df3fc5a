"""Near-duplicates are never parted: not by groups, nor by folds, nor by what is held out."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import DEFAULT_TYPES, Limits
from searcher.spaces.kernel_sampling import draw_kernels, draw_near
from searcher.spaces.kernels import kernel_features, kernel_type
from searcher.tables.dataset_groups import SIZES, group_folds, groups_of, held_out, near_duplicates
from tests.searcher.kernel_rows import pointwise, relu


@st.composite
def many_kernels(draw: st.DrawFn) -> list[BlockSpec]:
    """Kernels of a few types, with near ones among them: chains of near-duplicates are frequent."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    specs: list[BlockSpec] = []
    for of_type in draw(st.lists(st.sampled_from(DEFAULT_TYPES), min_size=1, max_size=3, unique=True)):
        drawn = draw_kernels(of_type, draw(st.integers(3, 12)), generator, Limits())
        near = (draw_near(spec, generator, Limits()) for spec in drawn)
        # Two steps of a pixel: the ends of a chain may be no near-duplicates themselves.
        steps = (
            replace(spec, input_shapes=tuple((n, c, h + step, w) for n, c, h, w in spec.input_shapes))
            for spec in drawn
            for step in (1, 2)
        )
        specs += [*drawn, *filter(None, near), *steps]
    return specs


def near_by_definition(first: BlockSpec, second: BlockSpec) -> bool:
    """The definition once more, in plain Python."""
    one, other = kernel_features(first), kernel_features(second)
    return kernel_type(first) == kernel_type(second) and all(
        one[name] == other[name] or max(one[name], other[name]) < 1.15 * min(one[name], other[name]) for name in SIZES
    )


def near_pairs(specs: list[BlockSpec]) -> list[tuple[int, int]]:
    pairs = itertools.combinations(range(len(specs)), 2)
    return [(one, other) for one, other in pairs if near_by_definition(specs[one], specs[other])]


@settings(max_examples=25, deadline=None)
@given(many_kernels(), st.integers(0, 100))
def test_no_pair_of_near_duplicates_is_ever_split(specs: list[BlockSpec], seed: int) -> None:
    pairs = near_pairs(specs)
    groups = groups_of(specs)
    assert all(groups[one] == groups[other] for one, other in pairs)
    try:
        parts = [group_folds(specs, 3, np.random.default_rng(seed)), held_out(specs, 0.3, np.random.default_rng(seed))]
    except BadInputError:
        assert len(set(groups.tolist())) < 7
        return
    for part in parts:
        assert all(part[one] == part[other] for one, other in pairs)


@settings(max_examples=12, deadline=None)
@given(many_kernels())
def test_groups_are_no_larger_than_chains_of_near_duplicates(specs: list[BlockSpec]) -> None:
    groups = groups_of(specs)
    linked = {index: {index} for index in range(len(specs))}
    for one, other in near_pairs(specs):
        union = linked[one] | linked[other]
        for member in union:
            linked[member] = union
    assert all(len(linked[index]) == int((groups == groups[index]).sum()) for index in range(len(specs)))
    assert list(dict.fromkeys(groups.tolist())) == list(range(groups.max() + 1))


def test_what_near_duplicates_are() -> None:
    base = pointwise(100, 100, 28)
    assert near_duplicates(base, pointwise(114, 100, 28))
    assert near_duplicates(base, pointwise(88, 110, 30))
    assert near_duplicates(base, replace(base, activation="relu"))
    assert not near_duplicates(base, pointwise(115, 100, 28))
    assert not near_duplicates(base, pointwise(100, 100, 28, 40))
    assert not near_duplicates(base, pointwise(100, 100, 28, stride=2))
    assert not near_duplicates(relu(16, 8), BlockSpec("max_pool", ((1, 16, 8, 8),), 16))
    # A chain: the first and the last differ by a third, and are of one group all the same.
    assert groups_of([relu(100, 8), relu(130, 8), relu(114, 8), relu(200, 8)]).tolist() == [0, 0, 0, 1]
    # The same kernel under two keys is one group.
    assert groups_of([base, relu(16, 8), base]).tolist() == [0, 1, 0]
    assert groups_of([]).tolist() == []


def test_folds_are_even_in_each_type() -> None:
    specs = [
        spec
        for name in ("pointwise", "depthwise")
        for spec in draw_kernels(name, 60, np.random.default_rng(1), Limits())
    ]
    folds = group_folds(specs, 5, np.random.default_rng(2))
    for name in ("pointwise", "depthwise"):
        sizes = Counter(fold for fold, spec in zip(folds.tolist(), specs, strict=True) if kernel_type(spec) == name)
        assert sorted(sizes.values()) == [12] * 5
    assert group_folds(specs, 5, np.random.default_rng(2)).tolist() == folds.tolist()
    assert group_folds(specs, 5, np.random.default_rng(3)).tolist() != folds.tolist()


def test_the_share_that_is_held_out_is_that_of_each_type() -> None:
    specs = [spec for name in ("relu", "add") for spec in draw_kernels(name, 50, np.random.default_rng(1), Limits())]
    chosen = held_out(specs, 0.2, np.random.default_rng(2))
    assert [int(chosen[start : start + 50].sum()) for start in (0, 50)] == [10, 10]


def test_what_cannot_be_split_is_refused() -> None:
    near = [relu(100, 8), relu(101, 8), relu(102, 8)]
    with pytest.raises(BadInputError, match="3 kernels cannot be split"):
        held_out(near, 0.5, np.random.default_rng(0))
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(BadInputError, match="lies between 0 and 1"):
            held_out(near, share, np.random.default_rng(0))
    with pytest.raises(BadInputError, match="1 groups of near-duplicates cannot be dealt to 2 folds"):
        group_folds(near, 2, np.random.default_rng(0))
    with pytest.raises(BadInputError, match="0 groups"):
        group_folds([], 2, np.random.default_rng(0))
