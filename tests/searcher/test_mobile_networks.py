"""Files of today's networks for phones: each is cut whole, into kernels that datasets hold and predictors price."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from searcher.cost_models.kernels.features import outside, ranges, sizes
from searcher.cost_models.kernels.kernel_model import UnknownKernelError
from searcher.cost_models.kernels.training import train_types
from searcher.export.kernels_of_onnx import cut
from searcher.export.quiet import quietly
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import DEFAULT_TYPES, Limits
from searcher.spaces.kernel_sampling import draw_ends, draw_kernels
from searcher.spaces.kernels import kernel_type, repeated
from tests.searcher.kernel_rows import keys_of
from tests.searcher.made_up_kernels import CALL_MS, measured, true_ms

LIMITS = Limits()


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs)
    nn.init.normal_(norm.bias)
    return nn.Sequential(layer, norm)


class SpeltOutSwish(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * nn.functional.relu6(inputs + 3.0) / 6.0


class SpeltOutGate(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.relu6(inputs + 3.0) / 6.0


class SpeltOutSiLU(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * torch.sigmoid(inputs)


class Excited(nn.Module):
    """Squeeze and excitation by 1x1 convolutions."""

    def __init__(self, channels: int, activation: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 8, 1), activation, nn.Conv2d(8, channels, 1), gate
        )

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = inputs * self.layers(inputs)
        return result


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = inputs + self.layers(inputs)
        return result


class Shuffled(nn.Module):
    """ShuffleNetV2's unit, and GhostNet's slice that leaves nothing out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.right = convolution(channels // 2, channels // 2, 3, groups=channels // 2)

    def forward(self, inputs: Tensor) -> Tensor:
        left, right = inputs.chunk(2, dim=1)
        joined = torch.cat((left, self.right(right)), dim=1)
        batch, channels, height, width = joined.shape
        dealt = joined.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return torch.relu(dealt.reshape(batch, channels, height, width)[:, :channels])


def network(activation: nn.Module, gate: nn.Module) -> nn.Sequential:
    """Blocks as of MobileNetV3 or EfficientNet, of 32 pixels and less, down to one."""
    layers: list[nn.Module] = [convolution(3, 16, 3, 2), activation]
    for stride in (2, 2, 2, 2):
        layers += [convolution(16, 48, 1), activation, convolution(48, 48, 5, stride, 48), activation]
        layers += [Excited(48, nn.ReLU(), gate), convolution(48, 16, 1)]
        layers += [Residual(convolution(16, 16, 3, groups=16), activation), Shuffled(16)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 24), activation, nn.Linear(24, 10)]
    return nn.Sequential(*layers).eval()


KINDS = {
    "swish": (nn.Hardswish, nn.Hardsigmoid),
    "spelt-out": (SpeltOutSwish, SpeltOutGate),
    "silu": (nn.SiLU, nn.Sigmoid),
    "spelt-out silu": (SpeltOutSiLU, nn.Sigmoid),
}


def cut_network(kind: str, newer: bool, folder: Path) -> list[BlockSpec]:
    activation, gate = KINDS[kind]
    made, image, path = network(activation(), gate()), (torch.zeros(1, 3, 32, 32),), folder / "n.onnx"
    with quietly():
        if newer:
            torch.onnx.export(made, image, path, dynamo=True, external_data=False)
        else:
            torch.onnx.export(made, image, str(path), dynamo=False, opset_version=13)
    return [kernel.spec for kernel in cut(path, "extended")]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[BlockSpec]]:
    """The kernels of each kind's file."""
    return {kind: cut_network(kind, False, tmp_path_factory.mktemp("network")) for kind in KINDS}


@cache
def drawn_ranges(of_type: str) -> dict[str, tuple[float, float]]:
    return ranges([sizes(kernel) for kernel in drawn(of_type, 200)])


@cache
def drawn(of_type: str, count: int) -> list[BlockSpec]:
    """Kernels as a dataset has them: those at the ends of sizes among them."""
    generator = np.random.default_rng(0)
    ends = draw_ends(of_type, 10, generator, LIMITS)
    return ends + draw_kernels(of_type, count - len(ends), generator, LIMITS, frozenset(keys_of(ends)))


def require_drawn(kernels: list[BlockSpec]) -> None:
    """Fail where a size, an activation or a way of repeating is none that a dataset of 200 kernels of the type has."""
    assert {kernel_type(kernel) for kernel in kernels} <= set(DEFAULT_TYPES)
    for kernel in kernels:
        known = drawn(kernel_type(kernel), 200)
        assert outside(sizes(kernel), drawn_ranges(kernel_type(kernel))) is None, kernel.key
        assert kernel.activation in {one.activation for one in known}, kernel.key
        assert repeated(kernel) in {repeated(one) for one in known}, kernel.key


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_for_phones_is_cut_whole_into_kernels_that_datasets_draw(
    kind: str, networks: dict[str, list[BlockSpec]]
) -> None:
    require_drawn(networks[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_is_a_file_of_the_newer_exporter(kind: str, networks: dict[str, list[BlockSpec]], tmp_path: Path) -> None:
    kernels = cut_network(kind, True, tmp_path)
    require_drawn(kernels)
    # It lacks the views that the older one leaves in the middle of shuffles.
    views = [[one for one in found if one.operation != "view"] for found in (kernels, networks[kind])]
    assert Counter(views[0]) == Counter(views[1])


def test_what_each_way_of_writing_a_network_becomes(networks: dict[str, list[BlockSpec]]) -> None:
    counts = {kind: Counter(map(kernel_type, kernels)) for kind, kernels in networks.items()}
    swish, spelt_out = counts["swish"], counts["spelt-out"]
    # Fourteen swishes; four gates are part of the convolution before them, unless they are spelt out.
    assert swish["hard_sigmoid"] == 14
    assert (spelt_out["relu6"], spelt_out["div"]) == (18, 18)
    assert spelt_out["add"] == swish["add"] + 18
    assert spelt_out["mul"] == swish["mul"] == 18
    assert counts["silu"] == counts["spelt-out silu"]
    assert (counts["silu"]["silu"], counts["silu"]["mul"]) == (14, 4)
    for one in counts.values():
        # Four splits, four joins, four slices that copy, and shuffles.
        assert (one["concat"], one["transpose"], one["global_avg_pool"]) == (8, 4, 5)


def test_a_predictor_of_drawn_kernels_prices_what_squeezes_and_excites(networks: dict[str, list[BlockSpec]]) -> None:
    kinds = ("pointwise", "global_avg_pool", "mul", "add", "div", "relu6")
    rows = [row for kind in kinds for row in measured(drawn(kind, 45), seed=1)]
    models = {one.name: one.model for one in train_types(rows, 0.9, 0) if one.model is not None}
    assert set(models) == set(kinds)
    for kernel in networks["spelt-out"]:
        if kernel_type(kernel) in kinds:
            (estimate,) = models[kernel_type(kernel)].estimates([kernel])
            # All of them take less than a call: what is off by a tenth of that cannot be measured.
            assert estimate.latency_ms == pytest.approx(true_ms(kernel), rel=0.25, abs=0.1 * CALL_MS), kernel.key
            assert estimate.interval_ms[0] < estimate.latency_ms < estimate.interval_ms[1]


def test_a_way_of_repeating_that_was_not_drawn_is_refused() -> None:
    rows = measured([kernel for kernel in drawn("mul", 70) if repeated(kernel) in (None, "pixel")], seed=1)
    (trained,) = train_types(rows, 0.9, 0)
    assert trained.model is not None
    first = (1, 16, 20, 20)
    trained.model.estimates([BlockSpec("mul", (first, (1, 16, 1, 1)), 16)])
    for second in ((1, 1, 1, 1), (1, 1, 20, 20), (1, 16, 20, 1)):
        with pytest.raises(UnknownKernelError, match="nothing trained on has work of the kind") as error:
            trained.model.estimates([BlockSpec("mul", (first, second), 16)])
        assert "\n" not in str(error.value)
