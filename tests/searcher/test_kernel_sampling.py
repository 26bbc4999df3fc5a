"""Random kernels keep their domain and limits, reach its ends, and cover the networks that they are for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.networks.blocks import build_block
from searcher.spaces.block import BlockSpec
from searcher.spaces.block_key import block_of_key
from searcher.spaces.catalogue import space_named
from searcher.spaces.kernel_domain import DEFAULT_TYPES, DOMAINS, Limits
from searcher.spaces.kernel_sampling import draw_ends, draw_kernels, draw_near, kernels_of_space
from searcher.spaces.kernels import kernel_features, kernel_type, output_size, repeated, require_possible
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.kernel_rows import keys_of, pointwise

LIMITS = Limits()
# Of the largest and the smallest kernels of MobileNetV2 and ResNet-18 at 224 pixels, NAS-Bench-201 and FBNet.
OF_NETWORKS = [
    BlockSpec("conv_bn", ((1, 3, 224, 224),), 64, 7, 2, 3, activation="relu"),
    BlockSpec("conv_bn", ((1, 3, 224, 224),), 32, 3, 2, 1, activation="relu"),
    BlockSpec("conv_bn", ((1, 64, 56, 56),), 64, 3, 1, 1),
    BlockSpec("conv_bn", ((1, 512, 7, 7),), 512, 3, 1, 1),
    BlockSpec("conv_bn", ((1, 256, 14, 14),), 512, 1, 2),
    BlockSpec("conv_bn", ((1, 16, 112, 112),), 96),
    BlockSpec("conv_bn", ((1, 320, 7, 7),), 1280),
    BlockSpec("conv_bn", ((1, 96, 112, 112),), 96, 3, 2, 1, 96),
    BlockSpec("conv_bn", ((1, 1104, 4, 4),), 1104, 5, 1, 2, 1104),
    BlockSpec("max_pool", ((1, 64, 112, 112),), 64, 3, 2, 1),
    BlockSpec("conv_bn", ((1, 32, 112, 112),), 32, 3, 1, 1, 32, activation="relu6"),
    BlockSpec("fully_connected", ((1, 1280, 1, 1),), 1000),
    BlockSpec("fully_connected", ((1, 64, 1, 1),), 10),
    BlockSpec("global_avg_pool", ((1, 1280, 7, 7),), 1280),
    BlockSpec("batch_norm", ((1, 64, 8, 8),), 64),
    BlockSpec("transpose", ((1, 352, 4, 4),), 352, groups=2),
    BlockSpec("view", ((1, 1, 1, 1),), 1),
    BlockSpec("slice", ((1, 72, 32, 32),), 72, 2),
    BlockSpec("slice", ((1, 4464, 32, 1),), 4464, 2),
    BlockSpec("mul", ((1, 960, 7, 7), (1, 960, 1, 1)), 960),
    BlockSpec("add", ((1, 64, 56, 56),) * 2, 64),
    BlockSpec("relu", ((1, 16, 32, 32),), 16),
    BlockSpec("avg_pool", ((1, 16, 8, 8),), 16, 3, 1, 1),
    # Of squeeze-and-excitation, of hard swishes that are taken apart, and of networks of small images.
    BlockSpec("conv_bn", ((1, 1152, 1, 1),), 48, activation="relu"),
    BlockSpec("conv_bn", ((1, 4, 1, 1),), 96, activation="sigmoid"),
    BlockSpec("conv_bn", ((1, 240, 1, 1),), 960, activation="hard_sigmoid"),
    BlockSpec("fully_connected", ((1, 4, 1, 1),), 16, activation="hard_sigmoid"),
    BlockSpec("conv_bn", ((1, 1152, 3, 3),), 1152, 5, 1, 2, 1152),
    BlockSpec("conv_bn", ((1, 960, 1, 1),), 960, 3, 1, 1, 960),
    BlockSpec("conv_bn", ((1, 440, 7, 7),), 440, 3, 1, 1, 55, activation="relu"),
    BlockSpec("conv_bn", ((1, 3, 224, 224),), 64, 3, 2, 0, activation="relu"),
    BlockSpec("global_avg_pool", ((1, 32, 112, 112),), 32),
    BlockSpec("global_avg_pool", ((1, 576, 1, 1),), 576),
    BlockSpec("silu", ((1, 48, 1, 1),), 48),
    BlockSpec("hard_sigmoid", ((1, 1024, 1, 1),), 1024),
    BlockSpec("mul", ((1, 1024, 1, 1),) * 2, 1024),
    BlockSpec("add", ((1, 72, 1, 1), (1, 1, 1, 1)), 72),
    BlockSpec("add", ((1, 16, 112, 112), (1, 1, 1, 1)), 16),
    BlockSpec("div", ((1, 16, 112, 112), (1, 1, 1, 1)), 16),
    BlockSpec("add", ((1, 96, 2, 2),) * 2, 96),
]


def test_what_networks_hold_is_possible() -> None:
    for kernel in OF_NETWORKS:
        require_possible(kernel)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("conv_bn-k3-s1-p1-g3-1x16x32x32-to16-fp32", "cannot be parted into its groups"),
        ("conv_bn-k7-s1-p0-g1-1x16x4x4-to16-fp32", "its window is larger than its image"),
        ("max_pool-k2-s2-p0-g1-1x16x4x4-to99-fp32", "its output has 16 channels, not 99"),
        ("concat-k1-s1-p0-g1-1x16x3x3+1x8x3x3-to16-fp32", "its output has 24 channels, not 16"),
        ("fully_connected-k1-s1-p0-g1-1x16x3x3-to16-fp32", "takes images of 1x1 pixels"),
        ("transpose-k1-s1-p0-g3-1x16x3x3-to16-fp32", "cannot be parted into 3 groups"),
    ],
)
def test_what_nothing_can_compute_is_refused(key: str, reason: str) -> None:
    with pytest.raises(BadInputError, match=reason):
        require_possible(block_of_key(key))


@pytest.mark.parametrize("of_type", DOMAINS)
def test_kernels_are_different_of_their_type_and_within_domain_and_limits(of_type: str) -> None:
    domain = DOMAINS[of_type]
    drawn = draw_kernels(of_type, 200, np.random.default_rng(3), LIMITS)
    assert len(set(keys_of(drawn))) == 200
    for spec in drawn:
        _, channels, height, width = spec.input_shapes[0]
        assert kernel_type(spec) == of_type
        assert LIMITS.hold(spec)
        assert height in domain.small_sides or domain.sides[0] <= height <= domain.sides[1]
        assert (1 if domain.columns else domain.least_side) <= width <= domain.sides[1]
        # Channels that are parted are rounded to that.
        slack = spec.groups / 2 if domain.groups else 0
        assert domain.channels[0] - slack <= channels <= domain.channels[1] + slack
        if domain.outputs is not None:
            assert domain.outputs[0] - slack <= spec.output_channels <= domain.outputs[1] + slack
        assert (spec.kernel, spec.stride, spec.padding) in domain.windows
        assert spec.activation in domain.activations
        assert min(output_size(spec)) >= 1
        assert domain.inputs[0] <= len(spec.input_shapes) <= domain.inputs[1]
        assert repeated(spec) in domain.repeated
    shapes = [spec.input_shapes[0] for spec in drawn]
    assert domain.sides == (1, 1) or domain.columns or 40 < sum(height != width for _, _, height, width in shapes) < 120
    assert {channels % 8 == 0 for _, channels, _, _ in shapes} == {True, False}
    assert {spec.kernel for spec in drawn} == {window[0] for window in domain.windows}
    assert {spec.activation for spec in drawn} == set(domain.activations)
    assert {repeated(spec) for spec in drawn} == set(domain.repeated)
    if domain.small_sides:
        assert 0.05 < np.mean([height < domain.sides[0] for _, _, height, _ in shapes]) < 0.17


@pytest.mark.parametrize("of_type", DEFAULT_TYPES)
def test_three_hundred_kernels_reach_both_ends_of_their_ranges(of_type: str) -> None:
    domain = DOMAINS[of_type]
    for seed in range(3):
        drawn = draw_kernels(of_type, 300, np.random.default_rng(seed), LIMITS)
        heights = [spec.input_shapes[0][2] for spec in drawn]
        channels = [spec.input_shapes[0][1] for spec in drawn]
        assert (min(heights), max(heights)) == (domain.least_side, domain.sides[1])
        assert min(channels) <= 1.2 * domain.channels[0]
        assert max(channels) > 0.9 * domain.channels[1]


@pytest.mark.parametrize("spec", OF_NETWORKS, ids=lambda spec: spec.key)
def test_kernels_of_known_networks_lie_inside_of_what_is_drawn(spec: BlockSpec) -> None:
    assert LIMITS.hold(spec)
    drawn = [kernel_features(one) for one in draw_kernels(kernel_type(spec), 300, np.random.default_rng(0), LIMITS)]
    for name, value in kernel_features(spec).items():
        assert min(one[name] for one in drawn) <= value <= max(one[name] for one in drawn), name


@pytest.mark.parametrize("of_type", ["convolution", "add"])
def test_few_kernels_at_the_ends_hold_nearly_all_random_ones_between_them(of_type: str) -> None:
    ends = draw_ends(of_type, 15, np.random.default_rng(0), LIMITS)
    assert len(set(keys_of(ends))) == len(ends) <= 15
    known = [kernel_features(spec) for spec in ends]

    def inside(spec: BlockSpec) -> bool:
        told = kernel_features(spec).items()
        return all(min(one[name] for one in known) <= value <= max(one[name] for one in known) for name, value in told)

    fresh = draw_kernels(of_type, 300, np.random.default_rng(1), LIMITS)
    assert sum(map(inside, fresh)) >= 295
    assert all(kernel_type(spec) == of_type and LIMITS.hold(spec) for spec in ends)
    # Those at most ends come first.
    assert draw_ends(of_type, 2, np.random.default_rng(0), LIMITS) == ends[:2]
    assert draw_ends(of_type, 0, np.random.default_rng(0), LIMITS) == []


def test_where_nothing_can_be_drawn_there_are_no_ends() -> None:
    assert draw_ends("relu", 5, np.random.default_rng(0), Limits(numbers=1)) == []


def test_every_type_is_a_block_that_can_be_built() -> None:
    for of_type in DOMAINS:
        for spec in draw_kernels(of_type, 8, np.random.default_rng(1), Limits().scaled(0.01)):
            build_block(spec)


def test_one_seed_draws_the_same_and_known_kernels_are_not_drawn_again() -> None:
    first, again, other = (draw_kernels("relu", 30, np.random.default_rng(seed), LIMITS) for seed in (5, 5, 6))
    assert first == again
    assert set(first) != set(other)
    known = frozenset(keys_of(first))
    assert not known & set(keys_of(draw_kernels("relu", 30, np.random.default_rng(5), LIMITS, known)))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(BadInputError, match="not of 'lstm'"):
        draw_kernels("lstm", 1, np.random.default_rng(0), LIMITS)
    with pytest.raises(BadInputError, match="hardly more than"):
        draw_kernels("relu", 50, np.random.default_rng(0), Limits(numbers=8))
    with pytest.raises(BadInputError, match="limits on a kernel's size are positive"):
        Limits().scaled(0)
    with pytest.raises(BadInputError, match="limits on a kernel's size are positive"):
        Limits().scaled(float("nan"))


def test_scaled_limits_let_larger_kernels_through() -> None:
    spec = pointwise(1024, 1024, 32)
    assert not LIMITS.hold(spec)
    assert LIMITS.scaled(5).hold(spec)


@given(st.sampled_from(tuple(DOMAINS)), st.integers(0, 2**32))
def test_near_a_kernel_lie_kernels_of_its_type_and_window(of_type: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    (spec,) = draw_kernels(of_type, 1, generator, LIMITS)
    require_possible(spec)
    near = draw_near(spec, generator, LIMITS)
    if near is not None:
        require_possible(near)
        assert kernel_type(near) == of_type
        assert LIMITS.hold(near)
        assert replace(near, input_shapes=spec.input_shapes, output_channels=1, groups=1, hidden_channels=None) == (
            replace(spec, output_channels=1, groups=1, hidden_channels=None)
        )
        assert 0.2 < near.input_shapes[0][2] / spec.input_shapes[0][2] < 5


def test_kernels_of_a_space_are_found_inside_of_its_blocks() -> None:
    nasbench = kernels_of_space(NasBench201(), LIMITS)
    convolving = {"convolution", "pointwise"}
    head = {"batch_norm", "relu", "global_avg_pool", "fully_connected", "view"}
    assert set(nasbench) == {*convolving, "avg_pool", "add", *head}
    assert nasbench["fully_connected"] == [BlockSpec("fully_connected", ((1, 64, 1, 1),), 10)]
    stem = BlockSpec("conv_bn", ((1, 3, 32, 32),), 16, 3, 1, 1)
    assert stem in nasbench["convolution"]
    assert BlockSpec("conv_bn", ((1, 16, 32, 32),), 16) in nasbench["pointwise"]
    fbnet = kernels_of_space(space_named("fbnet", classes=None, image_size=224, channels=None), LIMITS)
    assert set(fbnet) == {*convolving, "depthwise", "grouped", "mbconv", "add", "transpose", *head} - {
        "batch_norm",
        "relu",
    }
    assert {spec.activation for spec in fbnet["depthwise"]} == {"relu"}
    assert {spec.activation for spec in fbnet["pointwise"]} == {None, "relu"}
    # Dilated convolutions are kernels of their own.
    darts = kernels_of_space(space_named("darts", classes=None, image_size=None, channels=None), LIMITS)
    assert {(spec.kernel, spec.padding) for spec in darts["depthwise"]} == {(3, 1), (5, 2)}
    assert {(spec.kernel, spec.padding) for spec in darts["dilated_conv_bn"]} == {(3, 2), (5, 4)}
    assert kernels_of_space(NasBench201(), Limits(numbers=0.5)) == {}


@given(st.sampled_from(tuple(DOMAINS)), st.integers(0, 2**32))
def test_a_block_comes_back_from_its_key(of_type: str, seed: int) -> None:
    (spec,) = draw_kernels(of_type, 1, np.random.default_rng(seed), LIMITS)
    assert block_of_key(spec.key) == spec
    assert block_of_key(spec.in_dtype("int8").key) == spec.in_dtype("int8")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "conv_bn",
        "conv_bn-k3-s1-p1-g1-1x16x32x32-to16",
        "conv_bn-k3-s1-p1-g1-1x16x32-to16-fp32",
        "conv_bn-k03-s1-p1-g1-1x16x32x32-to16-fp32",
        "conv_bn-k3-s1-p1-g1-1x16x32x0-to16-fp32",
        "conv_bn-k3-s1-p1-g1-1x16x32x32-to16-fp32\n",
        "conv_bn-k3-s1-p1-g1-1x16x32x32-to16-relu-relu-fp32",
        "conv_bn-k3-s1-p1-g1-1x16x32x32-to99999999999-fp32",
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(BadInputError, match="no block's key"):
        block_of_key(key)
