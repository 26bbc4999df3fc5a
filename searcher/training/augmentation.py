"""What images go through before a network is trained on them: shifts, mirroring, and squares cut out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.errors import BadInputError


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied, each of them anew in every epoch; nothing by default.

    Attributes:
        shift_pixels: images move by up to this many pixels each way, their borders repeated.
        mirror: half of the images are mirrored left to right; what is read, such as digits, must not be.
        cutout_pixels: side of a square that is set to zero, the mean of normalised images (DeVries and Taylor 2017).

    Raises:
        BadInputError: a number of pixels is negative.
    """

    shift_pixels: int = 0
    mirror: bool = False
    cutout_pixels: int = 0

    def __post_init__(self) -> None:
        for name, value in (("shift_pixels", self.shift_pixels), ("cutout_pixels", self.cutout_pixels)):
            if value < 0:
                raise BadInputError(f"{name} must be at least 0, not {value}")

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images (N, C, H, W), varied, in channels-last memory.

        Random numbers are drawn for what is turned on alone, and for shifts always.
        """
        images = shifted(images, self.shift_pixels, generator)
        if self.mirror:
            images = mirrored(images, generator)
        if self.cutout_pixels:
            images = cut_out(images, self.cutout_pixels, generator)
        # Mirroring loses the layout.
        return images.contiguous(memory_format=torch.channels_last)


def shifted(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Return the images (N, C, H, W), each moved by up to `pixels` both ways, in channels-last memory.

    What comes in from outside repeats the border, which fits dark digits and photographs alike.
    """
    count, _, height, width = images.shape
    offsets = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + offsets[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + offsets[1]).clamp_(0, width - 1)
    # Indexing the channels-last view gives (N, H, W, C); its permutation is the layout wanted.
    last = images.permute(0, 2, 3, 1)
    moved = last[torch.arange(count).view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
    return moved.permute(0, 3, 1, 2)


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images (N, C, H, W), each mirrored left to right with probability one half."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return the images (N, C, H, W), each with a square of `side` pixels set to zero.

    Its centre lies anywhere in the image, so that at the border less is cut out (DeVries and Taylor 2017, Section 3.2).
    """
    count, _, height, width = images.shape
    rows = _spans(count, height, side, generator)
    columns = _spans(count, width, side, generator)
    cut = rows.view(count, 1, height, 1) & columns.view(count, 1, 1, width)
    return images.masked_fill(cut, 0.0)


def _spans(count: int, length: int, side: int, generator: torch.Generator) -> Tensor:
    """Return (N, length) true along `side` places around a centre drawn for each."""
    first = torch.randint(0, length, (count, 1), generator=generator) - side // 2
    places = torch.arange(length)
    return (places >= first) & (places < first + side)
