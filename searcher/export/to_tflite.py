"""Modules as TFLite files, channels last: inputs and outputs are (N, H, W, C), and no convolution is transposed.

Imports litert-torch, of the extra `tflite-export`, which takes seconds: only what exports TFLite imports this.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import litert_torch
import torch
from torch import Tensor, nn

from searcher.artifacts import replacing
from searcher.errors import BadInputError
from searcher.export.quiet import quietly
from searcher.networks.blocks import Add
from searcher.networks.kernels import Divide, Multiply
from searcher.networks.mobile import ChannelShuffle
from searcher.networks.separable import Concat

SUFFIX = ".tflite"
# Raised when this code writes other files for the same input, so that old ones in caches are left alone.
_EXPORT_VERSION = 1
EXPORTER = {"export_version": _EXPORT_VERSION, "layout": "channels last"}
_NUMBER_RANK, _ROW_RANK, _IMAGE_RANK = 1, 2, 4
_POINTWISE = (nn.LeakyReLU, nn.Hardswish, nn.SiLU, nn.GELU, nn.ELU, Add, Multiply, Divide)


class WholeImagePool(nn.Module):
    """The mean of each channel as an average pool over the whole image.

    As a mean over two axes it comes out of the converter behind a TRANSPOSE where no convolution anchors the layout: in
    the block that a table holds, but not in the network that the table is to predict.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, C, 1, 1) for (N, C, H, W)."""
        height, width = inputs.shape[-2:]
        return nn.functional.avg_pool2d(inputs, (int(height), int(width)))


class ChannelsLastShuffle(nn.Module):
    """A channel shuffle of values that lie channels last: one transposition, of what the channels are parted into.

    The converter takes the permutations at both ends for the layout that the convolutions beside it have anyway.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, C, H, W) of the input's shape; see `ChannelShuffle`."""
        batch, channels, height, width = (int(size) for size in inputs.shape)
        parted = inputs.permute(0, 2, 3, 1).reshape(-1, self.groups, channels // self.groups)
        return parted.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class ChannelsLastConcat(nn.Module):
    """Channels one after the other of values that lie channels last; see `Concat`.

    Alone, with no convolution to anchor the layout, the converter would transpose all that goes in and what comes out.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (N, the sum of all C, H, W)."""
        return torch.cat([one.permute(0, 2, 3, 1) for one in inputs], dim=3).permute(0, 3, 1, 2)


class ChannelsLastPointwise(nn.Module):
    """What computes each number by itself, of values that lie channels last.

    Alone, the converter would transpose these, too.
    """

    def __init__(self, pointwise: nn.Module) -> None:
        super().__init__()
        self.pointwise = pointwise

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (N, C, H, W) for one or more of these, or for one and a single number."""
        stored = (one.permute(0, 2, 3, 1) if one.dim() == _IMAGE_RANK else one for one in inputs)
        result: Tensor = self.pointwise(*stored)
        return result.permute(0, 3, 1, 2)


class StridedAveragePool(nn.Module):
    """Average pooling with a stride that leaves the padding out of the mean, as a pool of zeros too and a factor.

    As torch has it, it comes out of the converter as sums over windows that many runtimes do not know.
    """

    def __init__(self, pool: nn.AvgPool2d) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = (_side(size) for size in (pool.kernel_size, pool.stride, pool.padding))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the means, (N, C, H', W')."""
        rows, columns = (self._shares(int(size)) for size in inputs.shape[-2:])
        padded = nn.functional.pad(inputs, (self.padding,) * 4)
        # Numbers of Python are a constant of the file; what torch computes here would be computed in every inference.
        factor = torch.tensor([[row * column for column in columns] for row in rows])
        return nn.functional.avg_pool2d(padded, self.kernel, self.stride) * factor

    def _shares(self, size: int) -> list[float]:
        """Return, for each window along a side, its length over what of it lies inside the image."""
        starts = range(-self.padding, size + self.padding - self.kernel + 1, self.stride)
        inside = (min(start + self.kernel, size) - max(start, 0) for start in starts)
        return [self.kernel / length for length in inside]


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def exporter_versions() -> dict[str, str]:
    """Return the versions of the packages that write the files."""
    return {name: version(name) for name in ("torch", "litert-torch")}


def write(module: nn.Module, input_shapes: Sequence[tuple[int, ...]], path: Path) -> None:
    """Write a module in eval mode as one TFLite file, atomically.

    Args:
        module: takes as many (N, C, H, W), (N, C) or single-numbered tensors as there are shapes.
        input_shapes: of each input; the file takes (N, H, W, C) for (N, C, H, W).
        path: the file.

    Raises:
        BadInputError: an input is no image, no row and no number: channels in groups do not lie together where they
            come last.
    """
    known = (_NUMBER_RANK, _ROW_RANK, _IMAGE_RANK)
    odd = next((shape for shape in input_shapes if len(shape) not in known), None)
    if odd is not None:
        raise BadInputError(f"a TFLite file takes images, rows and numbers, not {'x'.join(map(str, odd))}")
    module = _for_channels_last(module.eval())
    inputs = tuple(torch.zeros(shape) for shape in input_shapes)
    with torch.no_grad():
        is_image = module(*inputs).dim() == _IMAGE_RANK
    images = [index for index, one in enumerate(inputs) if one.dim() == _IMAGE_RANK]
    stored = tuple(one.permute(0, 2, 3, 1).contiguous() if one.dim() == _IMAGE_RANK else one for one in inputs)
    with replacing(path) as temporary, quietly():
        wrapped = litert_torch.to_channel_last_io(module, args=images or None, outputs=[0] if is_image else None)
        litert_torch.convert(wrapped.eval(), stored).export(str(temporary))


def _for_channels_last(module: nn.Module) -> nn.Module:
    """Return a copy in which what would be transposed, or come out as what few runtimes know, is computed otherwise."""
    copied = copy.deepcopy(module)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            setattr(parent, name, _replaced(child))
    # Inside a network the convolutions anchor the layout, and permutations would only be in the way.
    if isinstance(copied, _POINTWISE):
        return ChannelsLastPointwise(copied)
    return ChannelsLastConcat() if isinstance(copied, Concat) else _replaced(copied)


def _replaced(module: nn.Module) -> nn.Module:
    """Return what computes the same in a better file, or the module itself."""
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
        return WholeImagePool()
    if isinstance(module, ChannelShuffle):
        return ChannelsLastShuffle(module.groups)
    if isinstance(module, nn.AvgPool2d) and _side(module.stride) > 1 and _side(module.padding) > 0:
        return StridedAveragePool(module)
    return module
