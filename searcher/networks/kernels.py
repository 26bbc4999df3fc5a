"""Torch modules of what runtimes execute as one operator where no larger block holds it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hard_sigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hard_swish": nn.Hardswish,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


def activation(name: str | None) -> nn.Module:
    """Return the module of an activation by its name in blocks, one of `block.ACTIVATIONS`.

    Raises:
        BadInputError: there is no such activation.
    """
    if name not in _ACTIVATIONS:
        raise BadInputError(f"There is no activation {name!r}.")
    return _ACTIVATIONS[name]()


class ConvBN(nn.Sequential):
    """An optional ReLU, a convolution without bias, batch norm, and an optional activation after it."""

    def __init__(self, spec: BlockSpec, relu_first: bool) -> None:
        channels = spec.input_shapes[0][1]
        convolution = nn.Conv2d(
            channels,
            spec.output_channels,
            spec.kernel,
            stride=spec.stride,
            padding=spec.padding,
            dilation=spec.dilation,
            groups=spec.groups,
            bias=False,
        )
        layers: list[nn.Module] = [nn.ReLU()] if relu_first else []
        layers += [convolution, nn.BatchNorm2d(spec.output_channels)]
        super().__init__(*layers, *_activations(spec))


class ConvBNAdd(nn.Module):
    """A convolution without bias and batch norm, plus a second input, and an optional activation of the sum."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        channels = spec.input_shapes[0][1]
        sizes = spec.output_channels, spec.kernel, spec.stride, spec.padding
        self.convolution = nn.Conv2d(channels, *sizes, groups=spec.groups, bias=False)
        self.norm = nn.BatchNorm2d(spec.output_channels)
        self.after = nn.Sequential(*_activations(spec))

    def forward(self, inputs: Tensor, added: Tensor) -> Tensor:
        """Return (N, C', H', W'); `added` has that shape."""
        result: Tensor = self.after(self.norm(self.convolution(inputs)) + added)
        return result


class FullyConnected(nn.Sequential):
    """A linear layer with bias and an optional activation, (N, C) to (N, outputs)."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__(nn.Linear(spec.input_shapes[0][1], spec.output_channels), *_activations(spec))


class Multiply(nn.Module):
    """The product of two tensors, the second repeated where it has sizes of 1."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the product, of the first one's shape."""
        return first * second


class Divide(nn.Module):
    """The quotient of two tensors, the second repeated where it has sizes of 1."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the quotient, of the first one's shape."""
        return first / second


class Transpose(nn.Module):
    """Deals the channels of each group out in turn, (N, groups, C / groups, H, W) to (N, C / groups, groups, H, W)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the transposed tensor."""
        return inputs.transpose(1, 2)


class Slice(nn.Module):
    """Every so many rows from one on, (N, C, H, W) to (N, C, H', W).

    Raises:
        BadInputError: that would be all rows.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        if spec.kernel == spec.stride == 1:
            raise BadInputError(f"A slice leaves something out, which {spec.key} does not.")
        self.first, self.step = spec.kernel - 1, spec.stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the rows."""
        return inputs[:, :, self.first :: self.step]


class Pad(nn.Module):
    """Zeros around the image and channels of zeros behind the others, (N, C, H, W) to (N, C', H', W').

    Raises:
        BadInputError: there is nothing to add, or there would be fewer channels.
    """

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        added = spec.output_channels - spec.input_shapes[0][1]
        if added < 0 or not (added or spec.padding):
            raise BadInputError(f"A pad adds something, which {spec.key} does not.")
        self.sizes = (*(spec.padding,) * 4, 0, added)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the larger tensor."""
        return nn.functional.pad(inputs, self.sizes)


KERNELS: dict[str, Callable[[BlockSpec], nn.Module]] = {
    "conv_bn_add": ConvBNAdd,
    "dilated_conv_bn": lambda spec: ConvBN(spec, relu_first=False),
    "fully_connected": FullyConnected,
    "global_avg_pool": lambda _spec: nn.AdaptiveAvgPool2d(1),
    "batch_norm": lambda spec: nn.BatchNorm2d(spec.output_channels),
    "mul": lambda _spec: Multiply(),
    "div": lambda _spec: Divide(),
    "softmax": lambda _spec: nn.Softmax(dim=1),
    "transpose": lambda _spec: Transpose(),
    "slice": Slice,
    "pad": Pad,
    "view": lambda _spec: nn.Flatten(1),
    **{name: lambda spec: activation(spec.operation) for name in _ACTIVATIONS},
}
"""What makes the module of a kernel from its specification, by operation; `blocks.build_block` knows the others."""


def _activations(spec: BlockSpec) -> list[nn.Module]:
    return [] if spec.activation is None else [activation(spec.activation)]
