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


def read_scores(path: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Mapping[str, float]]:
    """Return the values by name of each `score_key`.

    Args:
        path: of the file.
        settings: that it is to be made with; None takes any.

    Raises:
        BadInputError: the file cannot be read, holds no scores, or was made with other settings.
    """
    try:
        raw = path.read_bytes()
        held = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        scores: dict[str, Mapping[str, float]] = {
            key: {name: float(value) for name, value in one.items()} for key, one in held["scores"].items()
        }
        made_with = held.get("about", {}).get("settings")
    except OSError as e:
        raise BadInputError(f"cannot read the scores {path}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as e:
        raise BadInputError(f"{path} is no file of scores: {e}") from e
    if settings is not None and made_with != settings:
        raise BadInputError(f"{path} was made with other settings: score all cells again")
    return scores


def drawn_keys(scores: Scores, seed: int, count: int = 10) -> tuple[str, ...]:
    """Draw the keys that a run measures again, of those that have values."""
    keys = sorted(key for key, values in scores.items() if values)
    chosen = np.random.default_rng(seed).choice(len(keys), min(count, len(keys)), replace=False)
    return tuple(keys[index] for index in chosen)


def differences(kept: Scores, again: Scores) -> dict[str, float]:
    """Return how far values measured again are from those that were kept, of each name the greatest, in their spreads.

    The spread is the standard deviation over all that is kept: two cells that differ are about one spread apart.

    Args:
        kept: by key.
        again: some of the same keys with the same values.
    """
    told = {}
    for name in next(iter(again.values())):
        spread = float(np.std([values[name] for values in kept.values() if values]))
        told[name] = max(abs(kept[key][name] - values[name]) for key, values in again.items()) / spread
    return told


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
