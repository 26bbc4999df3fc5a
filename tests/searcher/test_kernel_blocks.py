"""Blocks of one kernel: one operator of the runtime each, the numbers that torch computes, the textbook's counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from searcher.errors import BadInputError
from searcher.export.drawn_activations import drawn_calibration
from searcher.export.exporter import exporter_for
from searcher.export.kernels_of_onnx import cut
from searcher.export.onnx_node import ACTIVATION_OPERATORS
from searcher.export.recipe import set_weights
from searcher.networks.blocks import build_block
from searcher.networks.kernels import activation
from searcher.spaces.block import ACTIVATIONS, BlockSpec, Shape
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.kernels import kernel_features, output_size
from tests.searcher.tflite_files import operators, run_tflite

IMAGE: Shape = (1, 8, 6, 10)
PIXEL: Shape = (1, 8, 1, 1)
PLANE: Shape = (1, 1, 6, 10)
NUMBER: Shape = (1, 1, 1, 1)
FUSED_CONV, FUSED_GEMM = "com.microsoft:FusedConv", "com.microsoft:FusedGemm"
IN_CONVOLUTIONS = ("relu", "relu6", "leaky_relu", "hard_sigmoid", "sigmoid", "tanh")
IN_LINEAR_LAYERS = ("relu", "leaky_relu", "hard_sigmoid", "sigmoid", "tanh", "elu")
CONVOLUTION = BlockSpec("conv_bn", (IMAGE,), 16, kernel=3, stride=2, padding=1)
LINEAR = BlockSpec("fully_connected", (PIXEL,), 5)
SUM = BlockSpec("conv_bn_add", (IMAGE, (1, 4, 6, 10)), 4, kernel=3, padding=1, groups=2, activation="relu")
TAKEN_APART = BlockSpec("hard_swish", (IMAGE,), 8)
# Every kernel with the one operator that ONNX Runtime makes of it at the level `extended`.
OPERATOR_OF = {
    CONVOLUTION: "Conv",
    BlockSpec("conv_bn", (IMAGE,), 8, kernel=5, padding=2, groups=8): "Conv",
    **{replace(CONVOLUTION, activation=name): FUSED_CONV for name in IN_CONVOLUTIONS},
    BlockSpec("dilated_conv_bn", (IMAGE,), 8, kernel=3, padding=2, groups=8): "Conv",
    BlockSpec("dilated_conv_bn", (IMAGE,), 4, kernel=3, padding=2, stride=2, activation="relu"): FUSED_CONV,
    LINEAR: "Gemm",
    **{replace(LINEAR, activation=name): FUSED_GEMM for name in IN_LINEAR_LAYERS},
    BlockSpec("max_pool", (IMAGE,), 8, kernel=3, stride=2, padding=1): "MaxPool",
    BlockSpec("avg_pool", (IMAGE,), 8, kernel=3, padding=1): "AveragePool",
    BlockSpec("global_avg_pool", (IMAGE,), 8): "GlobalAveragePool",
    BlockSpec("batch_norm", (IMAGE,), 8): "BatchNormalization",
    BlockSpec("add", (IMAGE, IMAGE), 8): "Add",
    BlockSpec("mul", (IMAGE, IMAGE), 8): "Mul",
    BlockSpec("mul", (IMAGE, PIXEL), 8): "Mul",
    BlockSpec("div", (IMAGE, IMAGE), 8): "Div",
    **{
        BlockSpec(operation, (IMAGE, second), 8): operator
        for operation, operator in {"add": "Add", "div": "Div"}.items()
        for second in (PIXEL, PLANE, NUMBER)
    },
    BlockSpec("add", (PIXEL, NUMBER), 8): "Add",
    BlockSpec("mul", (PIXEL, PIXEL), 8): "Mul",
    BlockSpec("concat", (IMAGE, (1, 3, 6, 10)), 11): "Concat",
    BlockSpec("softmax", (PIXEL,), 8): "Softmax",
    **{
        BlockSpec(name, (IMAGE,), 8): operator
        for operator, name in ACTIVATION_OPERATORS.items()
        if operator not in ("HardSwish", "Gelu")
    },
    BlockSpec("transpose", (IMAGE,), 8): "Transpose",
    BlockSpec("transpose", (IMAGE,), 8, groups=2): "Transpose",
    BlockSpec("transpose", (IMAGE,), 8, groups=4): "Transpose",
    BlockSpec("slice", (IMAGE,), 8, kernel=2): "Slice",
    BlockSpec("slice", (IMAGE,), 8, kernel=2, stride=2): "Slice",
    BlockSpec("pad", (IMAGE,), 12): "Pad",
    BlockSpec("pad", (IMAGE,), 8, padding=2): "Pad",
    BlockSpec("view", (IMAGE,), 8): "Flatten",
    BlockSpec("view", ((1, 1, 1, 1),), 1): "Flatten",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs_of(spec: BlockSpec) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape).astype(np.float32) for shape in spec.file_shapes]


def computed_by_torch(spec: BlockSpec) -> np.ndarray:
    with torch.no_grad():
        result: torch.Tensor = set_weights(build_block(spec))(*map(torch.from_numpy, inputs_of(spec)))
    return result.numpy()


def computed_by_onnx(spec: BlockSpec, folder: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(exporter_for("onnx").export_block(spec, folder).path)
    names = [node.name for node in session.get_inputs()]
    (result,) = session.run(None, dict(zip(names, inputs_of(spec), strict=True)))
    return np.asarray(result)


def test_the_kernels_of_these_tests_have_all_activations() -> None:
    assert set(ACTIVATION_OPERATORS.values()) == set(ACTIVATIONS)
    alone = {spec.operation for spec in (*OPERATOR_OF, TAKEN_APART)}
    assert set(ACTIVATIONS) <= alone


@pytest.mark.parametrize("spec", OPERATOR_OF, ids=lambda spec: spec.key)
def test_a_kernel_is_one_operator_that_is_read_back_as_itself(spec: BlockSpec, tmp_path: Path) -> None:
    (kernel,) = cut(exporter_for("onnx").export_block(spec, tmp_path).path, "extended")
    assert kernel.operation == OPERATOR_OF[spec]
    assert kernel.spec == spec


@pytest.mark.parametrize("spec", [*OPERATOR_OF, SUM, TAKEN_APART], ids=lambda spec: spec.key)
def test_a_kernel_computes_what_torch_does_in_the_size_that_is_told(spec: BlockSpec, tmp_path: Path) -> None:
    expected = computed_by_torch(spec)
    np.testing.assert_allclose(computed_by_onnx(spec, tmp_path), expected, atol=1e-5)
    assert kernel_features(spec)["written"] == expected.size
    if expected.ndim == 4:
        assert expected.shape == (1, spec.output_channels, *output_size(spec))


@pytest.mark.parametrize("spec", [*OPERATOR_OF, SUM, TAKEN_APART], ids=lambda spec: spec.key)
def test_counts_are_those_of_the_module(spec: BlockSpec) -> None:
    module = set_weights(build_block(spec))
    found = [0]

    def count(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        weights = layer.weight
        assert isinstance(weights, torch.Tensor)
        found[0] += weights.numel() * (output.shape[2:].numel() if output.dim() == 4 else 1)

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(*map(torch.from_numpy, inputs_of(spec)))
    assert block_macs(spec) == found[0]
    assert block_parameters(spec) == sum(one.numel() for one in module.parameters())


def test_the_runtime_takes_sums_and_hard_swish_apart(tmp_path: Path) -> None:
    found = {
        spec.operation: [
            kernel.operation for kernel in cut(exporter_for("onnx").export_block(spec, tmp_path).path, "extended")
        ]
        for spec in (SUM, TAKEN_APART)
    }
    assert found == {"conv_bn_add": ["Conv", "Add", "Relu"], "hard_swish": ["HardSigmoid", "Mul"]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(LINEAR, input_shapes=(IMAGE,)), "takes images of 1x1 pixels"),
        (BlockSpec("softmax", (IMAGE,), 8), "takes images of 1x1 pixels"),
        (BlockSpec("transpose", (IMAGE,), 8, groups=3), "cannot be parted into 3 groups"),
        (BlockSpec("slice", (IMAGE,), 8), "leaves something out"),
        (BlockSpec("pad", (IMAGE,), 8), "adds something"),
        (BlockSpec("pad", (IMAGE,), 4, padding=1), "adds something"),
        (BlockSpec("mul", (IMAGE, IMAGE), 8, activation="relu"), "'mul' takes no activation"),
        (replace(CONVOLUTION, activation="swoosh"), "no activation 'swoosh'"),
    ],
    ids=lambda value: value.key if isinstance(value, BlockSpec) else "",
)
def test_what_computes_nothing_sensible_is_refused(spec: BlockSpec, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        exporter_for("onnx").export_block(spec, tmp_path)


def test_keys_of_before_are_as_they_were() -> None:
    """Tables that lie on disks name their entries so."""
    old = {
        "conv_bn-k3-s1-p1-g1-1x3x32x32-to16-fp32": BlockSpec("conv_bn", ((1, 3, 32, 32),), 16, kernel=3, padding=1),
        "relu-k1-s1-p0-g1-1x16x32x32-to16-fp32": BlockSpec("relu", ((1, 16, 32, 32),), 16),
        "dil_conv-k3-s1-p2-g1-1x16x32x32-to16-fp32": BlockSpec("dil_conv", ((1, 16, 32, 32),), 16, kernel=3, padding=2),
    }
    assert {key: spec.key for key, spec in old.items()} == {key: key for key in old}


def test_every_activation_has_a_module() -> None:
    assert all(isinstance(activation(name), nn.Module) for name in ACTIVATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (LINEAR, ["FULLY_CONNECTED"]),
        (replace(LINEAR, activation="relu"), ["FULLY_CONNECTED"]),
        (replace(CONVOLUTION, stride=1, activation="relu6"), ["CONV_2D"]),
        (BlockSpec("hard_swish", (IMAGE,), 8), ["HARD_SWISH"]),
        (BlockSpec("sigmoid", (IMAGE,), 8), ["LOGISTIC"]),
        (BlockSpec("leaky_relu", (IMAGE,), 8), ["LEAKY_RELU"]),
        (BlockSpec("global_avg_pool", (IMAGE,), 8), ["AVERAGE_POOL_2D"]),
        (BlockSpec("mul", (IMAGE, PIXEL), 8), ["MUL"]),
        (BlockSpec("add", (IMAGE, PIXEL), 8), ["ADD"]),
        (BlockSpec("add", (IMAGE, NUMBER), 8), ["RESHAPE", "ADD"]),
        (BlockSpec("div", (IMAGE, PIXEL), 8), ["DIV"]),
        (BlockSpec("dilated_conv_bn", (IMAGE,), 8, kernel=3, padding=2, groups=8), ["DEPTHWISE_CONV_2D"]),
        (BlockSpec("softmax", (PIXEL,), 8), ["SOFTMAX"]),
    ],
    ids=lambda value: value.key if isinstance(value, BlockSpec) else "",
)
def test_kernels_are_single_operators_of_tflite_too(spec: BlockSpec, expected: list[str], tmp_path: Path) -> None:
    model = exporter_for("litert").export_block(spec, tmp_path).path
    assert [name for name in operators(model) if name != "DELEGATE"] == expected
    stored = [one.transpose(0, 2, 3, 1) if one.ndim == 4 else one for one in inputs_of(spec)]
    result = run_tflite(model, stored)
    computed = result.transpose(0, 3, 1, 2) if result.ndim == 4 else result
    np.testing.assert_allclose(computed, computed_by_torch(spec), atol=1e-4)


def test_tflite_has_no_channels_in_groups(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="takes images, rows and numbers, not 1x2x4x6x10"):
        exporter_for("litert").export_block(BlockSpec("transpose", (IMAGE,), 8, groups=2), tmp_path)


def test_quotients_stay_within_what_fp16_can_say(tmp_path: Path) -> None:
    """Of so many quotients of normal numbers one is beyond 65,504."""
    exporter = exporter_for("onnx", "fp16").calibrated_on(drawn_calibration())
    spec = BlockSpec("div", ((1, 64, 80, 80),) * 2, 64)
    assert exporter.export_block(replace(spec, dtype="fp16"), tmp_path).path.exists()
