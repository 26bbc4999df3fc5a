"""Makers of measurers, and of what they measure, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from searcher.search.scores.measuring import Measured
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from searcher.training.datasets import ImageDataset


class FakeMeasurer:
    """Gives each `score_key` numbers of its own, without any work; implements Measurer.

    Attributes:
        asked: the keys that it was asked for, in their order.
    """

    def __init__(
        self,
        space: SearchSpace,
        names: tuple[str, ...] = ("rmi", "loss"),
        seed: int = 0,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        """Take the values' names, and the problems that some keys have."""
        self._space = space
        self._names = names
        self._seed = seed
        self._problems = problems or {}
        self.asked: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"measurer": "fake", "seed": self._seed, "names": list(self._names)}

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured]:
        keys = [self._space.score_key(self._space.representative(architecture)) for architecture in architectures]
        self.asked += keys
        return [self._measure(key) for key in keys]

    def _measure(self, key: str) -> Measured:
        if key in self._problems:
            return Measured({}, self._problems[key])
        return Measured({name: _number(f"{self._seed} {name} {key}") for name in self._names})


def _number(text: str) -> float:
    """A number between 0 and 3 with many digits."""
    return 3 * int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def made_up_dataset(size: int = 32, seed: int = 1) -> ImageDataset:
    """Two hundred random images of ten classes."""
    images = torch.randn(200, 3, size, size, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(200) % 10
    names = tuple(str(number) for number in range(10))
    return ImageDataset("made-up", images[:160], labels[:160], images[160:], labels[160:], names)
