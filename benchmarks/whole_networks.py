"""Whole networks for benchmarks: NAS-Bench-201 cells drawn by a seed, and published designs built by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from searcher.export.recipe import WEIGHTS_SEED, Recipe
from searcher.networks.blocks import initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.networks.resnet import ResNet20
from searcher.spaces.nasbench201 import NasBench201

IMAGE_SHAPE = (1, 3, 32, 32)
# Expansion, channels, repeats, stride of the first; Sandler et al. 2018, table 2, with the strides that 32x32 bears.
_INVERTED = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow."""

    def __init__(self, channels: int, output_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, output_channels, 1, bias=False), nn.BatchNorm2d(output_channels)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels == output_channels

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        result: Tensor = self.layers(images)
        return images + result if self.shortcut else result


class Pooled(nn.Module):
    """Layers, a global average pool and a linear layer, (N, 3, H, W) to (N, 10)."""

    def __init__(self, channels: int, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.linear(self.layers(images).mean(dim=(2, 3)))
        return logits


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 for 32x32 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    channels = 32
    for expansion, output_channels, repeats, stride in _INVERTED:
        for index in range(repeats):
            layers.append(InvertedResidual(channels, output_channels, stride if index == 0 else 1, expansion))
            channels = output_channels
    layers += [nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return Pooled(1280, *layers)


def vgg_like() -> nn.Module:
    """Six 3x3 convolutions with max pools between them."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return Pooled(channels, *layers)


def networks(cells: int, seed: int) -> dict[str, Callable[[], nn.Module]]:
    """Return makers of networks by name: `cells` of NAS-Bench-201, and three that were built by hand."""
    space, generator = NasBench201(), np.random.default_rng(seed)
    chosen: dict[str, Callable[[], nn.Module]] = {}
    while len(chosen) < cells:
        architecture = space.sample(generator)
        if space.is_connected(architecture):
            chosen[space.format(architecture)] = lambda known=architecture: NasBench201Network(space, known)  # type: ignore[misc]
    return {**chosen, "ResNet-20": ResNet20, "MobileNetV2": mobilenet_v2, "VGG-like": vgg_like}


def export(name: str, make: Callable[[], nn.Module], file_format: ModuleType, folder: Path) -> Path:
    """Write a network in a format (`searcher.export.to_onnx` or `to_tflite`), or find it in the folder."""
    recipe = Recipe(f"benchmark {name}", file_format.SUFFIX, file_format.EXPORTER, file_format.exporter_versions())
    path = folder / recipe.file_name
    if not path.exists():
        module = make()
        initialise(module, torch.Generator().manual_seed(WEIGHTS_SEED))
        _keep_magnitudes(module)
        file_format.write(module.eval(), (IMAGE_SHAPE,), path)
    return path


def _keep_magnitudes(module: nn.Module) -> None:
    """Widen the weights of grouped convolutions by what their groups narrow the sum.

    Without it a random MobileNetV2 shrinks its features from block to block until they are denormal, and runs ten
    times slower than a trained one.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                layer.weight.mul_(layer.groups**0.5)
