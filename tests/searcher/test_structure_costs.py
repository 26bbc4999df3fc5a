"""Costs of structures: their gradients, and that one-hot structures cost what the edge-additive model says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.errors import BadInputError
from searcher.networks.supernet import one_hot
from searcher.search.differentiable.control import Control, OperationSimplex, Prices, PriceSimplex, ScalarControl
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.hypernetwork import build_hypernetwork, structure_logits
from searcher.search.differentiable.objective import expected_objective, objective
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from tests.searcher.darts_parts import DEVICES, models

SPACE = NasBench201()
COSTS = StructureCosts(SPACE, models(SPACE))


def probabilities(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(6, 5, generator=generator, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("space", [SPACE, NasBench201(cells_per_stage=1), FBNet(image_size=32)])
def test_one_hot_structures_cost_what_the_edge_additive_model_says_bit_for_bit(space: SearchSpace) -> None:
    priced = models(space)
    costs = StructureCosts(space, priced)
    choices = space.additive_counts().choices.shape[1]
    generator = np.random.default_rng(1)
    for _ in range(300):
        architecture = space.sample(generator)
        structure = one_hot(architecture.genotype, choices)
        expected = [model.latency_ms(architecture) for model in priced.values()]
        assert costs.latency_ms(structure).tolist() == expected
        assert costs.parameters(structure).item() == space.parameters(architecture)


def test_a_mixture_costs_what_is_expected_of_its_draws() -> None:
    mixed, priced = probabilities(), models(SPACE)
    expected = [float(model.expected_ms(mixed.numpy())) for model in priced.values()]
    assert COSTS.latency_ms(mixed).tolist() == pytest.approx(expected, rel=1e-13)


def test_ratios_are_relative_to_the_reference() -> None:
    reference = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
    costs = StructureCosts(SPACE, models(SPACE), reference)
    structure = one_hot(reference.genotype, 5)
    assert costs.latency_ratio(structure).tolist() == [1, 1]
    assert costs.complexity_ratio(structure).item() == 1
    for index, model in enumerate(models(SPACE).values()):
        dearest = one_hot(model.prices_ms.argmax(axis=1).tolist(), 5)
        assert COSTS.latency_ratio(dearest)[index].item() == pytest.approx(1)
    assert COSTS.complexity_ratio(one_hot([3] * 6, 5)).item() == 1


def test_the_hinge_is_nothing_below_the_target_and_the_excess_above_it() -> None:
    mixed = probabilities().requires_grad_()
    latency = COSTS.latency_ms(mixed.detach())[0].item()
    for target, expected in ((latency * 1.01, 0.0), (latency / 1.5, 0.5)):
        costs = StructureCosts(SPACE, models(SPACE), targets_ms={"pi": target})
        terms = costs.latency_terms(mixed)
        assert terms[0].item() == pytest.approx(expected)
        # A device without a target keeps its ratio.
        assert terms[1].item() == COSTS.latency_ratio(mixed)[1].item()
        (gradient,) = torch.autograd.grad(terms[0], mixed)
        slope = torch.from_numpy(models(SPACE)["pi"].prices_ms) / target
        torch.testing.assert_close(gradient, slope if expected else torch.zeros_like(slope))


@pytest.mark.parametrize(
    "cost",
    [
        lambda p: COSTS.latency_ratio(p)[0],
        lambda p: COSTS.latency_ratio(p)[1],
        COSTS.complexity_ratio,
        lambda p: StructureCosts(SPACE, models(SPACE), targets_ms={"phone": 1e-3}).latency_terms(p)[1],
    ],
)
def test_gradients_with_respect_to_logits_are_those_of_finite_differences(cost: Callable[[Tensor], Tensor]) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def of_logits(changed: Tensor) -> Tensor:
        return cost(torch.softmax(changed, dim=1))

    assert torch.autograd.gradcheck(of_logits, logits.requires_grad_(), eps=1e-6, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("control", [PriceSimplex(DEVICES, 0.7, 2.0), ScalarControl(0.01, 1.0, DEVICES)])
def test_the_objective_has_the_right_gradient_through_the_hypernetwork(control: PriceSimplex | ScalarControl) -> None:
    generator = torch.Generator().manual_seed(4)
    hypernetwork = build_hypernetwork(control, 6, 5, generator).double()
    tables = hypernetwork.tables.detach() + torch.randn(hypernetwork.tables.shape, generator=generator)
    point = control.draw(generator)

    def of_tables(changed: Tensor) -> Tensor:
        logits = torch.func.functional_call(hypernetwork, {"tables": changed}, (point,))
        return objective(torch.tensor(1.5), torch.softmax(logits, dim=1), control.prices(point), COSTS)

    assert torch.autograd.gradcheck(of_tables, tables.requires_grad_(), atol=1e-7, fast_mode=True)
    assert structure_logits(control, hypernetwork, point).dtype == torch.float64


def test_the_objective_adds_what_prices_say() -> None:
    mixed, prices = probabilities(), Prices(torch.tensor(0.5).double(), torch.tensor([2.0, 3.0]).double())
    first, second = COSTS.latency_ratio(mixed).tolist()
    expected = 1.5 + 0.5 * COSTS.complexity_ratio(mixed).item() + 2 * first + 3 * second
    assert objective(torch.tensor(1.5), mixed, prices, COSTS).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "control",
    [PriceSimplex(DEVICES, 0.7, 2.0), ScalarControl(0.01, 1.0, DEVICES), OperationSimplex(5, 0.3, [0.2, 0.4])],
    ids=lambda control: control.name,
)
def test_prices_at_several_points_are_the_mean_of_those_at_each(control: Control) -> None:
    generator = torch.Generator().manual_seed(6)
    hypernetwork = build_hypernetwork(control, 6, 5, generator)
    with torch.no_grad():
        hypernetwork.tables.normal_(generator=generator)
    points = torch.stack([control.draw(generator) for _ in range(7)])
    together = expected_objective(torch.tensor(1.5), points, control, hypernetwork, COSTS)
    alone = [
        objective(
            torch.tensor(1.5),
            torch.softmax(structure_logits(control, hypernetwork, point), dim=-1),
            control.prices(point),
            COSTS,
        )
        for point in points
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean())
    assert torch.stack(alone).std() > 1e-4


def test_costs_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInputError, match="at least one device"):
        StructureCosts(SPACE, {})
    with pytest.raises(BadInputError, match="prices of pi are of the space fbnet"):
        StructureCosts(SPACE, models(FBNet()))
    with pytest.raises(BadInputError, match="target for tablet"):
        StructureCosts(SPACE, models(SPACE), targets_ms={"tablet": 3})
    with pytest.raises(BadInputError, match="not -3"):
        StructureCosts(SPACE, models(SPACE), targets_ms={"pi": -3})
    free = EdgeAdditive(SPACE.name, 0.0, np.zeros((6, 5)))
    with pytest.raises(BadInputError, match="costs nothing"):
        StructureCosts(SPACE, {"pi": free})
