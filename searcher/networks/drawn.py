"""Networks drawn at random, of the layers that published designs are made of: what whole networks cost beyond kernels.

Nothing is searched among them and nothing is trained: they are measured as they are, so that a predictor learns from
networks of all sizes what a processor's caches do to kernels that it has measured one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from searcher.spaces.block import Shape

_ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (nn.ReLU, nn.ReLU, nn.ReLU6)
_SIDES = (32, 224)
_STEM_CHANNELS, _MOST_CHANNELS = (8, 64), 640
_STAGES, _REPETITIONS = (2, 5), (1, 4)
_WIDENING = (1.2, 2.2)
_CLASSES = (10, 1000)
_ROUND = 8


@dataclass(frozen=True)
class DrawnNetwork:
    """A network drawn at random.

    Attributes:
        module: without weights of its own: whoever exports it sets them.
        input_shape: (1, 3, H, W) of its images.
    """

    module: nn.Module
    input_shape: Shape


class Residual(nn.Module):
    """Layers, and their input added where that has the output's shape."""

    def __init__(self, layers: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        result: Tensor = self.activation(inputs + self.layers(inputs))
        return result


def draw_network(generator: np.random.Generator) -> DrawnNetwork:
    """Draw a network: a stem, stages of one kind of layer each, and a classifier.

    Args:
        generator: draws it.
    """
    side = _multiple(_log_uniform(generator, *_SIDES))
    drawing = _Drawing(generator, _ACTIVATIONS[generator.integers(len(_ACTIVATIONS))])
    stride = 2 if side >= 96 or generator.random() < 0.3 else 1
    channels = _multiple(_log_uniform(generator, *_STEM_CHANNELS))
    layers: list[nn.Module] = [*drawing.convolution(3, channels, int(generator.choice((3, 5, 7))), stride)]
    left = math.ceil(side / stride)
    for stage in range(generator.integers(*_STAGES, endpoint=True)):
        shrinks = stage > 0 or left > 64
        if left < 8 and shrinks:
            break
        wanted = min(_MOST_CHANNELS, _multiple(channels * generator.uniform(*_WIDENING))) if shrinks else channels
        layers += drawing.stage(channels, wanted, 2 if shrinks else 1)
        channels, left = wanted, math.ceil(left / 2) if shrinks else left
    classes = round(_log_uniform(generator, *_CLASSES))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return DrawnNetwork(nn.Sequential(*layers), (1, 3, side, side))


class _Drawing:
    """Draws the layers of one network, all with one activation."""

    def __init__(self, generator: np.random.Generator, activation: Callable[[], nn.Module]) -> None:
        self._generator = generator
        self._activation = activation
        self._kinds = (self._plain, self._basic, self._bottleneck, self._inverted, self._separable)

    def stage(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        """Draw a stage of layers of one kind, the first of which takes the stride; some shrink by pooling instead."""
        kind = self._kinds[self._generator.integers(len(self._kinds))]
        layers: list[nn.Module] = []
        if stride == 2 and self._generator.random() < 0.25:
            pools = (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2), nn.AvgPool2d(2, ceil_mode=False))
            layers.append(pools[self._generator.integers(len(pools))])
            stride = 1
        for _ in range(self._generator.integers(*_REPETITIONS, endpoint=True)):
            layers += kind(channels, wanted, stride)
            channels, stride = wanted, 1
        return layers

    def convolution(
        self, channels: int, wanted: int, kernel: int, stride: int = 1, groups: int = 1, activated: bool = True
    ) -> list[nn.Module]:
        """Return a convolution with batch norm and, unless it is linear, the activation."""
        convolution = nn.Conv2d(channels, wanted, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(wanted), *([self._activation()] if activated else [])]

    def _kernel(self) -> int:
        return int(self._generator.choice((3, 3, 5)))

    def _added(self, layers: list[nn.Module], adds: bool, linear: bool = False) -> list[nn.Module]:
        after = nn.Identity() if linear else self._activation()
        return [Residual(nn.Sequential(*layers), after)] if adds else [*layers, after]

    def _plain(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        return self.convolution(channels, wanted, self._kernel(), stride)

    def _basic(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        first = self.convolution(channels, wanted, 3, stride)
        second = self.convolution(wanted, wanted, 3, activated=False)
        return self._added([*first, *second], adds=stride == 1 and channels == wanted)

    def _bottleneck(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        inner = max(_ROUND, _multiple(wanted / 4))
        layers = [
            *self.convolution(channels, inner, 1),
            *self.convolution(inner, inner, 3, stride),
            *self.convolution(inner, wanted, 1, activated=False),
        ]
        return self._added(layers, adds=stride == 1 and channels == wanted)

    def _inverted(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        hidden = channels * int(self._generator.integers(2, 6, endpoint=True))
        layers = [
            *self.convolution(channels, hidden, 1),
            *self.convolution(hidden, hidden, self._kernel(), stride, groups=hidden),
            *self.convolution(hidden, wanted, 1, activated=False),
        ]
        return self._added(layers, adds=stride == 1 and channels == wanted, linear=True)

    def _separable(self, channels: int, wanted: int, stride: int) -> list[nn.Module]:
        depthwise = self.convolution(channels, channels, self._kernel(), stride, groups=channels)
        return [*depthwise, *self.convolution(channels, wanted, 1)]


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def _multiple(number: float) -> int:
    return max(_ROUND, round(number / _ROUND) * _ROUND)
