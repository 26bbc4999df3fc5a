import math

import pytest
import torch

from searcher.errors import BadInputError
from searcher.search.differentiable.simplex import (
    Dirichlet,
    Distribution,
    FirstUniform,
    GumbelSoftmax,
    draw_dirichlet,
    draw_gumbel_softmax,
    simplex_grid,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.0])
def test_dirichlet_draws_have_its_mean_and_variance(concentration: float) -> None:
    dimension, source = 4, generator()
    draws = torch.stack([draw_dirichlet(concentration, dimension, source) for _ in range(4000)])
    assert (draws >= 0).all()
    torch.testing.assert_close(draws.sum(dim=1), torch.ones(4000, dtype=torch.float64))
    variance = (1 / dimension) * (1 - 1 / dimension) / (dimension * concentration + 1)
    spread = math.sqrt(variance / 4000)
    assert (draws.mean(dim=0) - 1 / dimension).abs().max() < 4 * spread
    assert draws.var(dim=0) == pytest.approx([variance] * dimension, rel=0.12)


def test_a_tiny_concentration_still_draws_points() -> None:
    source = generator()
    draws = torch.stack([draw_dirichlet(1e-4, 3, source) for _ in range(300)])
    assert draws.isfinite().all()
    assert draws.amax(dim=1).min() > 0.3  # vertices, or the centre where all underflow


def test_gumbel_softmax_chooses_as_the_softmax_of_its_logits() -> None:
    logits, source = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), generator()
    draws = torch.stack([draw_gumbel_softmax(logits, 0.5, source) for _ in range(6000)])
    chosen = torch.bincount(draws.argmax(dim=1), minlength=3) / 6000
    torch.testing.assert_close(chosen.double(), torch.softmax(logits, 0), atol=0.025, rtol=0)


def test_gumbel_softmax_goes_from_the_vertices_to_the_centre_with_its_temperature() -> None:
    cold, hot = (GumbelSoftmax(temperature).draw(3, generator()) for temperature in (1e-3, 1e3))
    assert cold.max() > 0.999
    torch.testing.assert_close(hot, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.01, rtol=0)


@pytest.mark.parametrize("distribution", [Dirichlet(0.7), GumbelSoftmax(0.7), FirstUniform()])
def test_draws_belong_to_the_generator_and_have_no_gradient(distribution: Distribution) -> None:
    first, second = (distribution.draw(3, generator(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not torch.equal(first, distribution.draw(3, generator(6)))


def test_the_grid_has_every_point_once_in_lexicographic_order() -> None:
    assert (simplex_grid(3, 2) * 2).tolist() == [
        [0, 0, 2],
        [0, 1, 1],
        [0, 2, 0],
        [1, 0, 1],
        [1, 1, 0],
        [2, 0, 0],
    ]
    points = simplex_grid(4, 5)
    assert len(points) == math.comb(8, 3)
    assert points.tolist() == sorted(points.tolist())
    assert len({tuple(point) for point in points.tolist()}) == len(points)
    torch.testing.assert_close(points.sum(dim=1), torch.ones(len(points), dtype=torch.float64))
    assert simplex_grid(1, 3).tolist() == [[1.0]]


@pytest.mark.parametrize("make", [lambda: Dirichlet(0), lambda: GumbelSoftmax(-1), lambda: simplex_grid(3, 0)])
def test_what_draws_nothing_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(BadInputError):
        make()


@pytest.mark.parametrize("dimension", [2, 3, 6])
def test_the_first_share_is_uniform_in_any_dimension(dimension: int) -> None:
    source = generator()
    points = torch.stack([FirstUniform().draw(dimension, source) for _ in range(4000)])
    torch.testing.assert_close(points.sum(dim=1), torch.ones(4000, dtype=torch.float64))
    assert (points >= 0).all()
    quartiles = torch.quantile(points[:, 0], torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    expected = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    torch.testing.assert_close(quartiles, expected, atol=0.03, rtol=0)
    others = points[:, 1:].mean(dim=0)
    torch.testing.assert_close(others, torch.full_like(others, 0.5 / (dimension - 1)), atol=0.03, rtol=0)
