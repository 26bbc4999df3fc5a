"""The rounds in which a dataset grows: what each draws, and what is predicted of it before it is measured.

Every kernel of a round is predicted by a model that was fitted without it, so that its error is an honest one; then it
joins. Types and regions of larger errors get more of the next round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from searcher.cost_models.adaptive_drawing import DrawnKernel, Region, dealt, draw_round, mean_error_pct
from searcher.cost_models.quick_kernel_model import FEWEST_POINTS, QuickModel
from searcher.spaces.block import FP32, INT8, BlockSpec
from searcher.spaces.block_key import block_of_key
from searcher.spaces.kernel_domain import Limits
from searcher.tables.dataset import RANDOM, KernelRow

# The first round and the later ones are of about this part of the wanted points.
_PARTS = 5
# A target is reached on so many fresh random kernels at least: fewer would reach it by luck.
_ENOUGH = 10


@dataclass(frozen=True)
class Rounds:
    """What is wanted of a dataset under one table key.

    Attributes:
        types: of the kernels.
        points: of each type.
        limits: the most that a kernel may be.
        target_pct: mean error on fresh random kernels at which a type gets no more; None for no such target.
        near: kernels of a search space by type, at and near which is drawn too.
        dtype: numbers that the kernels compute with.
    """

    types: Sequence[str]
    points: int
    limits: Limits
    target_pct: float | None
    near: Mapping[str, Sequence[BlockSpec]]
    dtype: str = FP32

    def drawn(
        self, measured: Sequence[KernelRow], generator: np.random.Generator, failed: Set[str] = frozenset()
    ) -> list[DrawnKernel]:
        """Draw the next round.

        Args:
            measured: all rows so far of the key.
            generator: draws it, and fits the models.
            failed: keys of kernels that could not be measured, and are not drawn again.

        Returns:
            Its kernels with what is predicted of them; none when there are enough of each type, or the target is
            reached.

        Raises:
            BadInputError: the domain has no more kernels of a type.
        """
        of_types = {name: [row for row in measured if row.kernel_type == name] for name in self.types}
        judged = {name: _latest_judged(rows) for name, rows in of_types.items()}
        out_of_reach = {block_of_key(key).in_dtype(FP32).key for key in failed}
        drawn: list[DrawnKernel] = []
        for name, count in self._counts(of_types, judged).items():
            known = {row.spec.in_dtype(FP32).key for row in of_types[name]} | out_of_reach
            regions, near = _regions(judged[name]), self.near.get(name, ())
            ends = len(of_types[name]) < self._first
            kernels = draw_round(name, count, generator, self.limits, known, regions, near, ends=ends) if count else []
            named = [replace(one, spec=_in_dtype(one.spec, self.dtype)) for one in kernels]
            drawn += _predicted(named, of_types[name], generator)
        return drawn

    @property
    def _first(self) -> int:
        """How many kernels of a type there are before anything is predicted: random ones, and those at the ends."""
        return min(max(FEWEST_POINTS, -(-self.points // _PARTS)), self.points)

    def _counts(
        self, of_types: Mapping[str, Sequence[KernelRow]], judged: Mapping[str, Sequence[KernelRow]]
    ) -> dict[str, int]:
        """Return how many kernels of each type the next round draws."""
        first = self._first
        errors_pct = {name: mean_error_pct(_regions(rows, RANDOM)) for name, rows in judged.items() if rows}
        begun, room = {}, {}
        for name, rows in of_types.items():
            if len(rows) < first:
                begun[name] = first - len(rows)
            elif not self._reached(judged[name], errors_pct.get(name)):
                room[name] = max(0, self.points - len(rows))
        open_types = sum(left > 0 for left in room.values())
        return begun | dealt(first * open_types, errors_pct, room)

    def _reached(self, judged: Sequence[KernelRow], error_pct: float | None) -> bool:
        if self.target_pct is None or error_pct is None:
            return False
        return len(_regions(judged, RANDOM)) >= _ENOUGH and error_pct <= self.target_pct


def _in_dtype(spec: BlockSpec, dtype: str) -> BlockSpec:
    """Return a kernel in other numbers; a hard sigmoid, which quantisers leave as it is, is a sigmoid in integers."""
    if dtype == INT8 and spec.activation == "hard_sigmoid":
        spec = replace(spec, activation="sigmoid")
    return spec.in_dtype(dtype)


def next_round(measured: Sequence[KernelRow]) -> int:
    """Return the number of the round after all that rows are of."""
    return max((row.drawing_round for row in measured), default=-1) + 1


def _predicted(
    drawn: Sequence[DrawnKernel], measured: Sequence[KernelRow], generator: np.random.Generator
) -> list[DrawnKernel]:
    """Return kernels of one type with what a model, fitted to all that is there, tells of them."""
    if not drawn or len(measured) < FEWEST_POINTS:
        return list(drawn)
    model = QuickModel.of([row.spec for row in measured], [row.latency_ms for row in measured], generator)
    predicted_ms = model.predict_ms([one.spec for one in drawn]).tolist()
    return [replace(one, predicted_ms=told) for one, told in zip(drawn, predicted_ms, strict=True)]


def _latest_judged(rows: Sequence[KernelRow]) -> list[KernelRow]:
    """Return a type's predicted rows of the latest round that has random ones: earlier regions are known by now."""
    rounds = [row.drawing_round for row in rows if row.error_pct is not None and row.origin == RANDOM]
    latest = max(rounds, default=None)
    return [row for row in rows if row.error_pct is not None and row.drawing_round == latest]


def _regions(rows: Sequence[KernelRow], origin: str | None = None) -> list[Region]:
    chosen = (row for row in rows if origin in (None, row.origin))
    return [Region(row.spec, abs(row.error_pct)) for row in chosen if row.error_pct is not None]
