"""The calibrated sum over blocks, and the fit that makes it of a table and of whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from searcher.cost_models.calibration import Calibration
from searcher.cost_models.conformal import upper_ratio
from searcher.cost_models.fitting import Floats, fit_scales
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.fusion import Fusion
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import LookupTable, MissingBlockError

FIXED, RELUS = "fixed", "relu"


class CalibratedModel:
    """Predicts latency, and bounds it; fits `CostModel`."""

    def __init__(self, space: NasBench201, calibration: Calibration) -> None:
        """Take a calibration of the very space.

        Raises:
            BadInputError: it is of another space or of networks of another depth.
            NotAdditiveError: its fit has failed its own check.
            MissingBlockError: it lacks a block.
        """
        if (calibration.space, calibration.export_cells) != (space.name, space.cells_per_stage):
            raise BadInputError(
                f"the calibration is of {calibration.space} with {calibration.export_cells} cells per stage, "
                f"not of {space.name} with {space.cells_per_stage}"
            )
        calibration.require_additive()
        self._space = space
        self._ratios = calibration.held_out.ratios
        self._fusion = Fusion(calibration.relus.merges, frozenset(calibration.relus.into))
        self._block_ms = {}
        for block in space.all_blocks():
            key = block.in_dtype(calibration.table_key.precision).key
            if key not in calibration.block_ms:
                raise MissingBlockError(f"the calibration lacks {key} of the space {space.name}")
            self._block_ms[block] = calibration.block_ms[key]

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the predicted median latency of one inference, in ms."""
        counts = executed_blocks(self._space, architecture, self._fusion)
        return sum(count * self._block_ms[block] for block, count in counts.items())

    def upper_ms(self, architecture: Architecture, confidence: float) -> float:
        """Return a latency that the measured one stays below with this probability, in ms.

        It holds for architectures drawn at random; a search that looks for low predictions finds those that are too
        low more often, so that its winners are measured again.

        Raises:
            BadInputError: the confidence is no share, or too high for the networks that were held out.
        """
        return self.latency_ms(architecture) * upper_ratio(self._ratios, confidence)


def executed_blocks(space: NasBench201, architecture: Architecture, fusion: Fusion) -> dict[BlockSpec, int]:
    """Return what a runtime executes, the call among it; ReLUs that blocks have and the network has not are negative.

    Args:
        space: of the architecture.
        architecture: any; a disconnected one is the call alone.
        fusion: what the runtime does with ReLUs.
    """
    saved = {block: -count for block, count in space.saved_relus(architecture, fusion).items()}
    return {CALL_OVERHEAD: 1, **space.blocks(architecture), **saved}


@dataclass(frozen=True)
class Prior:
    """What a table says of networks before it is calibrated.

    Attributes:
        blocks: of the space, in the order of the columns.
        groups: names of the groups of blocks that are scaled together.
        members: (groups, blocks): 1 where a block is of a group.
        block_ms: (blocks,): what one more block costs, in ms.
    """

    blocks: tuple[BlockSpec, ...]
    groups: tuple[str, ...]
    members: Floats
    block_ms: Floats

    def parts_ms(self, counts: Floats) -> Floats:
        """Return what each group adds to networks, (networks, groups), in ms.

        Args:
            counts: (networks, blocks): how often each executes each block.
        """
        return counts * self.block_ms @ self.members.T

    def fitted(self, counts: Floats, measured_ms: Floats) -> Prior:
        """Return the same with groups scaled to agree with measured networks.

        Args:
            counts: (networks, blocks).
            measured_ms: (networks,), in ms.
        """
        return self.scaled(fit_scales(self.parts_ms(counts), measured_ms))

    def scaled(self, scales: Floats) -> Prior:
        """Return the same with each group's costs multiplied by its factor, (groups,)."""
        return Prior(self.blocks, self.groups, self.members, self.block_ms * (scales @ self.members))


def table_prior(space: NasBench201, table: LookupTable) -> Prior:
    """Take every block of a space from a table.

    What all networks have in common (stem, reductions, head, the call) is one group; the others are grouped by
    operation and kernel.

    Raises:
        BadInputError: the table is of another space.
        MissingBlockError: it lacks a block.
    """
    if table.space != space.name:
        raise BadInputError(f"the table is of the space {table.space!r}, not of {space.name!r}")
    keys = {block: block.in_dtype(table.key.precision).key for block in space.all_blocks()}
    call_ms = table.entry(keys[CALL_OVERHEAD]).median_ms
    own_ms = [
        call_ms if block == CALL_OVERHEAD else table.entry(key).median_ms - call_ms for block, key in keys.items()
    ]
    named = [_group(space, block) for block in keys]
    groups = tuple(dict.fromkeys(named))
    members = np.array([[float(name == group) for name in named] for group in groups])
    return Prior(tuple(keys), groups, members, np.array(own_ms))


def _group(space: NasBench201, block: BlockSpec) -> str:
    if block in space.skeleton or block == CALL_OVERHEAD:
        return FIXED
    return RELUS if block.operation == RELUS else f"{block.operation}-k{block.kernel}"


def count_matrix(
    space: NasBench201, architectures: Sequence[Architecture], fusion: Fusion, blocks: Sequence[BlockSpec]
) -> Floats:
    """Return how often networks execute blocks, (networks, blocks)."""
    rows: list[Mapping[BlockSpec, int]] = [executed_blocks(space, one, fusion) for one in architectures]
    return np.array([[row.get(block, 0) for block in blocks] for row in rows], dtype=np.float64)
