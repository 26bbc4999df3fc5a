"""What a search maximises: a named function of measured values, of a whole population at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Score(Protocol):
    """Turns measured values into what is compared."""

    @property
    def name(self) -> str:
        """The name that a user chooses it by, such as `rmi`."""

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the measured values that it needs."""

    def scores(self, measured: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return (n,) scores, more is better, of n architectures that all have the values needed.

        A score of ranks depends on who else is there; one of values does not.
        """
