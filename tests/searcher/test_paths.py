"""Paths that weights are trained on without regard to the structure."""

from __future__ import annotations

import pytest
import torch

from searcher.search.differentiable.paths import TrainingPaths
from searcher.spaces.architecture import Architecture
from searcher.spaces.cell import CONVOLUTIONS, OPERATIONS
from searcher.spaces.darts import DartsSpace
from searcher.spaces.darts_cell import NONE
from searcher.spaces.darts_cell import OPERATIONS as DARTS_OPERATIONS
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace

CELLS = NasBench201()
DARTS = DartsSpace(cells=6)


def drawn(space: SearchSpace, odds: float, count: int) -> torch.Tensor:
    source, paths = torch.Generator().manual_seed(0), TrainingPaths(space, odds)
    return torch.stack([paths.draw(source) for _ in range(count)])


@pytest.mark.parametrize("odds", [1.0, 3.0])
def test_convolutions_stand_at_the_odds_that_are_asked_for(odds: float) -> None:
    shares = drawn(CELLS, odds, 1500).mean(dim=(0, 1))
    is_convolution = torch.tensor([name in CONVOLUTIONS for name in OPERATIONS])
    # What is disconnected is drawn again, which leaves a little less of `none` than the odds say.
    least, most = odds / (2 * odds + 3) - 0.02, odds / (2 * odds + 3) + 0.04
    assert ((shares[is_convolution] > least) & (shares[is_convolution] < most)).all()
    assert shares[~is_convolution].max() < 1 / (2 * odds + 3) + 0.03


@pytest.mark.parametrize("space", [CELLS, DARTS], ids=lambda space: space.name)
def test_every_path_is_a_connected_architecture(space: SearchSpace) -> None:
    for path in drawn(space, 2.0, 200):
        assert set(path.unique().tolist()) == {0.0, 1.0}
        assert (path.sum(dim=1) == 1).all()
        architecture = Architecture(space.name, tuple(path.argmax(dim=1).tolist()))
        assert space.is_connected(architecture)  # refuses what is no architecture of the space
        space.format(architecture)


def test_a_node_of_darts_has_two_edges_and_more_convolutions_than_pools_and_skips() -> None:
    shares = drawn(DARTS, 4.0, 800).mean(dim=0).sum(dim=0)
    assert shares.sum() - shares[DARTS_OPERATIONS.index(NONE)] == pytest.approx(16)
    convolutions = sum(float(shares[index]) for index, name in enumerate(DARTS_OPERATIONS) if "conv" in name)
    # At even odds 9.1. A skip that halves the resolution has parameters, too.
    assert 12 < convolutions < 16 * 16 / 19


def test_the_same_generator_draws_the_same_paths() -> None:
    assert torch.equal(drawn(CELLS, 3.0, 5), drawn(CELLS, 3.0, 5))
