"""The calibrated sum over blocks: its prices, what it predicts, and by how much it may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.chains import lost_relus
from searcher.cost_models.conformal import upper_ratio
from searcher.cost_models.cost_model import linear_latencies_ms
from searcher.cost_models.fitting import fit_scales
from searcher.cost_models.fusing import executed_by
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.fusion import UNFUSED, Fusion
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable, MissingBlockError

Floats = NDArray[np.float64]

FIXED = "fixed"
NO_SLOPES: Mapping[str, float] = MappingProxyType({})


class CalibratedModel:
    """Predicts latency, and bounds it; fits `LinearCostModel` and `BoundedCostModel`."""

    def __init__(self, space: SearchSpace, calibration: Calibration) -> None:
        """Take a calibration of the very space.

        Raises:
            BadInputError: it is of another space or of networks of another depth.
            NotAdditiveError: its fit has failed its own check.
            MissingBlockError: it lacks a block.
        """
        wanted, given = (calibration.space, calibration.export_cells), (space.name, cells_of(space))
        if wanted != given:
            raise BadInputError(f"the calibration is of {with_cells(*wanted)}, not of {with_cells(*given)}")
        calibration.require_additive()
        self._space = executed_by(space, UNFUSED if calibration.relus is None else calibration.relus.fusion)
        self._ratios = calibration.held_out.ratios
        keys = [block.in_dtype(calibration.table_key.precision).key for block in space.all_blocks()]
        missing = [key for key in keys if key not in calibration.block_ms]
        if missing:
            raise MissingBlockError(f"the calibration lacks {missing[0]} of the space {space.name}")
        self._block_ms = np.array([calibration.block_ms[key] for key in keys])

    @property
    def space(self) -> SearchSpace:
        """The space as the runtime executes it: the counts of its blocks are those that the prices are for."""
        return self._space

    @property
    def block_ms(self) -> Floats:
        """(B,) what one execution of each of the space's `all_blocks()` adds, in ms; the call stands for itself."""
        return self._block_ms.copy()

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        counts = {CALL_OVERHEAD: 1, **self._space.blocks(architecture)}
        return sum(
            counts.get(block, 0) * float(ms) for block, ms in zip(self._space.all_blocks(), self._block_ms, strict=True)
        )

    def latencies_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) predicted median latencies in ms, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space.
        """
        return linear_latencies_ms(self._space, self._block_ms, genotypes)

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        It holds for architectures drawn at random; a search that looks for low predictions finds those that are too
        low more often than not, so that its winners are measured again.

        Raises:
            BadInputError: the confidence is no share, or too high for the networks that were held out.
        """
        return self.latency_ms(architecture) * self.upper_ratio(confidence)

    def uppers_ms(self, genotypes: NDArray[np.integer[Any]], confidence: float) -> Floats:
        """Return (n,) bounds as `upper_ms`, of (n, genes) integer encodings.

        Raises:
            BadInputError: these are no encodings of the space, or the confidence cannot be had.
        """
        return self.latencies_ms(genotypes) * self.upper_ratio(confidence)

    def upper_ratio(self, confidence: float) -> float:
        """Return the bound over the prediction, the same for every architecture.

        Raises:
            BadInputError: the confidence is no share, or too high for the networks that were held out.
        """
        return upper_ratio(self._ratios, confidence)


@dataclass(frozen=True, eq=False)
class Prices:
    """What a table says that blocks cost in networks, and which of them are scaled together.

    Attributes:
        space: as the runtime executes it.
        block_ms: (B,) the price of one execution of each of its `all_blocks()`, in ms.
        groups: names of the groups, such as `relu_conv_bn-k3`.
        members: (groups, B) 1 where a block is of a group, else 0.
    """

    space: SearchSpace
    block_ms: Floats
    groups: tuple[str, ...]
    members: Floats

    @classmethod
    def of(
        cls, space: SearchSpace, table: LookupTable, fusion: Fusion, slopes: Mapping[str, float] = NO_SLOPES
    ) -> Prices:
        """Take every block of a space from a table.

        Args:
            space: of the table.
            table: of its blocks.
            fusion: what the runtime does with ReLUs.
            slopes: price of blocks, by key, that alone would mislead: what one more adds to a chain, in ms.

        Raises:
            BadInputError: the table is of another space.
            MissingBlockError: it lacks a block.
        """
        groups, members = block_groups(space)
        blocks = space.all_blocks()
        block_ms = BlockSum(space, table).block_ms
        for column, block in enumerate(blocks):
            key = block.in_dtype(table.key.precision).key
            if key in slopes:
                relu = BlockSpec("relu", block.input_shapes, block.output_channels)
                missing_ms = block_ms[blocks.index(relu)] if relu in blocks and lost_relus(block, fusion) else 0.0
                block_ms[column] = slopes[key] + missing_ms
        return cls(executed_by(space, fusion), block_ms, groups, members)

    def parts_ms(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n, groups) what each group adds to networks, in ms, of (n, genes) integer encodings."""
        return (self.space.block_counts(genotypes) * self.block_ms) @ self.members.T

    def fit(self, genotypes: NDArray[np.integer[Any]], measured_ms: Floats) -> Floats:
        """Return (groups,) the scale of each group that makes networks agree with their (n,) measured latencies."""
        return fit_scales(self.parts_ms(genotypes), measured_ms)

    def scaled(self, scales: Floats) -> Floats:
        """Return (B,) the prices, each multiplied by the scale of its group."""
        prices: Floats = self.block_ms * (scales @ self.members)
        return prices


def block_groups(space: SearchSpace) -> tuple[tuple[str, ...], Floats]:
    """Return the kinds of a space's blocks, and (kinds, B) 1 where one of its `all_blocks()` is of a kind, else 0.

    What all networks have in common (the call, stem, reductions and head) is one kind; the others go by operation and
    kernel, such as `relu_conv_bn-k3`.
    """
    shared = space.additive_counts().base > 0
    named = [FIXED if fixed else _group(block) for block, fixed in zip(space.all_blocks(), shared, strict=True)]
    groups = tuple(dict.fromkeys(named))
    return groups, np.array([[float(name == group) for name in named] for group in groups])


def cells_of(space: SearchSpace) -> int | None:
    """Return the cells per stage of a space that has cells, else None."""
    return space.cells_per_stage if isinstance(space, NasBench201) else None


def with_cells(space: str, cells: int | None) -> str:
    """Return how messages name networks of a space that have so many cells per stage, or none."""
    return space if cells is None else f"{space} with {cells} cells per stage"


def _group(block: BlockSpec) -> str:
    return f"{block.operation}-k{block.kernel}" if block.kernel > 1 or "conv" in block.operation else block.operation
