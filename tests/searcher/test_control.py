import math

import pytest
import torch

from searcher.errors import BadInputError
from searcher.search.differentiable.control import Control, OperationSimplex, PriceSimplex, ScalarControl

PRICES = PriceSimplex(["pi", "phone"], most_complexity=0.5, most_latency=2.0)
OPERATIONS = OperationSimplex(5, complexity=0.1, latency=[0.2, 0.3], strength=4.0)
SCALAR = ScalarControl(0.01, 1.0, ["pi", "phone"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("control", [PRICES, OPERATIONS, SCALAR])
def test_every_control_draws_prices_and_covers_itself(control: Control) -> None:
    point = control.draw(generator(1))
    assert point.shape == (control.dimension,)
    assert not point.requires_grad
    assert torch.equal(point, control.draw(generator(1)))
    prices = control.prices(point)
    assert prices.complexity.shape == ()
    assert prices.latency.shape == (2,)
    assert prices.latency.dtype == prices.complexity.dtype == torch.float64
    grid = control.grid(3)
    assert grid.shape[1] == control.dimension
    assert grid.tolist() == sorted(grid.tolist())
    assert len({tuple(row) for row in grid.tolist()}) == len(grid)


def test_a_vertex_of_the_price_simplex_is_the_dearest_price_of_one_thing() -> None:
    found = [PRICES.prices(vertex) for vertex in torch.eye(4, dtype=torch.float64)]
    assert [prices.complexity.item() for prices in found] == [0, 0.5, 0, 0]
    assert [prices.latency.tolist() for prices in found] == [[0, 0], [0, 0], [2, 0], [0, 2]]


@pytest.mark.parametrize(("name", "index"), [("complexity", None), ("pi", 0), ("phone", 1)])
def test_along_a_ladder_of_the_price_simplex_one_price_alone_rises(name: str, index: int | None) -> None:
    points = PRICES.ladders(4)[name]
    assert points.sum(dim=1).tolist() == [1] * 5
    found = [PRICES.prices(point) for point in points]
    complexity = [prices.complexity.item() for prices in found]
    latency = torch.stack([prices.latency for prices in found], dim=1).tolist()
    rising = complexity if index is None else latency.pop(index)
    assert rising == sorted(set(rising))
    assert not any(sum(still) for still in ([latency[0], latency[1]] if index is None else [complexity, latency[0]]))


def test_preferences_for_operations_shift_logits_and_leave_prices() -> None:
    centre = torch.full((5,), 0.2, dtype=torch.float64)
    torch.testing.assert_close(OPERATIONS.prior(centre), torch.zeros(5, dtype=torch.float64))
    vertex = torch.eye(5, dtype=torch.float64)[3]
    expected = torch.tensor([-0.8, -0.8, -0.8, 3.2, -0.8], dtype=torch.float64)
    torch.testing.assert_close(OPERATIONS.prior(vertex), expected)
    assert OPERATIONS.prices(vertex).latency.tolist() == OPERATIONS.prices(centre).latency.tolist() == [0.2, 0.3]
    assert OPERATIONS.ladders(3) == {}


def test_the_scalar_is_log_uniform_between_its_bounds() -> None:
    ends = [SCALAR.prices(torch.tensor([at], dtype=torch.float64)) for at in (0.0, 0.5, 1.0)]
    assert [prices.complexity.item() for prices in ends] == pytest.approx([0.01, 0.1, 1.0])
    assert [prices.latency.tolist() for prices in ends] == [[prices.complexity.item()] * 2 for prices in ends]
    source = generator()
    logs = [math.log10(SCALAR.prices(SCALAR.draw(source)).complexity.item()) for _ in range(3000)]
    assert -2 <= min(logs) < max(logs) <= 0
    assert sum(logs) / 3000 == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize(("lowest", "highest", "tables"), [(1e-8, 1e-4, 5), (0.01, 1, 3), (0.01, 0.5, 2), (1, 2, 2)])
def test_the_scalar_has_a_table_for_each_decade(lowest: float, highest: float, tables: int) -> None:
    assert ScalarControl(lowest, highest, ["pi"]).tables == tables


def test_controls_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInputError, match="'pi'"):
        PriceSimplex(["pi", "pi"], 1, 1)
    with pytest.raises(BadInputError, match="complexity"):
        ScalarControl(0.1, 1, ["complexity"])
    with pytest.raises(BadInputError, match="-1"):
        PriceSimplex(["pi"], 1, -1)
    with pytest.raises(BadInputError, match="from 1 to"):
        ScalarControl(1, 0.1, ["pi"])
    with pytest.raises(BadInputError, match="not 1"):
        OperationSimplex(1, 0, [])
