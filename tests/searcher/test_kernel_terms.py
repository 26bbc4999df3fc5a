"""The works of kernels are what a plain walk through their loops counts."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.cost_models.kernels.terms import strips, terms
from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.counts import convolutions


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Height, width, kernel, stride and padding that give an output."""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    height, width = (draw(st.integers(max(1, kernel - 2 * padding), 12)) for _ in range(2))
    return height, width, kernel, stride, padding


@given(windows())
def test_gathering_is_what_a_walk_through_the_image_counts(window: tuple[int, int, int, int, int]) -> None:
    height, width, kernel, stride, padding = window
    spec = BlockSpec("conv_bn", ((1, 3, height, width),), 3, kernel, stride, padding, groups=3)
    (layer,) = convolutions(spec)
    walked: Counter[str] = Counter()
    out_height, out_width = layer.output_size(height), layer.output_size(width)
    for down in range(kernel):
        for across in range(kernel):
            for row in range(out_height):
                columns = [column * stride + across - padding for column in range(out_width)]
                before = sum(column < 0 for column in columns)
                inside = sum(0 <= column < width for column in columns)
                if not 0 <= row * stride + down - padding < height:
                    walked.update(cleared_rows=1, cleared=out_width)
                elif stride == 1:
                    walked.update(copied_rows=1, copied_fours=inside // 4, copied_ones=inside % 4)
                    walked.update(margins=out_width - inside)
                else:
                    checked = "apart_checked" if before + inside < out_width else "apart"
                    walked.update({"apart_rows": 1, checked: out_width - before, "margins": before})
    found = terms(spec)
    if (kernel, stride, padding) == (1, 1, 0):
        # They lie as the product needs them.
        walked.clear()
        assert not [name for name in found if name.startswith(("copied", "apart", "strip"))]
    for name, amount in walked.items():
        assert found.get(name, 0.0) == 3 * amount, name
    assert found["multiplied"] == 3 * kernel**2 * -(-out_height * out_width // 16) * 16


@given(windows())
def test_pooling_is_what_a_walk_through_the_windows_counts(window: tuple[int, int, int, int, int]) -> None:
    height, width, kernel, stride, padding = window
    spec = BlockSpec("max_pool", ((1, 2, height, width),), 2, kernel, stride, padding)
    out_height = (height + 2 * padding - kernel) // stride + 1
    read_rows = sum(0 <= row * stride + down - padding < height for row in range(out_height) for down in range(kernel))
    found = terms(spec)
    assert found["down_fours"] * 4 + found["down_ones"] == 2 * read_rows * width
    assert found["rows"] == 2 * out_height


@given(st.integers(2, 60), st.integers(2, 300), st.integers(1, 100))
def test_a_product_is_what_a_walk_through_its_blocks_counts(rows: int, columns: int, depth: int) -> None:
    walked: Counter[str] = Counter()
    column_strip, depth_strip = strips(depth, columns)
    for strip in range(0, columns, column_strip):
        for begun in range(0, depth, depth_strip):
            steps = min(depth_strip, depth - begun)
            left = rows
            while left:
                block = next((block for block in (12, 6) if block <= left), left)
                left -= block
                across = min(column_strip, columns - strip)
                while across > 0:
                    vectors = 2 if across > 16 else 1
                    across -= 16 * vectors
                    walked[f"rows_of_{block}" if block >= 6 else "rows_left"] += steps * vectors * block
                    walked["waited"] += steps * max(0, 4 - vectors * block)
                    walked["blocks"] += 1
    found = terms(BlockSpec("conv_bn", ((1, depth, 1, columns),), rows))
    counted = {name: found.get(name, 0.0) for name in ("rows_of_12", "rows_of_6", "rows_left", "waited", "blocks")}
    assert counted == {name: float(walked[name]) for name in counted}
    assert "copied_rows" not in found
    assert found["packed"] == depth * columns


def test_one_row_and_one_column_are_no_blocks() -> None:
    row = terms(BlockSpec("conv_bn", ((1, 40, 8, 8),), 2, groups=2))
    assert (row["passes"], row["multiplied"], row["channels"]) == (2 * 5 * 64, 2 * 20 * 64, 2)
    column = terms(BlockSpec("conv_bn", ((1, 40, 1, 1),), 10))
    assert (column["dots"], column["dotted"]) == (10, 400)
    assert not {"packed", "blocks", "crowded"} & (row.keys() | column.keys())


@pytest.mark.parametrize(
    ("side", "channels", "crowded"),
    [(32, 8, False), (32, 9, True), (32, 128, True), (33, 128, False), (2, 1024, False)],
)
def test_rows_that_lie_a_cache_apart_crowd_each_other(side: int, channels: int, crowded: bool) -> None:
    """A row of 32 x 32 pixels is as long as a way of the cache, which has eight of them."""
    found = terms(BlockSpec("conv_bn", ((1, channels, side, side),), 16))
    assert found["crowded"] == (channels * 64 if crowded else 0)


def test_columns_left_over_cost_a_whole_vector() -> None:
    exact, over = (terms(BlockSpec("conv_bn", ((1, 40, 1, width),), 12)) for width in (16, 17))
    assert over["rows_of_12"] == 2 * exact["rows_of_12"]


@pytest.mark.parametrize(
    ("depth", "columns", "expected"), [(128, 900, (128, 128)), (9, 900, (1024, 16)), (1000, 49, (64, 256))]
)
def test_strips_hold_as_many_numbers_whatever_their_sides(depth: int, columns: int, expected: tuple[int, int]) -> None:
    assert strips(depth, columns) == expected
    assert expected[0] * expected[1] == 128**2


def test_whatever_else_goes_over_its_channels_and_weights_once() -> None:
    linear = terms(BlockSpec("fully_connected", ((1, 30, 1, 1),), 7))
    assert (linear["parameters"], linear["channels"], linear["written"]) == (30 * 7 + 7, 30, 7)
    mean = terms(BlockSpec("global_avg_pool", ((1, 6, 7, 7),), 6))
    assert (mean["read"], mean["channel_ends"], mean["written"], mean["sums_beyond_128"]) == (6 * 49, 6 * 1, 6, 0)
    assert terms(BlockSpec("global_avg_pool", ((1, 6, 20, 20),), 6))["sums_beyond_128"] == 6 * (400 - 128)
    assert terms(BlockSpec("concat", ((1, 6, 7, 7),) * 3, 18))["inputs"] == 3


@pytest.mark.parametrize(
    ("first", "second", "way", "loops", "ends"),
    [
        ((1, 6, 5, 7), (1, 6, 1, 1), "pixel", 6, 6 * 3),
        ((1, 6, 5, 7), (1, 1, 5, 7), "plane", 6, 6 * 3),
        ((1, 6, 5, 7), (1, 1, 1, 1), "number", 1, 210 % 16),
        ((1, 6, 1, 1), (1, 1, 1, 1), "number", 6, 6),
        ((1, 6, 1, 7), (1, 1, 1, 1), "number", 6, 6 * 7),
        ((1, 6, 5, 1), (1, 1, 1, 1), "number", 30, 30),
        ((1, 1, 5, 7), (1, 1, 1, 1), "number", 1, 35 % 16),
        ((1, 6, 5, 7), (1, 6, 5, 1), "otherwise", 6, 6 * 3),
    ],
)
def test_an_operand_that_is_repeated_has_loops_of_its_own(
    first: Shape, second: Shape, way: str, loops: int, ends: int
) -> None:
    alike, found = (terms(BlockSpec("mul", (first, other), first[1])) for other in (first, second))
    assert (found[f"repeated_{way}"], found["loops"], found["loop_ends"]) == (found["written"], loops, ends)
    assert found["read"] == math.prod(first) + math.prod(second) < alike["read"]
    assert not {"loops", "loop_ends"} & alike.keys()


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ((1, 1), {"moved": 12}),
        ((2, 1), {"moved": 12}),
        ((3, 1), {"copies": 12, "copies_beyond_32": 0, "copies_beyond_64": 0, "copies_beyond_128": 0, "copied": 0}),
        ((8, 4), {"copies": 12, "copies_beyond_32": 0, "copies_beyond_64": 0, "copies_beyond_128": 0, "copied": 0}),
        ((9, 9), {"copies": 12, "copies_beyond_32": 12, "copies_beyond_64": 12, "copies_beyond_128": 0, "copied": 0}),
        (
            (20, 20),
            {
                **{"copies": 12, "copies_beyond_32": 12, "copies_beyond_64": 12, "copies_beyond_128": 12},
                "copied": 12 * (400 - 128),
            },
        ),
    ],
)
def test_a_transposition_copies_its_channels(side: tuple[int, int], expected: dict[str, int]) -> None:
    found = terms(BlockSpec("transpose", ((1, 12, *side),), 12, groups=3))
    assert {name: found[name] for name in found if name.startswith(("mov", "cop")) and "moved_" not in name} == expected


def test_what_outgrows_caches_costs_extra_for_the_rest() -> None:
    small, large = (terms(BlockSpec("relu", ((1, 64, side, side),), 64)) for side in (32, 64))
    assert (small["read_beyond_256k"], large["read_beyond_256k"]) == (0, 64 * 64**2 - 2**16)
    assert large["moved_beyond_1m"] == 2 * 64 * 64**2 - 2**18


def test_an_activation_and_a_sum_are_works_of_their_own() -> None:
    plain = terms(BlockSpec("conv_bn", ((1, 4, 8, 8),), 6))
    fused = terms(BlockSpec("conv_bn_add", ((1, 4, 8, 8), (1, 6, 8, 8)), 6, activation="relu"))
    assert fused["activated_relu"] == fused["summed"] == 6 * 64
    assert not {"activated_relu", "summed"} & plain.keys()
    assert fused["read"] == plain["read"] + 6 * 64
