"""ResNet-20 for 32x32 images: the reference whose features representation mutual information compares with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Features = tuple[Tensor, Tensor, Tensor]

_STAGE_CHANNELS = (16, 32, 64)
_BLOCKS_PER_STAGE = 3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters (He et al. 2016, option A).

    Where the shapes differ the shortcut keeps every second pixel and fills the new channels with zeros.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        # Half of the new channels go before the old ones: published option-A weights expect this order.
        added = channels_out - channels_in
        self.new_channels = (added // 2, added - added // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        residual = functional.relu(self.bn1(self.conv1(images)))
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self._shortcut(images))

    def _shortcut(self, images: Tensor) -> Tensor:
        if self.stride != 1:
            images = images[:, :, :: self.stride, :: self.stride]
        if any(self.new_channels):
            images = functional.pad(images, (0, 0, 0, 0, *self.new_channels))
        return images


class ResNet20(nn.Module):
    """CIFAR ResNet-20 with option-A shortcuts (He et al. 2016, section 4.2).

    The names in its state dict (`conv1`, `bn1`, `layerN.M.convK`, `linear`) are those of the published
    weights for CIFAR-10.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        first = _STAGE_CHANNELS[0]
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, _STAGE_CHANNELS[0], stride=1)
        self.layer2 = _stage(_STAGE_CHANNELS[0], _STAGE_CHANNELS[1], stride=2)
        self.layer3 = _stage(_STAGE_CHANNELS[1], _STAGE_CHANNELS[2], stride=2)
        self.linear = nn.Linear(_STAGE_CHANNELS[2], classes)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights from `generator` (He et al. 2015), so that equal seeds give equal networks."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    def features(self, images: Tensor) -> Features:
        """Return the outputs of the three stages.

        Args:
            images: normalised images, (N, 3, H, W); H and W are 32 for the published weights.

        Returns:
            (N, 16, H, W), (N, 32, H / 2, W / 2) and (N, 64, H / 4, W / 4), each after its last ReLU.
        """
        stem = functional.relu(self.bn1(self.conv1(images)))
        first: Tensor = self.layer1(stem)
        second: Tensor = self.layer2(first)
        third: Tensor = self.layer3(second)
        return first, second, third

    def forward_with_features(self, images: Tensor) -> tuple[Features, Tensor]:
        """Return the outputs of the three stages and the logits (N, classes) in one pass."""
        features = self.features(images)
        pooled = features[-1].mean(dim=(2, 3))
        logits: Tensor = self.linear(pooled)
        return features, logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        return self.forward_with_features(images)[1]


def _stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    blocks = [BasicBlock(channels_in, channels_out, stride)]
    blocks += [BasicBlock(channels_out, channels_out, 1) for _ in range(_BLOCKS_PER_STAGE - 1)]
    return nn.Sequential(*blocks)
