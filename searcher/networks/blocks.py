"""Torch modules of the blocks that tables hold, and the one way in which weights are initialised."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from searcher.errors import BadInputError, SearcherError
from searcher.networks.kernels import KERNELS, ConvBN
from searcher.networks.mobile import MBConv, MobileHead
from searcher.networks.separable import Concat, DilConv, FactorisedReduction, PoolHead, SepConv
from searcher.spaces.block import BlockSpec

_WITH_HIDDEN_CHANNELS = ("mbconv", "mobile_head")
_WITH_ACTIVATION = ("conv_bn", "conv_bn_add", "dilated_conv_bn", "fully_connected", *_WITH_HIDDEN_CHANNELS)
_FROM_SPECIFICATION: dict[str, Callable[[BlockSpec], nn.Module]] = {
    "mbconv": MBConv,
    "mobile_head": MobileHead,
    "sep_conv": SepConv,
    "dil_conv": DilConv,
    "factorised_reduction": FactorisedReduction,
    **KERNELS,
}


class Identity(nn.Module):
    """Returns its input: what a call of the runtime costs when nothing is computed."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the input."""
        return inputs


class Add(nn.Module):
    """The sum of two tensors, the second repeated where it has sizes of 1."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum, of the first one's shape."""
        return first + second


class ResidualReduction(nn.Module):
    """NAS-Bench-201's residual block that halves the resolution, (N, C, H, W) to (N, C', H/2, W/2)."""

    def __init__(self, channels: int, output_channels: int) -> None:
        super().__init__()
        self.first = _relu_conv_bn(channels, output_channels, stride=2)
        self.second = _relu_conv_bn(output_channels, output_channels, stride=1)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(kernel_size=2, stride=2),
            nn.Conv2d(channels, output_channels, kernel_size=1, bias=False),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the shortcut plus the two convolutions."""
        residual: Tensor = self.second(self.first(inputs))
        shortcut: Tensor = self.shortcut(inputs)
        return shortcut + residual


class Head(nn.Module):
    """Batch norm, ReLU, global average pool and a linear layer, (N, C, H, W) to (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)

    def activate(self, inputs: Tensor) -> Tensor:
        """Return the last feature map, (N, C, H, W): after batch norm and ReLU."""
        normalised: Tensor = self.norm(inputs)
        return torch.relu(normalised)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of the last feature map, (N, classes)."""
        logits: Tensor = self.linear(self.pool(features).flatten(1))
        return logits

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        return self.classify(self.activate(inputs))


def build_block(spec: BlockSpec) -> nn.Module:
    """Return a module that computes a block; its forward takes one tensor for each of the block's `file_shapes`.

    Raises:
        BadInputError: the operation, its activation, hidden channels or precision has no torch module here.
    """
    if spec.dtype != "fp32":
        raise BadInputError(f"Modules are built in fp32, not {spec.dtype!r}: {spec.key}.")
    if spec.activation is not None and spec.operation not in _WITH_ACTIVATION:
        raise BadInputError(f"{spec.operation!r} takes no activation: {spec.key}.")
    if spec.hidden_channels is not None and spec.operation not in _WITH_HIDDEN_CHANNELS:
        raise BadInputError(f"{spec.operation!r} has no hidden channels: {spec.key}.")
    channels = spec.input_shapes[0][1]
    if spec.operation in ("conv_bn", "relu_conv_bn"):
        return ConvBN(spec, relu_first=spec.operation == "relu_conv_bn")
    if spec.operation == "avg_pool":
        return nn.AvgPool2d(spec.kernel, spec.stride, spec.padding, count_include_pad=False)
    if spec.operation == "max_pool":
        return nn.MaxPool2d(spec.kernel, spec.stride, spec.padding)
    if spec.operation == "add":
        return Add()
    if spec.operation == "concat":
        return Concat()
    if spec.operation == "residual_reduction":
        return ResidualReduction(channels, spec.output_channels)
    if spec.operation == "head":
        return Head(channels, spec.output_channels)
    if spec.operation == "pool_head":
        return PoolHead(channels, spec.output_channels)
    if spec.operation == "identity":
        return Identity()
    if spec.operation in _FROM_SPECIFICATION:
        return _FROM_SPECIFICATION[spec.operation](spec)
    raise BadInputError(f"There is no block operation {spec.operation!r}.")


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Set every weight of a module from the generator alone: one seed, one network.

    Convolutions are Kaiming normal (fan out, ReLU), batch norms scale by 1 and shift by 0 with fresh running
    statistics, linear layers are uniform within 1/sqrt(inputs) as torch's own default.

    Raises:
        SearcherError: the module holds parameters of a layer that this function has no rule for.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()  # scale 1, shift 0, running statistics 0 and 1: no random numbers
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif any(True for _ in layer.parameters(recurse=False)):
            raise SearcherError(f"There is no rule to initialise a layer of type {type(layer).__name__}.")


def draw_statistics(module: nn.Module, generator: torch.Generator) -> None:
    """Give batch norms means, variances and shifts as trained ones have: none of them 0 or 1.

    What adds 0 is left out of a converted file, and would be missing in its latency.
    """
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.1, generator=generator)


def _relu_conv_bn(channels: int, output_channels: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, output_channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(output_channels))
