import pytest
import torch

from searcher.errors import BadInputError
from searcher.search.differentiable.control import OperationSimplex, PriceSimplex, ScalarControl
from searcher.search.differentiable.hypernetwork import (
    PiecewiseLinearHypernetwork,
    PivotHypernetwork,
    build_hypernetwork,
    structure_logits,
)
from searcher.search.differentiable.simplex import simplex_grid

PRICES = PriceSimplex(["pi"], 1.0, 1.0)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_nearest_pivot_weighs_most_wherever_the_point_is() -> None:
    hypernetwork = build_hypernetwork(PRICES, 6, 5, generator())
    assert isinstance(hypernetwork, PivotHypernetwork)
    for point in simplex_grid(3, 7):
        weights = hypernetwork.weights(point)
        assert weights.sum().item() == pytest.approx(1)
        distances = (hypernetwork.pivots - point).norm(dim=1)
        assert distances[weights.argmax()].item() == pytest.approx(distances.min().item())
        order = distances.argsort()
        assert (weights[order].diff() <= 1e-12).all()


def test_at_a_pivot_its_own_table_is_nearly_the_structure() -> None:
    hypernetwork = build_hypernetwork(PRICES, 6, 5, generator())
    assert isinstance(hypernetwork, PivotHypernetwork)
    for index, pivot in enumerate(hypernetwork.pivots):
        assert hypernetwork.weights(pivot)[index] > 0.85
    narrow = build_hypernetwork(PRICES, 6, 5, generator(), bandwidth=0.01)
    torch.testing.assert_close(narrow(torch.tensor([0.0, 0.5, 0.5])), narrow.tables[1])


def test_a_neighbour_weighs_the_same_share_however_many_pivots_there_are() -> None:
    for divisions in (1, 2, 3):
        hypernetwork = build_hypernetwork(PRICES, 6, 5, generator(), divisions)
        weights = hypernetwork.weights(torch.tensor([1.0, 0, 0]))
        nearest, neighbour = weights.sort(descending=True).values[:2].tolist()
        assert neighbour / nearest == pytest.approx(torch.tensor(-4.0).exp().item())


def test_a_scalar_runs_in_lines_between_its_tables() -> None:
    hypernetwork = build_hypernetwork(ScalarControl(0.01, 1, ["pi"]), 6, 5, generator())
    assert isinstance(hypernetwork, PiecewiseLinearHypernetwork)
    low, middle, high = hypernetwork.tables
    for at, expected in (
        (0.0, low),
        (0.25, (low + middle) / 2),
        (0.5, middle),
        (0.6, 0.8 * middle + 0.2 * high),
        (1.0, high),
    ):
        torch.testing.assert_close(hypernetwork(torch.tensor([at], dtype=torch.float64)), expected)


def test_first_logits_are_small_and_belong_to_the_generator() -> None:
    first, second = (build_hypernetwork(PRICES, 6, 5, generator()) for _ in range(2))
    assert torch.equal(first.tables, second.tables)
    assert 0 < first.tables.abs().max() < 0.01
    assert [name for name, _ in first.named_parameters()] == ["tables"]


def test_preferred_operations_are_added_to_the_logits_of_every_position() -> None:
    control = OperationSimplex(5, 0, [0.1], strength=3)
    hypernetwork = build_hypernetwork(control, 6, 5, generator(), pivot_divisions=1)
    point = torch.eye(5, dtype=torch.float64)[2]
    shift = structure_logits(control, hypernetwork, point) - hypernetwork(point)
    torch.testing.assert_close(shift, torch.tensor([-0.6, -0.6, 2.4, -0.6, -0.6]).expand(6, 5), atol=1e-6, rtol=0)


def test_a_bandwidth_of_nothing_is_refused() -> None:
    with pytest.raises(BadInputError, match="bandwidth"):
        build_hypernetwork(PRICES, 6, 5, generator(), bandwidth=0)
