"""Which blocks a table of a known space must hold, whatever the sizes of its networks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection

from searcher.errors import BadInputError
from searcher.spaces.block import measurable
from searcher.spaces.catalogue import space_named
from searcher.spaces.darts import STEM_MULTIPLIER

# A table names no sizes, its blocks do: the one that reads an RGB image, and the one that ends in the classes.
_IMAGE = re.compile(r"-1x3x(\d{1,5})x\1-to")
_STEM = re.compile(r"conv_bn-.*-1x3x(\d{1,5})x\1-to(\d{1,5})-")
_CLASSES = re.compile(r"(?:head|mobile_head|pool_head)-.*-to(\d{1,7})-")
_MOST_SIZES = 4


def needed_blocks(space: str, precision: str, blocks: Collection[str]) -> frozenset[str]:
    """Return the keys of all blocks of a space, in the sizes of which a table has the most.

    Args:
        space: name of a known space.
        precision: number type of the table.
        blocks: keys of the blocks that the table has.
    """
    wanted = [_blocks(space, precision, *sizes) for sizes in _sizes(blocks)]
    # Of sizes that fit alike the first counts, those of the space's own benchmark.
    return max((one for one in wanted if one), key=lambda one: len(one & {*blocks}))


def _sizes(blocks: Collection[str]) -> list[tuple[int | None, ...]]:
    """Return classes, image size and channels; None is the benchmark's own, and comes first."""
    classes = {int(match[1]) for match in map(_CLASSES.match, blocks) if match}
    images = {int(match[1]) for match in map(_IMAGE.search, blocks) if match}
    stems = {int(match[2]) for match in map(_STEM.match, blocks) if match}
    # The stem has as many channels as the first cells, or a multiple of them.
    channels = {stem // multiple for stem in sorted(stems)[:_MOST_SIZES] for multiple in (1, STEM_MULTIPLIER)} - {0}
    return list(
        itertools.product(
            (None, *sorted(classes)[:_MOST_SIZES]), (None, *sorted(images)[:_MOST_SIZES]), (None, *sorted(channels))
        ),
    )


def _blocks(
    space: str, precision: str, classes: int | None, image_size: int | None, channels: int | None
) -> frozenset[str]:
    try:
        sized = space_named(space, classes=classes, image_size=image_size, channels=channels)
        return frozenset(block.key for block in measurable(sized.all_blocks(), precision))
    except BadInputError:
        # No network of the space has these sizes.
        return frozenset()
