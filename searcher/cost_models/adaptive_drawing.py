"""Which kernels to measure next: more of the types, and in the regions, where fresh predictions were wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernel_domain import Limits
from searcher.spaces.kernel_sampling import draw_ends, draw_kernels, draw_near
from searcher.tables.dataset import ENDS, NEAR_ERROR, RANDOM, SPACE

# Most points stay random, so that they tell of the domain.
RANDOM_SHARE = 0.6
# Of those near kernels of a space, so many are these kernels themselves, as long as there are new ones.
_EXACT_SHARE = 0.5
_ENDS_SHARE = 0.25
# No type is left alone because its last errors were small by luck: of an even share it gets so much at least.
_LEAST_SHARE = 0.25
# One accident, a kernel ten times off, must not draw all points.
_MOST_ERROR_PCT = 100.0
_TRIES = 50


@dataclass(frozen=True)
class DrawnKernel:
    """A kernel to measure.

    Attributes:
        spec: the kernel.
        origin: why it was drawn, as rows of datasets tell it.
        predicted_ms: what a model tells of its latency beforehand, the call included, in ms; None without a model.
    """

    spec: BlockSpec
    origin: str
    predicted_ms: float | None = None


@dataclass(frozen=True)
class Region:
    """A kernel that was predicted before it was measured.

    Attributes:
        spec: the kernel.
        error_pct: size of the prediction's error, in percent.
    """

    spec: BlockSpec
    error_pct: float


def dealt(count: int, errors_pct: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Deal points to types in proportion to their errors.

    Args:
        count: points in all.
        errors_pct: mean error of each type's fresh random kernels; a type that has none yet gets an even share.
        room: the most that each type takes; every type that is dealt to.

    Returns:
        Points of each type, at most its room; together `count`, or less where there is no more room.
    """
    known = [errors_pct[name] for name in room if name in errors_pct]
    usual = (sum(known) / len(known) if known else 0.0) or 1.0
    even = usual * _LEAST_SHARE
    weights = {name: max(errors_pct.get(name, usual), even) for name in room}
    given = dict.fromkeys(room, 0)
    # One point at a time to the type that is furthest below its part (Sainte-Laguë): few points, exact sums.
    for _ in range(min(count, sum(room.values()))):
        open_types = [name for name in room if given[name] < room[name]]
        given[max(open_types, key=lambda name: weights[name] / (2 * given[name] + 1))] += 1
    return given


def draw_round(
    of_type: str,
    count: int,
    generator: np.random.Generator,
    limits: Limits,
    known: Set[str],
    regions: Sequence[Region] = (),
    of_space: Sequence[BlockSpec] = (),
    *,
    ends: bool = False,
) -> list[DrawnKernel]:
    """Draw the kernels of one type for one round.

    Most are random; the rest lie near kernels whose predictions were wrong, in proportion to their errors, and at or
    near kernels of a space. Where these give too few, random ones take their place. Those of extreme sizes are few.

    Args:
        of_type: type of the kernels.
        count: how many.
        generator: draws them.
        limits: the most that a kernel may be.
        known: keys of kernels that are there already.
        regions: kernels whose errors are known; none in the first round.
        of_space: kernels of a search space.
        ends: whether to draw kernels of extreme sizes, too.
    """
    taken = set(known)
    special = count - math.ceil(RANDOM_SHARE * count)
    near_space = special // 2 if of_space else 0
    near_errors = special - near_space if regions else 0
    extreme = draw_ends(of_type, int(_ENDS_SHARE * count), generator, limits) if ends else []
    drawn = [DrawnKernel(spec, ENDS) for spec in extreme if spec.key not in taken]
    taken.update(one.spec.key for one in drawn)
    drawn += [DrawnKernel(spec, NEAR_ERROR) for spec in _near_errors(regions, near_errors, generator, limits, taken)]
    drawn += [DrawnKernel(spec, SPACE) for spec in _near_space(of_space, near_space, generator, limits, taken)]
    randoms = draw_kernels(of_type, count - len(drawn), generator, limits, taken)
    return [*(DrawnKernel(spec, RANDOM) for spec in randoms), *drawn]


def _near_errors(
    regions: Sequence[Region], count: int, generator: np.random.Generator, limits: Limits, taken: set[str]
) -> list[BlockSpec]:
    weights = np.array([min(region.error_pct, _MOST_ERROR_PCT) for region in regions], dtype=np.float64)
    if count == 0 or not weights.any():
        return []
    chosen = generator.choice(len(regions), count, p=weights / weights.sum())
    return _new_near([regions[one].spec for one in chosen], generator, limits, taken)


def _near_space(
    of_space: Sequence[BlockSpec], count: int, generator: np.random.Generator, limits: Limits, taken: set[str]
) -> list[BlockSpec]:
    if count == 0:
        return []
    new = [spec for spec in of_space if spec.key not in taken]
    order = generator.permutation(len(new))[: math.ceil(_EXACT_SHARE * count)]
    exact = [new[one] for one in order]
    taken.update(spec.key for spec in exact)
    centres = [of_space[one] for one in generator.integers(len(of_space), size=count - len(exact))]
    return exact + _new_near(centres, generator, limits, taken)


def _new_near(
    centres: Sequence[BlockSpec], generator: np.random.Generator, limits: Limits, taken: set[str]
) -> list[BlockSpec]:
    found = []
    for centre in centres:
        for _ in range(_TRIES):
            spec = draw_near(centre, generator, limits)
            if spec is not None and spec.key not in taken:
                taken.add(spec.key)
                found.append(spec)
                break
    return found


def mean_error_pct(regions: Sequence[Region]) -> float:
    """Return the mean size of errors, single accidents bounded, in percent.

    Raises:
        BadInputError: there are none.
    """
    if not regions:
        raise BadInputError("there are no errors to take the mean of")
    return sum(min(region.error_pct, _MOST_ERROR_PCT) for region in regions) / len(regions)
