"""Latencies of the same NAS-Bench-201 networks on devices that are known: what a new device is predicted from.

Every device has one number for each network, published or of our own tables. Only networks that all of them know count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.cell import EDGES, OPERATIONS
from searcher.spaces.encodings import require_encodings
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.network_latencies import NetworkLatencies

Floats = NDArray[np.float64]

# Each device is rehearsed as a new one, and each of those that are left is predicted from another.
FEWEST_DEVICES = 3
# Fewer say little of what devices have in common; far more are published.
FEWEST_NETWORKS = 500
_PLACES = len(OPERATIONS) ** np.arange(len(EDGES))
_UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class KnownDevices:
    """Known devices and what networks take on them.

    Attributes:
        space: of the networks.
        names: of the devices, K of them.
        genotypes: (n, 6) of the networks, each once.
        latency_ms: (n, K), positive.

    Raises:
        BadInputError: the shapes do not fit, these are no encodings of the space, a network or a device is there twice,
            a latency is not positive, or fewer than 500 networks are connected.
    """

    space: NasBench201
    names: tuple[str, ...]
    genotypes: NDArray[np.integer[Any]]
    latency_ms: Floats

    def __post_init__(self) -> None:
        require_encodings(self.genotypes, len(EDGES), len(OPERATIONS), self.space.name)
        if self.latency_ms.shape != (len(self.genotypes), len(self.names)):
            raise BadInputError(
                f"latencies of the shape {self.latency_ms.shape} do not fit {len(self.genotypes)} networks on "
                f"{len(self.names)} devices"
            )
        if not (np.isfinite(self.latency_ms) & (self.latency_ms > 0)).all():
            raise BadInputError("a latency on a known device is not positive")
        if (np.bincount(self.genotypes @ _PLACES) > 1).any():
            raise BadInputError("a network of the known devices is there twice")
        self._require_different_devices()
        if self.connected.sum() < FEWEST_NETWORKS:
            raise BadInputError(
                f"the known devices have {self.connected.sum()} connected networks in common, and it takes "
                f"{FEWEST_NETWORKS}"
            )

    @classmethod
    def of(cls, space: NasBench201, files: Sequence[NetworkLatencies]) -> KnownDevices:
        """Take the networks that all files know.

        Raises:
            BadInputError: a file is of another space, there are fewer than three, or as for the class.
        """
        others = [one.space for one in files if one.space != space.name]
        if others:
            raise BadInputError(f"the latencies are of the space {others[0]!r}, not of {space.name!r}")
        require_enough(len(files))
        texts = [text for text in files[0].networks if all(text in one.networks for one in files)]
        if not texts:
            raise BadInputError("the known devices have no network in common")
        genotypes = np.array([space.parse(text).genotype for text in texts], np.int64)
        latency_ms = np.array([[one.networks[text].median_ms for one in files] for text in texts])
        return cls(space, tuple(one.device for one in files), genotypes, latency_ms)

    @cached_property
    def connected(self) -> NDArray[np.bool_]:
        """(n,) whether a network's output depends on its input."""
        return are_connected(self.space, self.genotypes)

    def without(self, device: int) -> KnownDevices:
        """Return all devices but one."""
        left = [index for index in range(len(self.names)) if index != device]
        return KnownDevices(
            self.space, tuple(self.names[index] for index in left), self.genotypes, self.latency_ms[:, left]
        )

    def rows(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return (m,) the rows of networks that are known.

        Args:
            genotypes: (m, 6).

        Raises:
            BadInputError: these are no encodings of the space, or a known device has no latency of one of them.
        """
        require_encodings(genotypes, len(EDGES), len(OPERATIONS), self.space.name)
        row_of = np.full(len(OPERATIONS) ** len(EDGES), _UNKNOWN, np.int64)
        row_of[self.genotypes @ _PLACES] = np.arange(len(self.genotypes))
        rows: NDArray[np.int64] = row_of[genotypes @ _PLACES]
        if (rows == _UNKNOWN).any():
            missing = genotypes[int((rows == _UNKNOWN).argmax())]
            raise BadInputError(f"not all known devices have a latency of the cell {tuple(missing.tolist())}")
        return rows

    def _require_different_devices(self) -> None:
        twice = [name for name in self.names if self.names.count(name) > 1]
        if twice:
            raise BadInputError(f"the known device {twice[0]!r} is there twice")
        for (one, ones_ms), (other, others_ms) in combinations(zip(self.names, self.latency_ms.T, strict=True), 2):
            if np.array_equal(ones_ms, others_ms):
                raise BadInputError(f"the known devices {one!r} and {other!r} have the very same latencies: a copy")


def require_enough(devices: int) -> None:
    """Refuse too few known devices.

    Raises:
        BadInputError: there are fewer than three.
    """
    if devices < FEWEST_DEVICES:
        raise BadInputError(f"a new device is predicted from {FEWEST_DEVICES} known ones at least, not {devices}")


def are_connected(space: NasBench201, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (n,) whether the output of each of (n, 6) cells depends on its input."""
    # The stem, which only networks execute whose output depends on their input.
    return np.asarray(space.block_counts(genotypes)[:, 1] > 0)
