"""How much memory a NAS-Bench-201 network needs for one image in fp32: its weights, and the tensors that live at once.

Weights: 4 bytes for each trainable parameter of the blocks that are executed, dead edges excluded; running statistics
of batch norms are folded into convolutions and count nothing.

Activations: 4 bytes for each number of the tensors that live at the worst moment. Values of a cell are computed one by
one, each once, in the order of `computation.execution_order`, operands before what uses them. A tensor lives from when
it is computed to its last use; while something is computed, its operands and its result live both, since nothing is
computed in place. A sum of n operands is n - 1 adds in the order of the operands, each of which makes a new tensor. A
cell's input lives no longer than the cell needs it. A residual reduction computes its two convolutions first, with its
input kept for the shortcut, and then that. What a block needs inside one operation (a ReLU's result, a convolution's
workspace) is not counted: that is the runtime's business, and so is what it takes for itself.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from functools import cache

from searcher.spaces.architecture import Architecture
from searcher.spaces.block import Shape
from searcher.spaces.cell import OPERATIONS, Genotype
from searcher.spaces.computation import ADD, INPUT, Value, execution_order, output_value
from searcher.spaces.counts import block_parameters
from searcher.spaces.nasbench201 import STAGES, NasBench201

BYTES_PER_NUMBER = 4


def memory_bytes(space: NasBench201, architecture: Architecture) -> int:
    """Return the bytes of weights and of the tensors that live at once; 0 for a disconnected cell.

    Raises:
        BadInputError: the architecture is not of the space.
    """
    blocks = space.blocks(architecture)
    weights = sum(count * block_parameters(spec) for spec, count in blocks.items())
    return BYTES_PER_NUMBER * weights + activation_bytes(space, peak_tensors(architecture.genotype))


def activation_bytes(space: NasBench201, tensors: int) -> int:
    """Return the bytes of the tensors that live at the network's worst moment.

    Args:
        space: with the sizes of the skeleton.
        tensors: that live at once in one cell; 0 for a disconnected one.
    """
    if tensors == 0:
        return 0
    stages = [_numbers(space.stage_shape(stage)) for stage in range(STAGES)]
    # Input, and the results of both convolutions.
    reductions = [before + 2 * after for before, after in itertools.pairwise(stages)]
    stem = _numbers(space.image_shape) + stages[0]
    return BYTES_PER_NUMBER * max(stem, tensors * stages[0], *reductions)


@cache
def peak_tensors(genotype: Genotype) -> int:
    """Return how many tensors of a cell live at once at most; 0 for a disconnected cell."""
    output = output_value([OPERATIONS[gene] for gene in genotype])
    if output is None:
        return 0
    order = execution_order(output)
    left = Counter(operand for value in order for operand in value.operands)
    left[output] += 1
    living = peak = 0
    for value in order:
        if value.operation == INPUT:
            living += 1
        elif value.operation == ADD:
            living, added = _added(value, living, left)
            peak = max(peak, added)
        else:
            peak = max(peak, living + 1)
            living += 1 - _released(value.operands[0], left)
        peak = max(peak, living)
    return peak


def _added(value: Value, living: int, left: Counter[Value]) -> tuple[int, int]:
    """Return how many tensors live after a sum, and how many at its worst moment."""
    worst = living
    first, *others = value.operands
    for place, operand in enumerate(others):
        worst = max(worst, living + 1)
        # The partial sum before this one is used up by it.
        before = _released(first, left) if place == 0 else 1
        living += 1 - before - _released(operand, left)
    return living, worst


def _released(value: Value, left: Counter[Value]) -> int:
    """Take note of a use; return 1 if it was the last, else 0."""
    left[value] -= 1
    return int(left[value] == 0)


def _numbers(shape: Shape) -> int:
    return math.prod(shape)
