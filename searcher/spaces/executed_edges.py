"""Which edges of a NAS-Bench-201 cell a runtime might execute: counts of operations under several rules.

`computation` says what a runtime executes that knows zeros and prunes what is dead. Others know less: some execute
every edge as it is written, others drop what leads nowhere but compute with zeros as with any number. Which rule a
device follows is told by latencies alone; a cost model that is fitted to them can weigh the rules by how well each of
them explains what was measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.spaces.cell import EDGES, NODES, NONE, OPERATIONS
from searcher.spaces.encodings import require_encodings

_NONE = OPERATIONS.index(NONE)
RULES = ("all", "leading", "summed", "live")


def executed_edges(genotypes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Count the operations on the edges that each rule has executed.

    The rules, in the order of `RULES`:

    - `all`: every edge, whatever becomes of its result, those of `none` among them;
    - `leading`: edges but those of `none` from whose end a path without `none` leads to the output, be they fed by
      zeros or not;
    - `summed`: these, and edges whose result is added to that of a `none`;
    - `live`: those leading edges that the cell's input reaches.

    Args:
        genotypes: (n, 6) indices of operations.

    Returns:
        (4, n, 5) how many such edges have each of `OPERATIONS`.

    Raises:
        BadInputError: these are no encodings of the space.
    """
    require_encodings(genotypes, len(EDGES), len(OPERATIONS), "nasbench201")
    open_edges = genotypes != _NONE
    reached, leading = _reached(open_edges), _leading(open_edges)
    everywhere = np.ones_like(open_edges)
    from_reached = np.stack([reached[:, source] for source, _ in EDGES], axis=1)
    to_leading = np.stack([leading[:, target] for _, target in EDGES], axis=1)
    leading_edges = to_leading & open_edges
    summed_edges = leading_edges | (_summed(open_edges) & open_edges)
    masks = np.stack([everywhere, leading_edges, summed_edges, from_reached & leading_edges])
    chosen = genotypes[..., None] == np.arange(len(OPERATIONS))
    counts: NDArray[np.float64] = (masks[..., None] & chosen).sum(axis=2).astype(np.float64)
    return counts


def _reached(open_edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n, 4): whether a path without `none` leads from the input to each node."""
    reached = np.zeros((len(open_edges), NODES), bool)
    reached[:, 0] = True
    for edge, (source, target) in enumerate(EDGES):
        reached[:, target] |= reached[:, source] & open_edges[:, edge]
    return reached


def _leading(open_edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n, 4): whether a path without `none` leads from each node to the output."""
    leading = np.zeros((len(open_edges), NODES), bool)
    leading[:, -1] = True
    # By target, the last first: all edges out of a node are seen before those into it.
    for edge, (source, target) in reversed(list(enumerate(EDGES))):
        leading[:, source] |= leading[:, target] & open_edges[:, edge]
    return leading


def _summed(open_edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n, 6): whether another edge into the same inner node is a `none`, and what then feeds such an edge."""
    summed = np.zeros_like(open_edges)
    for edge, (_, target) in enumerate(EDGES):
        others = [other for other, (_, node) in enumerate(EDGES) if node == target and other != edge]
        if target < NODES - 1 and others:
            summed[:, edge] = ~open_edges[:, others].all(axis=1)
    for edge, (source, _) in reversed(list(enumerate(EDGES))):
        feeding = [other for other, (_, node) in enumerate(EDGES) if node == source]
        for other in feeding:
            summed[:, other] |= summed[:, edge] & open_edges[:, edge]
    return summed
