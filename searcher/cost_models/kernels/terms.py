"""What a kernel's time is made of: amounts of work, each of which a device does at a rate of its own.

A roofline model says that a kernel takes as long as its arithmetic or its traffic (Williams, Waterman and Patterson,
CACM 52, 2009). Here the parts are added up and told apart by how the libraries of CPUs compute: a convolution is the
product of a matrix of weights (`rows` outputs by `depth` = inputs · kernel²) with one of gathered input pixels (`depth` by
`columns` = output positions). The product is worked out in blocks of rows and columns that processors hold in their
registers, and in strips of depth and columns that they hold in a cache: rows left over make smaller blocks, which are
slower for each number, and columns left over cost as much as a whole vector. The sizes of blocks and strips are those
of ONNX Runtime's MLAS with AVX-512; on other devices they are near enough for what is fitted on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import Convolution, convolutions
from searcher.spaces.kernels import kernel_features

_ROW_BLOCKS = (12, 6, 3, 1)
_VECTOR = 16
_STRIP = 128
# In numbers of 4 bytes: 256 KiB, 1 MiB, 4 MiB and 16 MiB, about where a core's own caches and the shared ones end.
_CACHES = {"256k": 2**16, "1m": 2**18, "4m": 2**20, "16m": 2**22}
_POOLS = ("max_pool", "avg_pool")


def terms(spec: BlockSpec) -> dict[str, float]:
    """Return a kernel's amounts of work by name; a name stands for the same work in all kernels of a type.

    All are positive or 0, and so is what a device takes for each.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    sizes = kernel_features(spec)
    work: Counter[str] = Counter(constant=1, read=int(sizes["read"]), written=int(sizes["written"]))
    for layer in convolutions(spec):
        work.update(_depthwise(layer) if _is_depthwise(layer) else _product(layer))
    if spec.operation in _POOLS:
        work.update(_pool(spec, sizes))
    elif not convolutions(spec):
        work["parameters"] += int(sizes["parameters"])
        work["channels"] += int(sizes["channels"])
    work.update(_beyond_caches(sizes))
    if spec.activation is not None:
        work[f"activated_{spec.activation}"] += int(sizes["written"])
    if sizes["sum"]:
        work["summed"] += int(sizes["written"])
    return {name: float(amount) for name, amount in work.items()}


def _beyond_caches(sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return by how much a kernel's tensors are larger than caches: what does not fit comes from further away."""
    tensors = {"read": sizes["read"], "written": sizes["written"], "moved": sizes["read"] + sizes["written"]}
    return {
        f"{tensor}_beyond_{name}": max(0, int(size) - cache)
        for tensor, size in tensors.items()
        for name, cache in _CACHES.items()
    }


def _is_depthwise(layer: Convolution) -> bool:
    return layer.groups == layer.in_channels == layer.out_channels > 1


def _product(layer: Convolution) -> Mapping[str, int]:
    """Return the work of a convolution as a product of matrices, one for each group."""
    height, width = layer.output_size(layer.height), layer.output_size(layer.width)
    rows, depth = layer.out_channels // layer.groups, layer.in_channels // layer.groups * layer.kernel**2
    columns = height * width
    column_strip, depth_strip = strips(depth, columns)
    column_strips, depth_strips = -(-columns // column_strip), -(-depth // depth_strip)
    padded = columns // column_strip * column_strip + _padded(columns % column_strip)
    work = Counter[str]()
    left = rows
    for block in _ROW_BLOCKS:
        work[f"rows_of_{block}"] = left // block * padded * depth
        work["blocks"] += left // block * -(-padded // (2 * _VECTOR)) * depth_strips
        left %= block
    work["packed"] = depth * columns
    work["accumulated"] = rows * columns * depth_strips
    work["weights"] = rows * depth * column_strips
    work["groups"] = 1
    if layer.kernel > 1 or layer.stride > 1:
        work.update(_gathered(layer, depth, height, width))
        if rows > columns:
            work["expanded"] = depth * columns
    return {name: amount * layer.groups for name, amount in work.items()}


def _depthwise(layer: Convolution) -> Mapping[str, int]:
    """Return the work of a convolution whose every channel has its own kernel."""
    height, width = layer.output_size(layer.height), layer.output_size(layer.width)
    depth, columns = layer.kernel**2, height * width
    column_strip, _ = strips(depth, columns)
    work = {
        "channels": 1,
        "strips": -(-columns // column_strip),
        "multiplied": depth * _padded(columns),
        "rows": height,
        **_gathered(layer, depth, height, width),
    }
    return {name: amount * layer.in_channels for name, amount in work.items()}


def _gathered(layer: Convolution, depth: int, height: int, width: int) -> Mapping[str, int]:
    """Return the work of laying input pixels side by side as the product needs them."""
    kind = "gathered" if layer.stride == 1 else "gathered_apart"
    return {kind: depth * height * width, f"{kind}_rows": depth * height}


def _pool(spec: BlockSpec, sizes: Mapping[str, float]) -> Mapping[str, int]:
    channels, width = int(sizes["channels"]), int(sizes["width"])
    height, out_width = int(sizes["output_height"]), int(sizes["output_width"])
    rows = channels * height
    return {
        "channels": channels,
        "rows": rows,
        "down": rows * width * spec.kernel,
        "across": rows * out_width * spec.kernel,
        "windows": rows * out_width * spec.kernel**2,
    }


def strips(depth: int, columns: int) -> tuple[int, int]:
    """Return the columns and the depth of a strip: as many numbers in all cases, longer where the other is short."""
    column_strip = depth_strip = _STRIP
    if columns >= depth:
        while depth_strip // 2 >= depth:
            column_strip, depth_strip = 2 * column_strip, depth_strip // 2
    else:
        while column_strip > _VECTOR and column_strip // 2 >= columns:
            column_strip, depth_strip = column_strip // 2, 2 * depth_strip
    return column_strip, depth_strip


def _padded(columns: int) -> int:
    return -(-columns // _VECTOR) * _VECTOR
