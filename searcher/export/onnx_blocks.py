"""Which block an operator of ONNX Runtime is: one function for each way in which operators tell their sizes.

A block says what is computed as far as it matters much to the time it takes. So a mean that counts its padding and one
that does not are one block, and so are activations with other bounds; zeros on one side of an image are spread over
both where that leaves the output as large as it is. A difference takes as long as a sum; what parts channels copies as
many numbers as what joins them again, and a slice that leaves nothing out copies all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from searcher.errors import BadInputError
from searcher.export.onnx_node import ACTIVATION_OPERATORS, GraphNode, as_image, written
from searcher.export.onnx_windows import convolution, pool
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import loops_of_number

_NO_IMAGE = (1, 1, 1, 1)
_HEIGHT_AND_WIDTH = (2, 3)
_FLOAT = "float32"
_ROW_RANK, _IMAGE_RANK = 2, 4


def require_known(operation: str) -> None:
    """Refuse an operator of which there is no block.

    Raises:
        BadInputError: it is one.
    """
    if operation not in _BLOCKS:
        raise BadInputError("no block computes this operator")


def block_of(node: GraphNode) -> BlockSpec:
    """Return the block that a node is.

    Raises:
        BadInputError: there is none; the message says why, without naming the node.
    """
    require_known(node.operation)
    odd = next((one.dtype for one in node.outputs if one.dtype != _FLOAT), None)
    if odd is not None:
        raise BadInputError(f"it computes {odd}, and kernels are known in fp32")
    return _BLOCKS[node.operation](node)


def _fully_connected(node: GraphNode) -> BlockSpec:
    rows, weights = node.data, node.weights()
    if rows.rank != _ROW_RANK or weights.rank != _ROW_RANK or node.attributes.get("transA", 0):
        raise BadInputError(
            f"it multiplies {written(rows.shape)} by {written(weights.shape)}, which is no linear layer"
        )
    outputs = node.output.shape[1]
    return BlockSpec("fully_connected", (as_image(rows.shape),), outputs, activation=node.activation)


def _global_avg_pool(node: GraphNode) -> BlockSpec:
    return BlockSpec("global_avg_pool", (node.image,), node.image[1])


def _mean(node: GraphNode) -> BlockSpec:
    axes = node.integers("axes", 1) or ()
    if node.data.rank != _IMAGE_RANK or tuple(sorted(axis % _IMAGE_RANK for axis in axes)) != _HEIGHT_AND_WIDTH:
        raise BadInputError(f"it is the mean of {written(node.data.shape)} over the axes {axes}, not of each channel")
    return _global_avg_pool(node)


def _alone(operation: str) -> Callable[[GraphNode], BlockSpec]:
    """Return what makes a block whose output is as its input, number by number."""

    def made(node: GraphNode) -> BlockSpec:
        shape = as_image(node.data.shape)
        return BlockSpec(operation, (shape,), shape[1])

    return made


def _of_two(operation: str) -> Callable[[GraphNode], BlockSpec]:
    """Return what makes a block of two inputs, the second of which may be repeated along some axes."""

    def made(node: GraphNode) -> BlockSpec:
        wanted = node.output.shape
        shapes = [(1,) * (len(wanted) - one.rank) + one.shape for one in node.inputs if one is not None]
        # What is computed pairwise takes as long either way round.
        shapes.sort(key=lambda shape: shape != wanted)
        if len(shapes) != 2 or shapes[0] != wanted:
            raise BadInputError(f"no input has the output's shape {written(wanted)}")
        if len(wanted) > _IMAGE_RANK and shapes[1] not in (wanted, (1,) * len(wanted)):
            raise BadInputError(f"it repeats {written(shapes[1])} over {written(wanted)}, which are no images")
        first, second = (as_image(shape) for shape in shapes)
        if second == _NO_IMAGE and loops_of_number(first, 1) > 1 and _in_one_loop(node, wanted):
            # The block's number is taken with one number after the other, and this one with all: as fast as its like.
            second = first
        return BlockSpec(operation, (first, second), first[1])

    return made


def _in_one_loop(node: GraphNode, wanted: tuple[int, ...]) -> bool:
    """Tell whether a single number is taken with all others in one loop."""
    rank = next(one.rank for one in node.inputs if one is not None and one.shape != wanted)
    return loops_of_number(wanted, rank) == 1


def _concat(node: GraphNode) -> BlockSpec:
    ranks = {one.rank for one in node.inputs if one is not None}
    axis = node.attributes["axis"]
    if ranks not in ({_IMAGE_RANK}, {_ROW_RANK}) or axis % ranks.pop() != 1:
        raise BadInputError(f"it joins along axis {axis}, not the channels of images")
    shapes = tuple(as_image(one.shape) for one in node.inputs if one is not None)
    return BlockSpec("concat", shapes, sum(shape[1] for shape in shapes))


def _split(node: GraphNode) -> BlockSpec:
    """Return the joining of the parts: they are copied one after the other, too."""
    axis, rank = node.attributes.get("axis", 0), node.data.rank
    if rank not in (_ROW_RANK, _IMAGE_RANK) or axis % rank != 1:
        raise BadInputError(f"it parts {written(node.data.shape)} along axis {axis}, not the channels of images")
    shapes = tuple(as_image(one.shape) for one in node.outputs)
    return BlockSpec("concat", shapes, sum(shape[1] for shape in shapes))


def _softmax(node: GraphNode) -> BlockSpec:
    if node.data.rank != _ROW_RANK or node.attributes.get("axis", 1) % _ROW_RANK != 1:
        raise BadInputError(f"it takes {written(node.data.shape)}: blocks know the softmax of rows only")
    return _alone("softmax")(node)


class _Run(NamedTuple):
    """Axes that stay together in a transposition: the place of the first among them, and how many numbers they hold."""

    place: int
    size: int


def _transpose(node: GraphNode) -> BlockSpec:
    shape = node.data.shape
    order = tuple(node.attributes.get("perm", range(len(shape))[::-1]))
    runs = _runs(shape, order)
    ranked = sorted(runs)
    places = [ranked.index(run) for run in runs]
    batch = 1
    if len(places) < 2:
        # Only axes of size 1 change their places: the numbers are copied in their order.
        image = as_image(shape)
        return BlockSpec("transpose", (image,), image[1])
    if len(places) > 2 and places[0] == 0:
        batch, places, ranked = ranked[0].size, [place - 1 for place in places[1:]], ranked[1:]
    if places not in ([1, 0], [1, 0, 2]):
        raise BadInputError(f"it orders the axes of {written(shape)} as {order}: blocks exchange two neighbours only")
    groups, members = ranked[0].size, ranked[1].size
    inner = ranked[2].size if len(ranked) > 2 else 1
    height, width = shape[-2:] if len(shape) >= _IMAGE_RANK and math.prod(shape[-2:]) == inner else (inner, 1)
    return BlockSpec("transpose", ((batch, groups * members, height, width),), groups * members, groups=groups)


def _runs(shape: tuple[int, ...], order: tuple[int, ...]) -> list[_Run]:
    """Return the axes in their new order, those joined that follow each other before and after; none of size 1."""
    runs: list[_Run] = []
    before = None
    standing = [axis for axis in range(len(shape)) if shape[axis] > 1]
    for axis in (axis for axis in order if shape[axis] > 1):
        place = standing.index(axis)
        if before is not None and place == before + 1:
            runs[-1] = runs[-1]._replace(size=runs[-1].size * shape[axis])
        else:
            runs.append(_Run(place, shape[axis]))
        before = place
    return runs


def _slice(node: GraphNode) -> BlockSpec:
    before, after = node.data.shape, node.output.shape
    cut = [axis for axis, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if not cut:
        image = as_image(before)
        return BlockSpec("view", (image,), image[1])
    if len(cut) != 1:
        raise BadInputError(f"it makes {written(after)} of {written(before)}: blocks slice one axis only")
    (axis,) = cut
    step = _step(node, axis)
    if step < 1:
        raise BadInputError(f"it slices in steps of {step}")
    # Rows of an image: what lies before the axis counts as channels, what lies behind it as pixels of a row.
    outer, rows, inner = math.prod(before[:axis]), before[axis], math.prod(before[axis + 1 :])
    first = rows - (after[axis] - 1) * step
    return BlockSpec("slice", ((1, outer, rows, inner),), outer, kernel=first, stride=step)


def _step(node: GraphNode, axis: int) -> int:
    steps = node.integers("steps", 4)
    if steps is None:
        return 1
    axes = node.integers("axes", 3) or tuple(range(len(steps)))
    rank = node.data.rank
    return next((step for one, step in zip(axes, steps, strict=True) if one % rank == axis), 1)


def _pad(node: GraphNode) -> BlockSpec:
    batch, channels, height, width = node.image
    after = as_image(node.output.shape)
    below, beside, behind = after[2] - height, after[3] - width, after[1] - channels
    same = after[0] == batch and below == beside and below % 2 == 0 and below >= 0 and behind >= 0
    mode = node.attributes.get("mode", "constant")
    if not same or mode != "constant":
        raise BadInputError(
            f"it makes {written(after)} of {written(node.image)} ({mode}): blocks put zeros on all sides alike"
        )
    return BlockSpec("pad", (node.image,), after[1], padding=below // 2)


def _view(node: GraphNode) -> BlockSpec:
    """Return the view of a single number: the runtime gives the output the input's memory, however large that is.

    The graph's own outputs have memory of their own, and are copied there; so are constants of the file.
    """
    taken = node.inputs[0]
    if taken is None:
        raise BadInputError("nothing goes into it")
    shape = as_image(taken.shape) if node.ends or taken.constant else _NO_IMAGE
    return BlockSpec("view", (shape,), shape[1])


_BLOCKS: dict[str, Callable[[GraphNode], BlockSpec]] = {
    "Conv": convolution,
    "com.microsoft:FusedConv": convolution,
    "Gemm": _fully_connected,
    "com.microsoft:FusedGemm": _fully_connected,
    "MatMul": _fully_connected,
    "MaxPool": pool("max_pool"),
    "AveragePool": pool("avg_pool"),
    "GlobalAveragePool": _global_avg_pool,
    "ReduceMean": _mean,
    "Add": _of_two("add"),
    "Sub": _of_two("add"),
    "Mul": _of_two("mul"),
    "Div": _of_two("div"),
    "Concat": _concat,
    "Split": _split,
    "BatchNormalization": _alone("batch_norm"),
    "Softmax": _softmax,
    "Transpose": _transpose,
    "Slice": _slice,
    "Pad": _pad,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), _view),
    **{operator: _alone(name) for operator, name in ACTIVATION_OPERATORS.items()},
}
