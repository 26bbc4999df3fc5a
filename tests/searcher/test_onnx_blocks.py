"""Single operators as blocks: sizes read from hand-made graphs, and what is refused with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from searcher.errors import BadInputError
from searcher.export.kernels_of_onnx import NetworkKernel, cut
from searcher.spaces.block import BlockSpec
from tests.searcher.onnx_graphs import IMAGE, convolution, graph, single, weights

VIEW = BlockSpec("view", ((1, 1, 1, 1),), 1)


def only(path: Path) -> BlockSpec:
    (kernel,) = cut(path, "extended")
    return kernel.spec


@pytest.mark.parametrize(
    ("size", "attributes", "padding"),
    [
        ((1, 4, 8, 8), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 1),  # one row of zeros, below
        ((1, 4, 9, 9), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 1),
        ((1, 4, 9, 8), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, 1),  # two rows and one column
        ((1, 4, 9, 8), {"auto_pad": "VALID"}, 0),
        ((1, 4, 9, 8), {"pads": [2, 2, 0, 0]}, 1),
        ((1, 4, 8, 8), {"pads": [0, 0, 1, 1], "strides": [2, 2]}, 1),
        ((1, 4, 9, 9), {"pads": [0, 0, 1, 1], "strides": [2, 2]}, 0),
    ],
)
def test_zeros_on_one_side_are_spread_where_the_output_stays_as_large(
    size: tuple[int, ...], attributes: dict[str, Any], padding: int, tmp_path: Path
) -> None:
    spec = only(convolution(tmp_path / "c.onnx", size=size, **attributes))
    stride = 2 if "strides" in attributes else 1
    assert spec == BlockSpec("conv_bn", (size,), 4, kernel=3, stride=stride, padding=padding)  # type: ignore[arg-type]


def test_a_pool_that_rounds_up_reads_zeros_behind_the_image(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    spec = only(graph(tmp_path / "p.onnx", [node], {"x": (1, 4, 8, 8)}))
    assert spec == BlockSpec("max_pool", ((1, 4, 8, 8),), 4, kernel=3, stride=2, padding=1)


def test_a_convolution_that_sums_another_input_in_is_one_kernel(tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "activation": "Relu"}
    node = helper.make_node("FusedConv", ["x", "w", "b", "z"], ["y"], domain="com.microsoft", **attributes)
    shapes = {"x": IMAGE, "z": (1, 6, 9, 8)}
    spec = only(graph(tmp_path / "f.onnx", [node], shapes, {"w": weights(6, 4, 3, 3), "b": weights(6)}))
    assert spec == BlockSpec("conv_bn_add", (IMAGE, (1, 6, 9, 8)), 6, kernel=3, padding=1, activation="relu")


@pytest.mark.parametrize(
    ("operator", "constant", "expected"),
    [
        ("Add", weights(4, 1, 1), BlockSpec("add", (IMAGE, (1, 4, 1, 1)), 4)),
        ("Sub", weights(), BlockSpec("add", (IMAGE, (1, 1, 1, 1)), 4)),
        ("Mul", weights(1, 1, 9, 8), BlockSpec("mul", (IMAGE, (1, 1, 9, 8)), 4)),
        ("Div", weights(1), BlockSpec("div", (IMAGE, (1, 1, 1, 1)), 4)),
    ],
)
def test_a_constant_operand_is_an_input_that_is_repeated(
    operator: str, constant: NDArray[np.float32], expected: BlockSpec, tmp_path: Path
) -> None:
    # The constant comes first: pairs are computed as fast either way round.
    node = helper.make_node(operator, ["k", "x"], ["y"])
    assert only(graph(tmp_path / "b.onnx", [node], {"x": IMAGE}, {"k": constant})) == expected


@pytest.mark.parametrize(
    ("size", "number", "repeated"),
    [
        ((1, 5, 1, 1), (), True),
        ((1, 5, 1, 1), (1,), True),
        ((1, 5, 1, 1), (1, 1), True),
        ((1, 5, 1, 1), (1, 1, 1), False),
        ((1, 5, 1, 1), (1, 1, 1, 1), False),
        ((1, 5), (), False),
        ((1, 5, 7), (), False),
        ((1, 5, 1, 7), (), True),
        ((1, 5, 3, 3), (1, 1, 1, 1), True),
        ((1, 1, 1, 1), (), False),
    ],
)
def test_a_number_that_the_runtime_takes_in_one_loop_is_not_repeated_one_by_one(
    size: tuple[int, ...], number: tuple[int, ...], repeated: bool, tmp_path: Path
) -> None:
    node = helper.make_node("Add", ["x", "k"], ["y"])
    spec = only(graph(tmp_path / "n.onnx", [node], {"x": size}, {"k": weights(*number)}))
    first = spec.input_shapes[0]
    assert math.prod(first) == math.prod(size)
    assert spec.input_shapes[1] == ((1, 1, 1, 1) if repeated else first)


@pytest.mark.parametrize(("size", "parts"), [((1, 8, 5, 6), (4, 4)), ((1, 8, 5, 6), (1, 2, 5)), ((1, 8), (6, 2))])
def test_what_parts_channels_copies_as_what_joins_them(
    size: tuple[int, ...], parts: tuple[int, ...], tmp_path: Path
) -> None:
    joined = ["y", "z", "u"][: len(parts)]
    node = helper.make_node("Split", ["x", "s"], joined, axis=1)
    spec = only(graph(tmp_path / "s.onnx", [node], {"x": size}, {"s": np.array(parts)}))
    rest = (*size[2:], 1, 1)[:2]
    assert spec == BlockSpec("concat", tuple((1, part, *rest) for part in parts), 8)  # type: ignore[misc]


def test_a_slice_that_leaves_nothing_out_copies_all(tmp_path: Path) -> None:
    numbers = {name: np.array([number]) for name, number in (("from", 0), ("to", 4), ("axis", 1))}
    node = helper.make_node("Slice", ["x", "from", "to", "axis"], ["y"])
    assert only(graph(tmp_path / "s.onnx", [node], {"x": IMAGE}, numbers)) == BlockSpec("view", (IMAGE,), 4)


@pytest.mark.parametrize(
    ("shape", "order", "expected"),
    [
        ((1, 2, 3, 5, 7), (0, 2, 1, 3, 4), BlockSpec("transpose", ((1, 6, 5, 7),), 6, groups=2)),
        ((1, 2, 3, 35), (0, 2, 1, 3), BlockSpec("transpose", ((1, 6, 35, 1),), 6, groups=2)),
        ((1, 6, 5, 7), (0, 2, 3, 1), BlockSpec("transpose", ((1, 210, 1, 1),), 210, groups=6)),
        ((1, 6, 1, 1), (0, 2, 3, 1), BlockSpec("transpose", ((1, 6, 1, 1),), 6)),
        ((4, 2, 3, 5, 7), (0, 2, 1, 3, 4), BlockSpec("transpose", ((4, 6, 5, 7),), 6, groups=2)),
    ],
)
def test_a_transposition_deals_out_groups(
    shape: tuple[int, ...], order: tuple[int, ...], expected: BlockSpec, tmp_path: Path
) -> None:
    node = helper.make_node("Transpose", ["x"], ["y"], perm=order)
    assert only(graph(tmp_path / "t.onnx", [node], {"x": shape})) == expected


def test_a_view_at_the_end_copies_and_others_move_nothing(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Relu", ["f"], ["r"]),
        helper.make_node("Reshape", ["r", "s"], ["y"]),
    ]
    path = graph(tmp_path / "v.onnx", nodes, {"x": IMAGE}, {"s": np.array([1, 4, 72])})
    assert [kernel.spec for kernel in cut(path, "extended")] == [
        VIEW,
        BlockSpec("relu", ((1, 288, 1, 1),), 288),
        BlockSpec("view", ((1, 288, 1, 1),), 288),
    ]


def test_what_the_runtime_folds_or_drops_is_no_kernel(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sqrt", ["a"], ["k"]),
        helper.make_node("Identity", ["x"], ["i"]),
        helper.make_node("Mul", ["i", "k"], ["y"], name="m"),
    ]
    path = graph(tmp_path / "k.onnx", nodes, {"x": IMAGE}, {"a": weights(1, 4, 1, 1)})
    assert cut(path, "extended") == (NetworkKernel("m", "Mul", BlockSpec("mul", (IMAGE, (1, 4, 1, 1)), 4)),)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "rectangular kernel": (lambda p: convolution(p, (4, 4, 3, 1)), r"Conv \('c'\): its kernel is 3x1.*squares only"),
    "strides": (lambda p: convolution(p, strides=[1, 2]), "its stride is 1x2"),
    "dilation of 3": (lambda p: convolution(p, dilations=[3, 3]), "its dilation is 3, and blocks know 1 and 2"),
    "one side": (lambda p: convolution(p, pads=[1, 0, 1, 0]), "it pads 2 rows and 0 columns in all"),
    "one dimension": (lambda p: convolution(p, (4, 4, 3), (1, 4, 9)), "it takes 1x4x9, which is no image"),
    "softmax": (
        lambda p: single(p, "Softmax", axis=1),
        r"Softmax \('n'\): it takes 1x4x9x8: blocks know the softmax of",
    ),
    "split": (lambda p: single(p, "Split", axis=2), "it parts 1x4x9x8 along axis 2, not the channels of images"),
    "unknown": (lambda p: single(p, "Erf"), r"r.onnx cannot be cut into kernels: Erf \('n'\): no block computes this"),
    "mean": (lambda p: single(p, "ReduceMean", axes=[1]), r"mean of 1x4x9x8 over the axes \(1,\), not of each"),
    "order": (lambda p: single(p, "Transpose", perm=[0, 3, 2, 1]), r"blocks exchange two neighbours only"),
    "dilated pool": (lambda p: single(p, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "it is dilated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_kernel_is_refused_by_name(name: str, tmp_path: Path) -> None:
    write, message = REFUSED[name]
    with pytest.raises(BadInputError, match=message) as error:
        cut(write(tmp_path / "r.onnx"), "extended")
    assert "\n" not in str(error.value)


def test_an_operator_with_memory_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {"w": weights(1, 16, 3), "r": weights(1, 16, 4)}
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="n", hidden_size=4)
    with pytest.raises(BadInputError, match=r"LSTM \('n'\): no block computes this operator"):
        cut(graph(tmp_path / "l.onnx", [node], {"x": (2, 1, 3)}, sizes), "extended")


def test_weights_that_are_computed_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="n")
    with pytest.raises(BadInputError, match="its weights are computed"):
        cut(graph(tmp_path / "w.onnx", [node], {"x": IMAGE, "w": (4, 4, 3, 3)}), "extended")


def test_integers_inside_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["p", "y"], name="n", kernel_shape=[3, 3])]
    with pytest.raises(BadInputError, match="it computes int64, and kernels are known in fp32"):
        cut(graph(tmp_path / "n.onnx", nodes, {"x": IMAGE}), "extended")
