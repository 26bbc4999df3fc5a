"""Blocks: their keys name them uniquely, and their counts are the textbook's."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec, Shape
from searcher.spaces.counts import block_macs, block_parameters

sizes = st.integers(1, 4096)
words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
shapes: st.SearchStrategy[Shape] = st.tuples(sizes, sizes, sizes, sizes)
specs = st.builds(
    BlockSpec,
    operation=words,
    input_shapes=st.lists(shapes, min_size=1, max_size=3).map(tuple),
    output_channels=sizes,
    kernel=sizes,
    stride=sizes,
    padding=st.integers(0, 9),
    groups=sizes,
    activation=st.none() | words,
    dtype=words,
    hidden_channels=st.none() | sizes,
)


def decode(key: str) -> BlockSpec:
    """Read a key back; that this is possible for every block shows that no two blocks share a key."""
    found = re.fullmatch(r"(\w+)-k(\d+)-s(\d+)-p(\d+)-g(\d+)-([\dx+]+)(?:-h(\d+))?-to(\d+)(?:-(\w+))?-(\w+)", key)
    assert found is not None, key
    operation, kernel, stride, padding, groups, inputs, hidden, outputs, activation, dtype = found.groups()
    input_shapes: list[Shape] = []
    for text in inputs.split("+"):
        batch, channels, height, width = (int(size) for size in text.split("x"))
        input_shapes.append((batch, channels, height, width))
    return BlockSpec(
        operation,
        tuple(input_shapes),
        int(outputs),
        int(kernel),
        int(stride),
        int(padding),
        int(groups),
        activation,
        dtype,
        None if hidden is None else int(hidden),
    )


@settings(deadline=None)  # a shared machine can stall any example
@given(specs)
def test_a_key_gives_back_every_field(spec: BlockSpec) -> None:
    assert decode(spec.key) == spec


def test_keys_are_readable_and_stable() -> None:
    conv = BlockSpec("relu_conv_bn", ((1, 16, 32, 32),), 16, kernel=3, padding=1)
    assert conv.key == "relu_conv_bn-k3-s1-p1-g1-1x16x32x32-to16-fp32"
    fused = BlockSpec("conv_bn", ((1, 3, 8, 8),), 16, kernel=3, stride=2, padding=1, activation="relu")
    assert fused.key == "conv_bn-k3-s2-p1-g1-1x3x8x8-to16-relu-fp32"
    add = BlockSpec("add", ((1, 16, 8, 8), (1, 16, 8, 8)), 16)
    assert add.key == "add-k1-s1-p0-g1-1x16x8x8+1x16x8x8-to16-fp32"
    assert CALL_OVERHEAD.key == "identity-k1-s1-p0-g1-1x1x1x1-to1-fp32"


def test_hidden_channels_are_part_of_a_key_only_where_they_are_told() -> None:
    spec = BlockSpec("mbconv", ((1, 24, 32, 32),), 32, 5, 2, 2, activation="relu", hidden_channels=144)
    assert spec.key == "mbconv-k5-s2-p2-g1-1x24x32x32-h144-to32-relu-fp32"
    assert replace(spec, hidden_channels=None).key == "mbconv-k5-s2-p2-g1-1x24x32x32-to32-relu-fp32"
    with pytest.raises(BadInputError, match=r"mbconv.* does not tell its hidden channels"):
        block_macs(replace(spec, hidden_channels=None))


@pytest.mark.parametrize("word", ["", "Conv", "conv-bn", "conv bn", "1x1", "conv/bn", "c\n"])
def test_a_name_that_would_break_keys_is_refused(word: str) -> None:
    with pytest.raises(BadInputError, match=re.escape(repr(word))):
        BlockSpec(word, ((1, 1, 1, 1),), 1)


def test_a_size_that_is_not_positive_is_refused() -> None:
    with pytest.raises(BadInputError, match="not positive"):
        BlockSpec("add", (), 1)
    with pytest.raises(BadInputError, match="not positive"):
        BlockSpec("add", ((1, 0, 1, 1),), 1)
    with pytest.raises(BadInputError, match="not positive"):
        BlockSpec("conv_bn", ((1, 1, 1, 1),), 1, padding=-1)
    with pytest.raises(BadInputError, match="not positive"):
        BlockSpec("mbconv", ((1, 1, 1, 1),), 1, hidden_channels=0)


def test_counts_of_a_convolution() -> None:
    conv = BlockSpec("relu_conv_bn", ((1, 16, 32, 32),), 16, kernel=3, padding=1)
    assert block_parameters(conv) == 16 * 9 * 16 + 2 * 16
    assert block_macs(conv) == 16 * 9 * 16 * 32 * 32
    halved = BlockSpec("conv_bn", ((1, 16, 32, 32),), 16, kernel=3, stride=2, padding=1)
    assert block_macs(halved) == 16 * 9 * 16 * 16 * 16
    grouped = BlockSpec("conv_bn", ((1, 16, 32, 32),), 16, kernel=3, padding=1, groups=16)
    assert block_parameters(grouped) == 9 * 16 + 2 * 16


def test_counts_of_the_other_blocks() -> None:
    reduction = BlockSpec("residual_reduction", ((1, 16, 32, 32),), 32, kernel=3, stride=2, padding=1)
    assert block_parameters(reduction) == 4608 + 64 + 9216 + 64 + 512
    assert block_macs(reduction) == (4608 + 9216 + 512) * 256
    head = BlockSpec("head", ((1, 64, 8, 8),), 10)
    assert block_parameters(head) == 128 + 650
    assert block_macs(head) == 640
    mbconv = BlockSpec("mbconv", ((1, 24, 32, 32),), 32, 5, 2, 2, activation="relu", hidden_channels=144)
    assert block_parameters(mbconv) == 24 * 144 + 144 * 25 + 144 * 32 + 2 * (144 + 144 + 32)
    assert block_macs(mbconv) == 24 * 144 * 32**2 + (144 * 25 + 144 * 32) * 16**2
    halves = replace(mbconv, groups=2)
    assert block_parameters(mbconv) - block_parameters(halves) == (24 * 144 + 144 * 32) // 2
    mobile_head = BlockSpec("mobile_head", ((1, 352, 4, 4),), 10, activation="relu", hidden_channels=1504)
    assert block_parameters(mobile_head) == 352 * 1504 + 2 * 1504 + 1504 * 10 + 10
    assert block_macs(mobile_head) == 352 * 1504 * 16 + 15040
    assert block_parameters(CALL_OVERHEAD) == block_macs(CALL_OVERHEAD) == 0
    with pytest.raises(BadInputError, match="'dream'"):
        block_macs(BlockSpec("dream", ((1, 1, 1, 1),), 1))
