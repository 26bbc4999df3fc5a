"""ONNX files cut into kernels: as many operators as the agent sees, as many multiply-accumulates as the network has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from profiler_agent.records import Settings
from profiler_agent.runtimes.onnx import RUNTIME
from searcher.errors import BadInputError
from searcher.export import to_onnx
from searcher.export.exporter import exporter_for
from searcher.export.kernels_of_onnx import NetworkKernel, cut
from searcher.export.quiet import quietly
from searcher.networks.classic import mobilenet_v2, resnet18
from searcher.networks.resnet import ResNet20
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.catalogue import space_named
from searcher.spaces.counts import block_macs
from tests.searcher.onnx_graphs import IMAGE, graph, single

CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SHUFFLING = "1-7-8-5-2-5-1-8-6-8-0-4-3-1-8-8-5-2-1-4-8-5"
VIEW = BlockSpec("view", ((1, 1, 1, 1),), 1)
CONV, FUSED = "Conv", "com.microsoft:FusedConv"


def kernel_macs(kernels: Sequence[NetworkKernel]) -> int:
    return sum(block_macs(kernel.spec) for kernel in kernels)


def module_macs(module: nn.Module, size: int) -> int:
    """Multiply-accumulates of a network by hooks at its layers, for one image of that size."""
    found = [0]

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        weights = layer.weight
        assert isinstance(weights, Tensor)
        found[0] += weights.numel() * (output.shape[2:].numel() if output.dim() == 4 else 1)

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(torch.zeros(1, 3, size, size))
    return found[0]


def written(module: nn.Module, path: Path, size: int = 32) -> Path:
    to_onnx.write(module, ((1, 3, size, size),), path)
    return path


def specs(kernels: Sequence[NetworkKernel], operation: str) -> list[BlockSpec]:
    return [kernel.spec for kernel in kernels if kernel.spec.operation == operation]


@pytest.mark.parametrize(
    ("name", "sizes", "text"),
    [
        ("nasbench201", {"cells": 1}, CELL),
        ("fbnet", {"image_size": 16, "classes": 10}, SHUFFLING),
        ("darts", {"cells": 6, "channels": 4, "image_size": 16}, None),
    ],
    ids=["nasbench201", "fbnet", "darts"],
)
@pytest.mark.parametrize("level", ["basic", "extended"])
def test_a_network_of_a_space_is_cut_into_what_the_agent_sees(
    name: str, sizes: dict[str, int], text: str | None, level: str, tmp_path: Path
) -> None:
    space = space_named(name, **sizes)
    architecture = space.sample(np.random.default_rng(0)) if text is None else space.parse(text)
    model = exporter_for("onnx").export_network(space, architecture, tmp_path).path
    kernels = cut(model, level)
    placed = RUNTIME.placement(model, Settings(optimization=level), {})
    assert [kernel.operation for kernel in kernels] == [one.name for one in placed]
    assert kernel_macs(kernels) == space.macs(architecture)


@pytest.mark.parametrize(("make", "size"), [(mobilenet_v2, 64), (resnet18, 64), (ResNet20, 32)])
def test_a_published_network_is_cut_into_what_the_agent_sees(make: type[nn.Module], size: int, tmp_path: Path) -> None:
    module = make().eval()
    model = written(module, tmp_path / "network.onnx", size)
    kernels = cut(model, "extended")
    placed = RUNTIME.placement(model, Settings(), {})
    assert [kernel.operation for kernel in kernels] == [one.name for one in placed]
    assert kernel_macs(kernels) == module_macs(module, size)


def test_mobilenet_has_relu6_in_its_convolutions_and_sums_of_its_own(tmp_path: Path) -> None:
    kernels = cut(written(mobilenet_v2(), tmp_path / "m.onnx", 64), "extended")
    assert Counter((kernel.operation, kernel.spec.activation) for kernel in kernels) == {
        (FUSED, "relu6"): 35,
        (CONV, None): 17,
        ("Add", None): 10,
        ("ReduceMean", None): 1,
        ("Gemm", None): 1,
    }
    assert kernels[1].spec == BlockSpec("conv_bn", ((1, 32, 32, 32),), 32, 3, 1, 1, groups=32, activation="relu6")
    assert kernels[-2].spec == BlockSpec("global_avg_pool", ((1, 1280, 2, 2),), 1280)
    assert kernels[-1].spec == BlockSpec("fully_connected", ((1, 1280, 1, 1),), 1000)


def test_option_a_shortcuts_are_slices_and_pads(tmp_path: Path) -> None:
    kernels = cut(written(ResNet20(), tmp_path / "r.onnx"), "extended")
    assert specs(kernels, "slice")[:2] == [
        BlockSpec("slice", ((1, 16, 32, 32),), 16, kernel=2, stride=2),
        BlockSpec("slice", ((1, 256, 32, 1),), 256, kernel=2, stride=2),
    ]
    assert specs(kernels, "pad") == [BlockSpec("pad", ((1, 16, 16, 16),), 32), BlockSpec("pad", ((1, 32, 8, 8),), 64)]


def test_a_shuffle_is_one_transposition_between_views(tmp_path: Path) -> None:
    space = space_named("fbnet", image_size=16)
    kernels = cut(exporter_for("onnx").export_network(space, space.parse(SHUFFLING), tmp_path).path, "extended")
    names = [kernel.spec.operation for kernel in kernels]
    first = names.index("transpose")
    assert names[first - 1 : first + 2] == ["view", "transpose", "view"]
    assert kernels[first].spec == BlockSpec("transpose", ((1, 16, 16, 16),), 16, groups=2)
    assert set(specs(kernels, "view")) == {VIEW}


class Excited(nn.Module):
    """Scales channels by what their means excite (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(inputs, 1)
        return inputs * nn.functional.hardsigmoid(self.excite(torch.relu(self.squeeze(means))))


def test_a_file_of_the_newer_exporter_is_cut_too(tmp_path: Path) -> None:
    """Its weights lie in a second file, axes are inputs, and nothing is called as in older files."""
    layers = (nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), Excited(), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module = nn.Sequential(*layers, nn.Linear(16, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4), nn.Softmax(dim=1))
    model = tmp_path / "new.onnx"
    with quietly():
        torch.onnx.export(module.eval(), (torch.zeros(1, 3, 8, 8),), model, dynamo=True, external_data=True)
    assert (tmp_path / "new.onnx.data").exists()
    image, pixel = (1, 16, 4, 4), (1, 16, 1, 1)
    assert [kernel.spec for kernel in cut(model, "extended")] == [
        BlockSpec("conv_bn", ((1, 3, 8, 8),), 16, kernel=3, stride=2, padding=1),
        BlockSpec("hard_sigmoid", (image,), 16),
        BlockSpec("mul", (image, image), 16),
        BlockSpec("global_avg_pool", (image,), 16),
        BlockSpec("conv_bn", (pixel,), 4, activation="relu"),
        BlockSpec("conv_bn", ((1, 4, 1, 1),), 16, activation="hard_sigmoid"),
        BlockSpec("mul", (image, pixel), 16),
        BlockSpec("silu", (image,), 16),
        BlockSpec("global_avg_pool", (image,), 16),
        VIEW,
        BlockSpec("fully_connected", (pixel,), 8, activation="relu"),
        BlockSpec("fully_connected", ((1, 8, 1, 1),), 4),
        BlockSpec("softmax", ((1, 4, 1, 1),), 4),
    ]


def test_the_call_alone_is_a_view(tmp_path: Path) -> None:
    (kernel,) = cut(exporter_for("onnx").export_block(CALL_OVERHEAD, tmp_path).path, "extended")
    assert (kernel.operation, kernel.spec) == ("Identity", VIEW)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (("batch", 4, 9, 8), TensorProto.FLOAT, "its input x has no fixed shape.*make_dynamic_shape_fixed"),
        (IMAGE, TensorProto.FLOAT16, r"its input x is tensor\(float16\), not fp32"),
    ],
)
def test_inputs_of_no_fixed_shape_or_other_numbers_are_refused(
    shape: Sequence[int | str], dtype: int, message: str, tmp_path: Path
) -> None:
    path = graph(tmp_path / "i.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, dtype=dtype)
    with pytest.raises(BadInputError, match=message):
        cut(path, "extended")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"cannot read .*text\.onnx as ONNX"):
        cut(tmp_path / "text.onnx", "extended")
    with pytest.raises(BadInputError, match=r"cannot read .*none\.onnx: No such file"):
        cut(tmp_path / "none.onnx", "extended")
    with pytest.raises(BadInputError, match="ONNX Runtime cannot read"):
        cut(single(tmp_path / "u.onnx", "NoSuchOperator"), "extended")
    with pytest.raises(BadInputError, match="unknown optimisation level 'most'; choose one of disabled"):
        cut(tmp_path / "text.onnx", "most")
