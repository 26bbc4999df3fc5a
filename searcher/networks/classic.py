"""Two well-known networks with random weights, as models that somebody brings: no space of ours holds them.

MobileNetV2: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018, table 2.
ResNet-18: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, table 1, shortcuts of option B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Expansion, output channels, repetitions and stride of the first repetition: the rows of the paper's table 2.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS, _LAST_CHANNELS = 32, 1280
_CHANNELS_DIVISOR = 8
_RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


class InvertedResidual(nn.Module):
    """MobileNetV2's bottleneck: expand, depthwise 3x3, project linearly; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_bn(channels_in, hidden, 1), nn.ReLU6()]
        layers += [_conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(), _conv_bn(hidden, channels_out, 1)]
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        result: Tensor = self.layers(inputs)
        return inputs + result if self.has_shortcut else result


class ProjectingBlock(nn.Module):
    """ResNet's basic block: two 3x3 convolutions, and a 1x1 projection as the shortcut where the shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = _conv_bn(channels_in, channels_out, 3, stride)
        self.second = _conv_bn(channels_out, channels_out, 3)
        differs = stride != 1 or channels_in != channels_out
        self.shortcut = _conv_bn(channels_in, channels_out, 1, stride) if differs else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        residual: Tensor = self.second(functional.relu(self.first(inputs)))
        return functional.relu(residual + self.shortcut(inputs))


class Classifier(nn.Module):
    """A feature extractor, global average pooling and a linear layer: (N, 3, H, W) to (N, classes)."""

    def __init__(self, features: nn.Sequential, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.linear = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        pooled = self.features(images).mean(dim=(2, 3))
        logits: Tensor = self.linear(pooled)
        return logits


def mobilenet_v2(classes: int = 1000, width: float = 1.0, seed: int = 0) -> nn.Module:
    """Return a MobileNetV2 in eval mode, (N, 3, H, W) to (N, classes); the paper's H and W are 224.

    Args:
        classes: outputs of the linear layer.
        width: multiplies the channels, rounded to multiples of eight; the last convolution never has fewer than 1280.
        seed: of the random weights; equal seeds give equal networks.
    """
    channels = _rounded(_STEM_CHANNELS * width)
    layers: list[nn.Module] = [_conv_bn(3, channels, 3, stride=2), nn.ReLU6()]
    for expansion, base, repetitions, first_stride in _BOTTLENECKS:
        wanted = _rounded(base * width)
        for index in range(repetitions):
            layers.append(InvertedResidual(channels, wanted, first_stride if index == 0 else 1, expansion))
            channels = wanted
    last = _rounded(_LAST_CHANNELS * max(1.0, width))
    layers += [_conv_bn(channels, last, 1), nn.ReLU6()]
    return _with_random_weights(Classifier(nn.Sequential(*layers), last, classes), seed)


def resnet18(classes: int = 1000, seed: int = 0) -> nn.Module:
    """Return a ResNet-18 in eval mode, (N, 3, H, W) to (N, classes); the paper's H and W are 224.

    Args:
        classes: outputs of the linear layer.
        seed: of the random weights; equal seeds give equal networks.
    """
    channels = _RESNET_STAGES[0][0]
    layers: list[nn.Module] = [_conv_bn(3, channels, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    for wanted, first_stride in _RESNET_STAGES:
        layers += [ProjectingBlock(channels, wanted, first_stride), ProjectingBlock(wanted, wanted, 1)]
        channels = wanted
    return _with_random_weights(Classifier(nn.Sequential(*layers), channels, classes), seed)


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out))


def _rounded(channels: float) -> int:
    """Round to a multiple of eight, never losing more than a tenth: the rule of the paper's published code."""
    nearest = int(channels + _CHANNELS_DIVISOR / 2) // _CHANNELS_DIVISOR * _CHANNELS_DIVISOR
    wanted = max(_CHANNELS_DIVISOR, nearest)
    return wanted if wanted >= 0.9 * channels else wanted + _CHANNELS_DIVISOR


def _with_random_weights(module: nn.Module, seed: int) -> nn.Module:
    """Draw weights by fan in (He et al. 2015): values keep their size through depthwise convolutions too.

    By fan out they would shrink by the root of the channels at each, and end where numbers run at another speed.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module.eval()
