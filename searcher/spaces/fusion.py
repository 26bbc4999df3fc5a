"""Which ReLUs of a NAS-Bench-201 network a runtime executes by themselves.

Every block of a convolution begins with a ReLU of its own. Inside a network, convolutions that read one value may share
its ReLU, and a ReLU may become part of the operation that produces the value, where nothing else reads that. Which of
this a runtime does is read from the graphs that it optimised (`read_fusion` in cost_models).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from searcher.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, OPERATIONS, Genotype
from searcher.spaces.computation import ADD, INPUT, Value, execution_order, output_value

CONV, POOL, SUM = "conv", "avg_pool", "add"
PRODUCERS = (CONV, POOL, SUM)
_PRODUCER = {CONV_1X1: CONV, CONV_3X3: CONV, AVG_POOL: POOL, ADD: SUM}


@dataclass(frozen=True)
class Fusion:
    """What a runtime does with ReLUs.

    Attributes:
        merges: whether convolutions that read one value share its ReLU.
        into: producers, of PRODUCERS, that a ReLU becomes part of where nothing else reads what they produce.
    """

    merges: bool
    into: frozenset[str]

    def executed(self, convolutions: int, others: int, producer: str | None) -> int:
        """Return how many ReLUs of one value are executed by themselves.

        Args:
            convolutions: that read the value.
            others: whatever else reads it.
            producer: what computes it; None for what no ReLU can become part of.
        """
        relus = min(1, convolutions) if self.merges else convolutions
        return 0 if relus == 1 and others == 0 and producer in self.into else relus


UNFUSED = Fusion(merges=False, into=frozenset())
"""Every convolution has a ReLU of its own, as blocks have."""


@dataclass(frozen=True)
class CellRelus:
    """ReLUs that one cell executes by themselves.

    Attributes:
        inside: on values that the cell computes.
        on_input: on the cell's input, by what produced that: `conv`, `avg_pool` or `add`.
        output: what produces the cell's output; `input` where it is the cell's input, None for a disconnected cell.
    """

    inside: int
    on_input: dict[str, int]
    output: str | None


@cache
def cell_relus(genotype: Genotype, fusion: Fusion) -> CellRelus:
    """Count the ReLUs that one cell executes by themselves."""
    output = output_value([OPERATIONS[gene] for gene in genotype])
    if output is None:
        return CellRelus(0, dict.fromkeys(PRODUCERS, 0), None)
    convolutions: defaultdict[Value, int] = defaultdict(int)
    others: defaultdict[Value, int] = defaultdict(int)
    for value in execution_order(output):
        for operand in value.operands:
            (convolutions if _PRODUCER[value.operation] == CONV else others)[operand] += 1
    # Whoever comes after the cell reads its output too; a value that is read inside is the output only if it is copied.
    others[output] += 1
    source = Value(INPUT)
    inside = sum(
        fusion.executed(count, others[value], _PRODUCER[value.operation])
        for value, count in convolutions.items()
        if value != source
    )
    on_input = {producer: fusion.executed(convolutions[source], others[source], producer) for producer in PRODUCERS}
    return CellRelus(inside, on_input, _PRODUCER.get(output.operation, INPUT))


def network_relus(genotype: Genotype, fusion: Fusion, cells: int) -> tuple[int, int, int]:
    """Return how many ReLUs the cells of each of the three stages execute by themselves.

    Args:
        genotype: of the cell.
        fusion: what the runtime does with ReLUs.
        cells: in each stage.
    """
    cell = cell_relus(genotype, fusion)
    if cell.output is None:
        return (0, 0, 0)
    # The first cell reads the stem's convolution, or the sum at the end of a reduction.
    later = cells * cell.inside + (cells - 1) * cell.on_input.get(cell.output, 0)
    return (later + cell.on_input[CONV], later + cell.on_input[SUM], later + cell.on_input[SUM])


def head_relus(genotype: Genotype, fusion: Fusion) -> int:
    """Return 0 where the head's ReLU is part of what comes before it, else 1.

    Before it stands a batch norm, which becomes part of a convolution before that. Where it stays, runtimes that let a
    sum take a ReLU have written it as a multiplication and a sum.
    """
    before = {SUM, CONV} if cell_relus(genotype, fusion).output == CONV else {SUM}
    return 0 if before & fusion.into else 1
