"""Whole networks for benchmarks: NAS-Bench-201 cells drawn by a seed, and published designs built by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import nn

from searcher.export.recipe import Recipe, set_weights
from searcher.networks.classic import Classifier, mobilenet_v2, resnet18
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201


@dataclass(frozen=True)
class Network:
    """A whole network.

    Attributes:
        make: builds it, weights set, in eval mode.
        image_size: pixels, H and W, of its images (1, 3, H, W).
    """

    make: Callable[[], nn.Module]
    image_size: int


def vgg_like() -> nn.Module:
    """Six 3x3 convolutions with max pools between them."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return Classifier(nn.Sequential(*layers), channels, 10)


def _cells(space: NasBench201, architecture: Architecture) -> nn.Module:
    return set_weights(NasBench201Network(space, architecture))


def networks(cells: int, seed: int) -> dict[str, Network]:
    """Return networks by name: `cells` of NAS-Bench-201, and three of published design."""
    space, generator = NasBench201(), np.random.default_rng(seed)
    chosen: dict[str, Network] = {}
    while len(chosen) < cells:
        architecture = space.sample(generator)
        if space.is_connected(architecture):
            chosen[space.format(architecture)] = Network(partial(_cells, space, architecture), space.image_size)
    return {
        **chosen,
        "VGG-like": Network(lambda: set_weights(vgg_like()), 32),
        "MobileNetV2": Network(mobilenet_v2, 96),
        "ResNet-18": Network(resnet18, 96),
    }


def export(name: str, network: Network, file_format: ModuleType, folder: Path) -> Path:
    """Write a network in a format (`searcher.export.to_onnx` or `to_tflite`), or find it in the folder."""
    identity = f"benchmark {name} {network.image_size}"
    recipe = Recipe(identity, file_format.SUFFIX, file_format.EXPORTER, file_format.exporter_versions())
    path = folder / recipe.file_name
    if not path.exists():
        file_format.write(network.make(), ((1, 3, network.image_size, network.image_size),), path)
    return path
