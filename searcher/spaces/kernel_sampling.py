"""Kernels drawn at random: of a type, over its whole domain, or near a kernel that is given.

Points of a scrambled Halton sequence (Owen, "A randomized Halton algorithm in R", 2017) become kernels one by one:
each is uniformly distributed by itself, and together they leave smaller gaps than independent ones. What breaks a limit
is left out, which keeps both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import TypeVar

import numpy as np
from scipy.stats import qmc

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import Domain, Limits, Range, domain_of
from searcher.spaces.kernels import (
    kernel_features,
    kernel_type,
    output_size,
    repeated,
    repeated_shapes,
)
from searcher.spaces.kernels_inside import kernels_inside
from searcher.spaces.space import SearchSpace

Choice = TypeVar("Choice")

# What one point of the unit cube settles, a dimension each.
_DIMENSIONS = (
    *("height", "width", "channels", "outputs", "window", "activation", "groups", "inputs", "rounding"),
    "expansion",
)
_SQUARE_SHARE = 0.6
_WIDEST_RATIO = 3.0
# Of the draws of a size so much lies on either end of its range, so that models are fitted up to the ends.
_AT_THE_ENDS = 0.02
# Of the images so much is small, beside the range of the others. It is a little more of what is drawn, since limits
# leave out large ones alone.
_SMALL_SHARE = 1 / 10
_ROUND = 8  # channels that vector units like, and that designers choose
_BATCH = 256
# Kernels that are too large, or there already, are drawn in vain; a domain that is used up is told as that.
_MOST_IN_VAIN = 20_000
_NEAR_SPREAD = 0.25
_POOL = 3000


def draw_kernels(
    of_type: str, count: int, generator: np.random.Generator, limits: Limits, known: Set[str] = frozenset()
) -> list[BlockSpec]:
    """Draw different kernels of a type over its whole domain.

    Args:
        of_type: one of DOMAINS.
        count: how many.
        generator: draws them.
        limits: the most that one may be.
        known: keys of kernels that are there already and are not drawn again.

    Raises:
        BadInputError: there is no such type, or not so many kernels within the limits.
    """
    domain = domain_of(of_type)
    drawn: dict[str, BlockSpec] = {}
    for shape in domain.always[:count]:
        spec = BlockSpec(domain.operation, (shape,), shape[1])
        if spec.key not in known:
            drawn[spec.key] = spec
    in_vain = 0
    for kernel in _kernels(of_type, domain, generator, limits):
        if len(drawn) == count:
            break
        if kernel is None or kernel.key in known or kernel.key in drawn:
            in_vain += 1
            if in_vain > _MOST_IN_VAIN:
                raise BadInputError(f"there are hardly more than {len(drawn)} new kernels of {of_type} in these limits")
            continue
        drawn[kernel.key] = kernel
    return list(drawn.values())


def draw_ends(of_type: str, most: int, generator: np.random.Generator, limits: Limits) -> list[BlockSpec]:
    """Draw few kernels of a type that together have the least and the largest value of every feature.

    What follows from several sizes, such as multiply-accumulates, is seldom extreme in a few hundred random kernels,
    and a model answers for nothing beyond what it was fitted to. The values are the extreme ones of a large random
    pool.

    Args:
        of_type: one of DOMAINS.
        most: how many at most; those of the most extreme values come first.
        generator: draws the pool.
        limits: the most that one may be.
    """
    drawn = itertools.islice(_kernels(of_type, domain_of(of_type), generator, limits), _POOL)
    pool = list(dict.fromkeys(filter(None, drawn)))
    if not pool:
        return []
    features = np.array([list(kernel_features(kernel).values()) for kernel in pool], dtype=np.float64)
    features = features[:, np.ptp(features, axis=0) > 0]
    ends = np.hstack([features == extreme(features, axis=0) for extreme in (np.min, np.max)])
    chosen: list[BlockSpec] = []
    # Greedily, as sets are covered: the kernel at the most ends that no chosen one is at.
    while len(chosen) < most and ends.any():
        best = int(ends.sum(axis=1).argmax())
        chosen.append(pool[best])
        ends = ends[:, ~ends[best]]
    return chosen


def draw_near(spec: BlockSpec, generator: np.random.Generator, limits: Limits) -> BlockSpec | None:
    """Draw a kernel of the same type and window near another: its sizes times log-normal factors of about 1.

    Args:
        spec: where to draw; what is square or keeps its channels stays so in half of the draws.
        generator: draws it.
        limits: the most that it may be.

    Returns:
        The kernel; None where this draw gave none of the type within the limits.
    """
    factors = np.exp(generator.normal(0.0, _NEAR_SPREAD, 5))
    _, channels, height, width = spec.input_shapes[0]
    if height == width and generator.random() < 0.5:
        factors[1] = factors[0]
    if spec.output_channels == channels and generator.random() < 0.5:
        factors[3] = factors[2]
    sides = _stretched(height, factors[0]), _stretched(width, factors[1])
    try:
        near = _resized(spec, sides, _scaled(channels, factors[2]), _scaled(spec.output_channels, factors[3]))
        if spec.hidden_channels is not None:
            near = replace(near, hidden_channels=_scaled(spec.hidden_channels, factors[4]))
        fits = kernel_type(near) == kernel_type(spec) and min(output_size(near)) > 0 and limits.hold(near)
    except BadInputError:
        return None
    return near if fits else None


def kernels_of_space(space: SearchSpace, limits: Limits) -> dict[str, list[BlockSpec]]:
    """Return the different kernels of a space's blocks that can be drawn near, by type.

    Args:
        space: whose blocks, and what is inside of them.
        limits: the most that a kernel may be.
    """
    found: dict[str, dict[str, BlockSpec]] = {}
    for block in space.all_blocks():
        for kernel in (block, *kernels_inside(block)):
            of_type = kernel_type(kernel)
            if _is_drawn(of_type) and limits.hold(kernel):
                found.setdefault(of_type, {})[kernel.key] = kernel
    return {of_type: list(kernels.values()) for of_type, kernels in found.items()}


def _is_drawn(of_type: str) -> bool:
    try:
        domain_of(of_type)
    except BadInputError:
        return False
    return True


def _kernels(
    of_type: str, domain: Domain, generator: np.random.Generator, limits: Limits
) -> Iterator[BlockSpec | None]:
    """Yield random kernels without end, None where a point stands for none within the limits."""
    for point in _points(generator):
        kernel = _kernel_at(of_type, domain, point)
        yield kernel if kernel is not None and limits.hold(kernel) else None


def _points(generator: np.random.Generator) -> Iterator[Mapping[str, float]]:
    sequence = qmc.Halton(len(_DIMENSIONS), scramble=True, seed=generator)
    while True:
        for point in sequence.random(_BATCH).tolist():
            yield dict(zip(_DIMENSIONS, point, strict=True))


def _kernel_at(of_type: str, domain: Domain, point: Mapping[str, float]) -> BlockSpec | None:
    """Return the kernel that a point of the unit cube stands for; None where it stands for none of the type."""
    kernel, stride, padding = _chosen(domain.windows, point["window"])
    height = _height(domain, point["height"])
    width = _width(height, (domain.least_side, domain.sides[1]), point["width"])
    if domain.columns and point["expansion"] < 0.5:
        width = 1
    round_channels, round_outputs = point["rounding"] < 0.7, not 0.5 <= point["rounding"] < 0.85
    channels = _channels(domain.channels, point["channels"], round_channels)
    outputs = channels
    if domain.outputs is not None:
        outputs = _channels(domain.outputs, point["outputs"], round_outputs)
    groups = 1
    if domain.depthwise:
        groups = channels
    elif domain.groups is not None:
        groups = _chosen(domain.groups, point["groups"])
        channels, outputs = (max(1, round(size / groups)) * groups for size in (channels, outputs))
    inputs = domain.inputs[0] + int(point["inputs"] * (domain.inputs[1] + 1 - domain.inputs[0]))
    hidden = None
    if domain.expansions is not None:
        low, high = domain.expansions
        hidden = max(1, round(channels * (low + point["expansion"] * (high - low))))
    spec = BlockSpec(
        domain.operation,
        ((1, channels, height, width),),
        inputs * channels if domain.operation == "concat" else outputs,
        kernel,
        stride,
        padding,
        groups,
        _chosen(domain.activations, point["activation"]),
        hidden_channels=hidden,
    )
    if kernel_type(spec) != of_type or min(output_size(spec)) < 1:
        return None
    return _with_inputs(spec, inputs, _chosen(domain.repeated, point["expansion"]))


def _with_inputs(spec: BlockSpec, inputs: int, way: str | None) -> BlockSpec:
    """Return a kernel of one input as one of several; the second is as large, or repeated in a way."""
    (shape,) = spec.input_shapes
    seconds = repeated_shapes(shape)
    if way in seconds:
        return replace(spec, input_shapes=(shape, seconds[way]))
    return replace(spec, input_shapes=(shape,) * inputs)


def _resized(spec: BlockSpec, sides: tuple[int, int], channels: int, outputs: int) -> BlockSpec:
    """Return a kernel of other sizes, as its operation and groups allow them."""
    groups, domain = spec.groups, domain_of(kernel_type(spec))
    if domain.depthwise:
        groups = channels
    elif groups > 1:
        channels, outputs = (max(1, round(size / groups)) * groups for size in (channels, outputs))
    if spec.operation == "concat":
        outputs = channels * len(spec.input_shapes)
    elif domain.outputs is None:
        outputs = channels
    alone = replace(spec, input_shapes=((1, channels, *sides),), output_channels=outputs, groups=groups)
    return _with_inputs(alone, len(spec.input_shapes), repeated(spec))


def _chosen(choices: tuple[Choice, ...], at: float) -> Choice:
    return choices[min(int(at * len(choices)), len(choices) - 1)]


def _height(domain: Domain, at: float) -> int:
    share = _SMALL_SHARE if domain.small_sides else 0.0
    if at < share:
        return _chosen(domain.small_sides, at / share)
    return _log_uniform(domain.sides, (at - share) / (1 - share))


def _log_uniform(bounds: Range, at: float) -> int:
    low, high = bounds
    inside = min(max((at - _AT_THE_ENDS) / (1 - 2 * _AT_THE_ENDS), 0.0), 1.0)
    return round(low * math.exp(inside * math.log(high / low)))


def _width(height: int, bounds: Range, at: float) -> int:
    if at < _SQUARE_SHARE:
        return height
    exponent = 2 * (at - _SQUARE_SHARE) / (1 - _SQUARE_SHARE) - 1
    wide = height * math.exp(exponent * math.log(_WIDEST_RATIO))
    return min(max(round(wide), bounds[0]), bounds[1])


def _channels(bounds: Range, at: float, rounded: bool) -> int:
    size = _log_uniform(bounds, at)
    if rounded and size >= _ROUND:
        size = round(size / _ROUND) * _ROUND
    return min(max(size, bounds[0]), bounds[1])


def _scaled(size: int, factor: float) -> int:
    scaled = max(1, round(size * factor))
    return round(scaled / _ROUND) * _ROUND if size % _ROUND == 0 and scaled >= _ROUND else scaled


def _stretched(side: int, factor: float) -> int:
    """Return a side times a factor; one pixel is a form, not a size: a row of a slice, the image of a linear layer."""
    return 1 if side == 1 else _scaled(side, factor)
