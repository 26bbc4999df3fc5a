"""Measured values of all NAS-Bench-201 cells that train differently, from a result file, as a search measures them.

The file is JSON, gzipped where its name ends in `.gz`: `scores` holds for each key (`score_key` of the cell that is
trained for all that train alike) the values by name; a key whose training diverged has none. It is made once, and
benchmarks that read it measure some of its keys again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from searcher.errors import BadInputError
from searcher.search.evaluator import trained_key
from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201

Scores = Mapping[str, Mapping[str, float]]

_DIVERGED = "its training diverged"


def read_scores(path: Path) -> dict[str, Mapping[str, float]]:
    """Return the values by name of each `score_key`.

    Raises:
        BadInputError: the file cannot be read or holds no scores.
    """
    try:
        raw = path.read_bytes()
        held = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        scores: dict[str, Mapping[str, float]] = {
            key: {name: float(value) for name, value in one.items()} for key, one in held["scores"].items()
        }
    except OSError as e:
        raise BadInputError(f"cannot read the scores {path}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as e:
        raise BadInputError(f"{path} is no file of scores: {e}") from e
    return scores


def drawn_keys(scores: Scores, seed: int, count: int = 10) -> tuple[str, ...]:
    """Draw the keys that a run measures again, of those that have values."""
    keys = sorted(key for key, values in scores.items() if values)
    chosen = np.random.default_rng(seed).choice(len(keys), min(count, len(keys)), replace=False)
    return tuple(keys[index] for index in chosen)


def agree(kept: Scores, again: Scores, tolerance: float) -> bool:
    """Tell whether values measured again are those that were kept, up to a share of them.

    Args:
        kept: by `score_key`.
        again: some of the same keys, each with at least one of the same values.
        tolerance: greatest difference, relative to the kept value or to 1, whichever is greater.
    """
    if not again:
        return False
    for key, values in again.items():
        common = kept.get(key, {}).keys() & values.keys()
        if not common:
            return False
        if not all(abs(kept[key][name] - values[name]) <= tolerance * max(1, abs(kept[key][name])) for name in common):
            return False
    return True


class KeptScores:
    """Looks values up; implements Measurer."""

    def __init__(self, scores: Scores) -> None:
        """Take the scores of all connected cells.

        Raises:
            BadInputError: a key is missing, or values are not of the same names or no finite numbers.
        """
        self._space = NasBench201()
        self._scores = scores
        names = {tuple(sorted(values)) for values in scores.values() if values}
        if len(names) != 1:
            raise BadInputError("the kept scores are not of the same values for all keys")
        self._names = next(iter(names))
        if not all(math.isfinite(value) for values in scores.values() for value in values.values()):
            raise BadInputError("a kept score is no finite number")
        cells = self._space.architectures()
        keys = {trained_key(self._space, cell) for cell in cells if self._space.is_connected(cell)}
        missing = keys - scores.keys()
        if missing:
            raise BadInputError(f"the kept scores lack {len(missing)} keys, such as {min(missing)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values in the file."""
        return self._names

    @property
    def identity(self) -> Mapping[str, Any]:
        """A hash of all that is looked up."""
        text = json.dumps({key: dict(values) for key, values in self._scores.items()}, sort_keys=True)
        return {"measurer": "kept scores", "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        """Return what is kept of each architecture, in their order."""
        kept = [self._scores[trained_key(self._space, one)] for one in architectures]
        return [Measured(values) if values else Measured({}, _DIVERGED) for values in kept]
