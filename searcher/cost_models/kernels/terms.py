"""What a kernel's time is made of: amounts of work, each of which a device does at a rate of its own.

A roofline model says that a kernel takes as long as its arithmetic or its traffic (Williams, Waterman and Patterson,
CACM 52, 2009). Here the parts are added up and told apart by how the libraries of CPUs compute: a convolution is the
product of a matrix of weights (`rows` outputs by `depth` = inputs · kernel²) with one of gathered input pixels (`depth`
by `columns` = output positions). The product is worked out in blocks of rows and columns that processors hold in their
registers, and in strips of depth and columns that they hold in a cache. Rows left over make a smaller block, whose
sums wait for themselves, and columns left over cost as much as a whole vector. A product of one row or of one column
is worked out by code of its own. All of that is as in ONNX Runtime's MLAS with AVX-512; on other devices what is fitted
on top has to make up for the difference.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import Convolution, convolutions
from searcher.spaces.kernels import REPEATED_NUMBER, kernel_features, loops_of_number, repeated

# Of fewer rows than the last all are one block.
_ROW_BLOCKS = (12, 6)
_VECTOR = 16
# Steps from the begin of a multiplication to its end, one being begun in each.
_WAIT = 4
_STRIP = 128
# Of a product of one row.
_DEPTH_OF_PASS = 4
# Of the nearest cache, whose lines are as long as a vector: 32 KiB.
_CACHE_SETS, _CACHE_WAYS = 64, 8
# In numbers of 4 bytes: 256 KiB to 16 MiB, about where a core's own caches and the shared ones end.
_CACHES = {"256k": 2**16, "1m": 2**18, "4m": 2**20, "8m": 2**21, "16m": 2**22}
# Each step of a sum waits for the one before. Sums up to about these lengths are begun while the last one is worked on.
_OVERLAPPING = (128, 512)
# Copies of as many numbers take about as long as shorter ones: 128, 256 and 512 bytes, the powers of two at which a C
# library's copying goes on to more loads, and at last to a loop.
_STRAIGHT_COPIES = (32, 64, 128)
# Numbers that one load of a register for integers takes.
_WORD = 2
_POOLS = ("max_pool", "avg_pool")
MINOR = ("crowded",)
"""Work that is no reason to refuse a kernel where none like it was met: it only makes other work slower."""


def terms(spec: BlockSpec) -> dict[str, float]:
    """Return a kernel's amounts of work by name; a name stands for the same work in all kernels of a type.

    All are positive or 0, and so is what a device takes for each.

    Raises:
        BadInputError: the operation is not one of those in block.py.
    """
    sizes = kernel_features(spec)
    work: Counter[str] = Counter(constant=1, read=int(sizes["read"]), written=int(sizes["written"]))
    for layer in convolutions(spec):
        work.update(_product(layer))
    if spec.operation in _POOLS:
        work.update(_pool(spec, sizes))
    elif spec.operation == "transpose":
        work.update(_moved(sizes))
    elif not convolutions(spec):
        work.update(_plain(spec, sizes))
    work.update(_beyond_caches(sizes))
    if spec.activation is not None:
        work[f"activated_{spec.activation}"] += int(sizes["written"])
    if sizes["sum"]:
        work["summed"] += int(sizes["written"])
    return {name: float(amount) for name, amount in work.items()}


def _beyond_caches(sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return by how much a kernel's tensors are larger than caches: what does not fit comes from further away."""
    tensors = {name: sizes[name] for name in ("read", "written", "parameters")}
    tensors["moved"] = sizes["read"] + sizes["written"]
    return {
        f"{tensor}_beyond_{name}": max(0, int(size) - cache)
        for tensor, size in tensors.items()
        for name, cache in _CACHES.items()
    }


def _product(layer: Convolution) -> Mapping[str, int]:
    """Return the work of a convolution as a product of matrices, one for each group."""
    height, width = layer.output_size(layer.height), layer.output_size(layer.width)
    rows, depth = layer.out_channels // layer.groups, layer.in_channels // layer.groups * layer.kernel**2
    columns = height * width
    gathered = _is_gathered(layer)
    if rows == 1:
        work = _row(depth, columns, gathered)
    elif columns == 1:
        work = Counter(groups=1, dots=rows, dotted=rows * depth)
    else:
        work = _blocks(rows, depth, columns)
    if gathered:
        channels = layer.in_channels // layer.groups
        work.update({name: channels * amount for name, amount in _gathered(layer).items()})
        if rows > columns:
            work["expanded"] = depth * columns
    elif min(rows, columns) > 1:
        work["crowded"] = _is_crowded(depth, columns) * depth * _divided_up(columns, _VECTOR)
    return {name: amount * layer.groups for name, amount in work.items()}


def _blocks(rows: int, depth: int, columns: int) -> Counter[str]:
    """Return the work of one product of several rows and columns."""
    column_strip, depth_strip = strips(depth, columns)
    column_strips, depth_strips = _divided_up(columns, column_strip), _divided_up(depth, depth_strip)
    work = Counter(
        groups=1,
        packed=depth * columns,
        accumulated=rows * columns * depth_strips,
        weights=rows * depth * column_strips,
    )
    pairs, singles = _vectors(columns, column_strip)
    for block, count in _row_blocks(rows).items():
        kind = f"rows_of_{block}" if block in _ROW_BLOCKS else "rows_left"
        work[kind] += count * block * (2 * pairs + singles) * depth
        # The next step of a sum waits for this one, unless there are sums of other rows to go on with.
        work["waited"] += count * (pairs * max(0, _WAIT - 2 * block) + singles * max(0, _WAIT - block)) * depth
        work["blocks"] += count * (pairs + singles) * depth_strips
    return work


def _row_blocks(rows: int) -> Mapping[int, int]:
    """Return how many blocks of each height the rows of a product make."""
    blocks, left = {}, rows
    for block in _ROW_BLOCKS:
        blocks[block], left = divmod(left, block)
    return {**blocks, left: min(left, 1)}


def _vectors(columns: int, column_strip: int) -> tuple[int, int]:
    """Return how many pairs of vectors the columns of all strips make, and how many single ones are left over."""
    pairs = singles = 0
    for strip, count in ((column_strip, columns // column_strip), (columns % column_strip, 1)):
        left = strip % (2 * _VECTOR)
        pairs += count * (strip // (2 * _VECTOR) + (left > _VECTOR))
        singles += count * (0 < left <= _VECTOR)
    return pairs, singles


def _row(depth: int, columns: int, gathered: bool) -> Counter[str]:
    """Return the work of one product of one row, as where an output channel has inputs of its own."""
    work = Counter(
        channels=1,
        passes=_divided_up(depth, _DEPTH_OF_PASS) * _padded(columns, _VECTOR // 2),
        multiplied=depth * _padded(columns, _VECTOR),
    )
    if gathered:
        column_strip, _ = strips(depth, columns)
        work["strips"] = _divided_up(columns, column_strip)
        work["strip_rows"] = work["strips"] * depth
    return work


def _is_crowded(depth: int, columns: int) -> bool:
    """Tell whether vectors of all rows of a strip do not fit the nearest cache: they fall into few of its sets."""
    if columns < _VECTOR:
        return False
    way = _CACHE_SETS * _VECTOR
    _, depth_strip = strips(depth, columns)
    return min(depth, depth_strip) > _CACHE_WAYS * min(_CACHE_SETS, way // math.gcd(way, columns))


def _is_gathered(layer: Convolution) -> bool:
    """Tell whether pixels must be laid side by side first: for pointwise convolutions they lie so already."""
    return layer.kernel > 1 or layer.stride > 1 or layer.padding > 0


def _gathered(layer: Convolution) -> Mapping[str, int]:
    """Return the work of laying one channel's pixels side by side as the product needs them.

    That is done for each weight of the kernel and each row of the output. Rows outside of the image are cleared.
    Neighbouring pixels are copied four at a time; pixels that lie apart one by one, with a check of each where the row
    reaches beyond the image.
    """
    width = layer.output_size(layer.width)
    rows = sum(_inside(layer, layer.height, offset)[1] for offset in range(layer.kernel))
    work = Counter(cleared_rows=layer.kernel * (layer.kernel * layer.output_size(layer.height) - rows))
    work["cleared"] = work["cleared_rows"] * width
    for offset in range(layer.kernel):
        before, inside = _inside(layer, layer.width, offset)
        after = width - before - inside
        if layer.stride == 1:
            work["copied_rows"] += rows
            work["copied_fours"] += rows * (inside // 4)
            work["copied_ones"] += rows * (inside % 4)
            work["margins"] += rows * (before + after)
        else:
            work["apart_rows"] += rows
            work["apart_checked" if after else "apart"] += rows * (width - before)
            work["margins"] += rows * before
    return work


def _inside(layer: Convolution, size: int, offset: int) -> tuple[int, int]:
    """Return for how many positions along a side a weight of the kernel lies before the image, and in it."""
    first = offset * layer.dilation - layer.padding
    outputs = layer.output_size(size)
    before = min(outputs, max(0, _divided_up(-first, layer.stride)))
    until = min(outputs, max(0, _divided_up(size - first, layer.stride)))
    return before, max(0, until - before)


def _pool(spec: BlockSpec, sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return the work of a pool: down the columns of each window's rows, then across what came of it."""
    channels, height, width = int(sizes["channels"]), int(sizes["height"]), int(sizes["width"])
    rows, out_width = channels * int(sizes["output_height"]), int(sizes["output_width"])
    window = Convolution(1, 1, height, width, spec.kernel, spec.stride, spec.padding)
    read_rows = channels * sum(_inside(window, height, offset)[1] for offset in range(spec.kernel))
    # Where windows lie apart, half of a vector of four is not wanted.
    vectors = rows * _divided_up(out_width, 4 if spec.stride == 1 else 2)
    return {
        "channels": channels,
        "rows": rows,
        "ragged_rows": rows if width % 4 else 0,
        "down_fours": read_rows * (width // 4),
        "down_ones": read_rows * (width % 4),
        "reduced_fours": rows * (width // 4),
        "reduced_ones": rows * (width % 4),
        "across": vectors * spec.kernel,
        "vectors": vectors,
    }


def _plain(spec: BlockSpec, sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return the work of what neither convolves nor pools: it goes over its channels and weights once."""
    channels, positions = int(sizes["channels"]), int(sizes["height"] * sizes["width"])
    work = {
        "inputs": len(spec.input_shapes),
        "channels": channels,
        "channel_ends": channels * (positions % 4),
        "parameters": int(sizes["parameters"]),
    }
    if spec.operation == "global_avg_pool":
        work |= {f"sums_beyond_{length}": channels * max(0, positions - length) for length in _OVERLAPPING}
    return {**work, **_repeating(spec, sizes)}


def _moved(sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return the work of putting channels into another order: a copy for each, unless a register holds a whole one."""
    channels, positions = int(sizes["channels"]), int(sizes["height"] * sizes["width"])
    if positions <= _WORD:
        return {"moved": channels}
    longer = {f"copies_beyond_{length}": channels * (positions > length) for length in _STRAIGHT_COPIES}
    return {"copies": channels, **longer, "copied": channels * max(0, positions - _STRAIGHT_COPIES[-1])}


def _repeating(spec: BlockSpec, sizes: Mapping[str, float]) -> Mapping[str, int]:
    """Return the work of an operand that is repeated: a loop for each part of the other that it is taken with.

    Its name says how it is repeated, so that no model answers for a way that it never met.
    """
    way = repeated(spec)
    if way is None:
        return {}
    loops, numbers = int(sizes["channels"]), int(sizes["written"])
    if way == REPEATED_NUMBER:
        loops = loops_of_number(spec.input_shapes[0], 1)
    return {f"repeated_{way}": numbers, "loops": loops, "loop_ends": loops * (numbers // loops % _VECTOR)}


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


def _divided_up(number: int, by: int) -> int:
    return -(-number // by)


def _padded(columns: int, vector: int = _VECTOR) -> int:
    return _divided_up(columns, vector) * vector
