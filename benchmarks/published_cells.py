"""Published figures of all 15,625 NAS-Bench-201 cells: accuracies, and latencies on one device after the other.

Reads `nasbench201_accuracy.csv.gz` and `nasbench201_latency.csv.gz` of the folder of public data. Everything is in
arrays, one row a cell in the order of the files, which is the benchmark's own.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.cost_models.prices import LATENCY, UNITS
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import EDGES, OPERATIONS
from searcher.spaces.nasbench201 import NasBench201

Floats = NDArray[np.float64]

ACCURACIES = {
    "cifar10": "cifar10_test_200",
    "cifar100": "cifar100_test_200",
    "imagenet16_120": "imagenet16_120_test_200",
}
_PLACES = len(OPERATIONS) ** np.arange(len(EDGES))


@dataclass(frozen=True, eq=False)
class Cells:
    """All cells.

    Attributes:
        genotypes: (n, 6).
        connected: (n,) whether the output depends on the input.
        accuracy: (n,) test accuracy in % after 200 epochs, by data set.
        latency_ms: (n,) by device.
    """

    genotypes: NDArray[np.int64]
    connected: NDArray[np.bool_]
    accuracy: dict[str, Floats]
    latency_ms: dict[str, Floats]

    @classmethod
    def read(cls, data_dir: Path, devices: Sequence[str]) -> Cells:
        """Read both files.

        Raises:
            BadInputError: a file is missing, or they are not of the same cells.
        """
        space = NasBench201()
        accuracies = _rows(data_dir / "nasbench201_accuracy.csv.gz")
        latencies = _rows(data_dir / "nasbench201_latency.csv.gz")
        texts = [row["architecture"] for row in accuracies]
        if texts != [row["architecture"] for row in latencies]:
            raise BadInputError(f"the accuracies and the latencies in {data_dir} are not of the same cells")
        genotypes = np.array([space.parse(text).genotype for text in texts], np.int64)
        return cls(
            genotypes=genotypes,
            connected=space.block_counts(genotypes)[:, 1] > 0,  # those that execute the stem
            accuracy={name: _column(accuracies, column) for name, column in ACCURACIES.items()},
            latency_ms={device: _column(latencies, f"{device}_ms") for device in devices},
        )

    def architecture(self, row: int) -> Architecture:
        """Return the cell of a row."""
        return Architecture(NasBench201().name, tuple(self.genotypes[row].tolist()))

    def row(self, architecture: Architecture) -> int:
        """Return the row of a cell."""
        return int(self.rows(np.array([architecture.genotype]))[0])

    def rows(self, genotypes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n,) rows of (n, 6) encodings."""
        order = np.empty(len(self.genotypes), np.int64)
        order[self.genotypes @ _PLACES] = np.arange(len(self.genotypes))
        found: NDArray[np.int64] = order[genotypes @ _PLACES]
        return found


class KnownPrice:
    """Latencies, or bounds of them, that were worked out for all cells at once; fits `Priced`."""

    quantity = LATENCY
    unit = UNITS[LATENCY]

    def __init__(self, name: str, cells: Cells, prices_ms: Floats) -> None:
        """Take (n,) prices of all cells, in ms."""
        self.name = name
        self._by_place = np.empty(len(prices_ms))
        self._by_place[cells.genotypes @ _PLACES] = prices_ms

    def cost(self, architecture: Architecture) -> float:
        """Return the price of a cell, in ms."""
        return float(self._by_place[np.array(architecture.genotype) @ _PLACES])

    def costs(self, genotypes: NDArray[np.integer[Any]]) -> Floats:
        """Return (n,) prices of (n, 6) encodings, in ms."""
        found: Floats = self._by_place[genotypes @ _PLACES]
        return found


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as e:
        raise BadInputError(f"cannot read {path}: {e.strerror or e}") from e


def _column(rows: Sequence[dict[str, str]], name: str) -> Floats:
    if not rows or name not in rows[0]:
        raise BadInputError(f"the public data has no column {name}")
    return np.array([float(row[name]) for row in rows])
