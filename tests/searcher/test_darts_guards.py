import pytest
import torch

from searcher.search.differentiable.control import OperationSimplex, ScalarControl
from searcher.search.differentiable.derive import derive, skip_choice
from searcher.search.differentiable.guards import (
    collapsed,
    dominant_eigenvalue,
    mean_entropy,
    monotony,
    sharpened,
    skip_counts,
)
from searcher.search.differentiable.hypernetwork import Hypernetwork, build_hypernetwork, structure_logits
from searcher.spaces.architecture import Architecture
from tests.searcher.darts_parts import CONTROL, COSTS, DEVICES, SMALL, models

SKIP = skip_choice(SMALL)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def hypernetwork_of(pivot_logits: torch.Tensor) -> Hypernetwork:
    """One of the price simplex with vertices as pivots: task, complexity, pi, phone."""
    hypernetwork = build_hypernetwork(CONTROL, 6, 5, generator(), pivot_divisions=1)
    with torch.no_grad():
        # Pivots stand in lexicographic order, so that the last one is the task's.
        hypernetwork.tables.copy_(pivot_logits.flip(0))
    return hypernetwork


def family(hypernetwork: Hypernetwork) -> list[Architecture]:
    return [derive(SMALL, structure_logits(CONTROL, hypernetwork, point)) for point in CONTROL.grid(4)]


def favouring(*choices: int) -> torch.Tensor:
    """Logits (pivots, 6, 5) that favour one choice everywhere, another one for each pivot."""
    return torch.stack([3 * torch.eye(5)[choice].expand(6, 5) for choice in choices])


def test_a_structure_of_skips_all_over_the_control_is_a_collapse() -> None:
    skips = skip_counts(family(hypernetwork_of(favouring(SKIP, SKIP, SKIP, SKIP))), SKIP)
    assert set(skips) == {6}
    assert collapsed(skips, 2)
    assert not collapsed(skips, 6)


def test_skips_where_latency_is_dear_are_what_it_should_buy() -> None:
    skips = skip_counts(family(hypernetwork_of(favouring(3, 3, 3, SKIP))), SKIP)
    assert {0, 6} <= set(skips)
    assert not collapsed(skips, 2)


@pytest.mark.parametrize("eigenvalues", [[5.0, 2.0, 1.0], [-7.0, 2.0, 1.0]])
def test_the_dominant_eigenvalue_of_a_quadratic_is_found(eigenvalues: list[float]) -> None:
    basis, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator(), dtype=torch.float64))
    hessian = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    at = torch.ones(3, dtype=torch.float64, requires_grad=True)
    found = dominant_eigenvalue(at @ hessian @ at / 2, at, generator(), iterations=60, tolerance=1e-9)
    assert found == pytest.approx(eigenvalues[0], rel=1e-6)


def test_the_curvature_of_a_softmax_is_that_of_its_known_hessian() -> None:
    logits = torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    loss = torch.logsumexp(logits, dim=1).sum()
    probabilities = torch.softmax(logits.detach()[0], dim=0)
    hessian = torch.diag(probabilities) - torch.outer(probabilities, probabilities)
    found = dominant_eigenvalue(loss, logits, generator(), iterations=80, tolerance=1e-10)
    assert found == pytest.approx(torch.linalg.eigvalsh(hessian).max().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("eigenvalues", "window", "stops"),
    [
        ([1.0, 1.0, 1.0, 1.0], 2, False),
        ([1.0, 1.0, 1.2, 1.4], 2, False),
        ([1.0, 1.0, 1.3, 1.5], 2, True),
        ([1.0, 9.0], 1, True),
        ([9.0], 1, False),
        ([-1.0, 2.0], 1, False),
        ([3.0, 1.0, 5.0, 5.0], 4, False),
    ],
)
def test_a_valley_sharpens_when_the_mean_grows_by_a_third(eigenvalues: list[float], window: int, stops: bool) -> None:
    assert sharpened(eigenvalues, window) is stops


def test_monotony_tells_prices_that_work_from_those_that_do_not() -> None:
    cheapest = [int(model.prices_ms.sum(axis=0).argmin()) for model in models(SMALL).values()]
    working = monotony(CONTROL, hypernetwork_of(favouring(3, 0, *cheapest)), COSTS, 4)
    assert set(working) == {"complexity", *DEVICES}
    for one in working.values():
        assert one.spearman == pytest.approx(-1)
        assert one.rises == 0
        assert list(one.costs) == sorted(one.costs, reverse=True)
    inverted = monotony(CONTROL, hypernetwork_of(favouring(0, 3, 3, 3)), COSTS, 4)
    assert inverted["complexity"].spearman == pytest.approx(1)
    assert inverted["complexity"].rises == 1
    assert monotony(CONTROL, hypernetwork_of(favouring(3, 3, 3, 3)), COSTS, 4)["pi"].spearman is None


def test_each_control_is_judged_by_the_prices_that_it_changes() -> None:
    scalar = ScalarControl(0.01, 1, DEVICES)
    found = monotony(scalar, build_hypernetwork(scalar, 6, 5, generator()), COSTS, 3)
    assert {name: len(one.costs) for name, one in found.items()} == {"complexity": 4, "pi": 4, "phone": 4}
    operations = OperationSimplex(5, 0.1, [0.1, 0.1])
    assert monotony(operations, build_hypernetwork(operations, 6, 5, generator()), COSTS, 3) == {}


def test_entropy_goes_from_decided_to_uniform() -> None:
    assert mean_entropy(torch.zeros(6, 5)) == pytest.approx(1)
    assert mean_entropy(100 * torch.eye(5)) == pytest.approx(0, abs=1e-9)
    assert 0.2 < mean_entropy(torch.eye(5) * 2) < 0.9
