"""The whole search on a small supernet of NAS-Bench-201 and a few digits."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from searcher.errors import BadInputError, SearcherError
from searcher.networks.supernet import SupernetOptions
from searcher.networks.supernets import build_supernet
from searcher.search.differentiable.control import Control, OperationSimplex, ScalarControl
from searcher.search.differentiable.report import EpochReport
from searcher.search.differentiable.search import DifferentiableSearch
from searcher.search.differentiable.settings import DartsSettings
from searcher.training.halves import Half, Halves
from tests.searcher.darts_parts import CONTROL, COSTS, DEVICES, SMALL, halves

SETTINGS = DartsSettings(
    epochs=4,
    warm_up_epochs=1,
    batch_size=8,
    learning_rate=0.025,
    structure_learning_rate=0.1,
    structure_betas=(0.5, 0.999),
    temperature_from=1.0,
    temperature_to=0.2,
    structure_paths=0,
    uniform_share=0.0,
    shift_pixels=1,
    grid_divisions=2,
)
GUARDED = replace(
    SETTINGS,
    structure_paths=2,
    uniform_share=0.5,
    mirror=True,
    auxiliary_skip=0.5,
    eigenvalue_window=1,
    skip_limit=6,
    structure_every=2,
)
SECOND_ORDER = replace(SETTINGS, second_order=True, weight_paths=0, perturbation=0.05)


pytestmark = pytest.mark.usefixtures("one_thread")


def search(
    settings: DartsSettings = SETTINGS, control: Control = CONTROL, images: Halves | None = None
) -> DifferentiableSearch:
    supernet = build_supernet(SMALL, SupernetOptions(), torch.Generator().manual_seed(1))
    return DifferentiableSearch(SMALL, supernet, control, COSTS, settings, images or halves(16))


def run(one: DifferentiableSearch, epochs: int) -> list[EpochReport]:
    return list(itertools.islice(one.epochs(), epochs))


def saved_and_read(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    read: dict[str, Any] = torch.load(file, weights_only=True)
    return read


def tensors_of(state: object) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


@pytest.mark.parametrize(
    ("settings", "control"),
    [
        (SETTINGS, CONTROL),
        (GUARDED, ScalarControl(0.01, 1, DEVICES)),
        (replace(SETTINGS, structure_samples=3), CONTROL),
        (SECOND_ORDER, OperationSimplex(5, 0.1, [0.1, 0.1])),
    ],
    ids=["prices", "guarded scalar", "sampled prices", "second-order operations"],
)
def test_a_resumed_search_is_the_unbroken_one_bit_for_bit(settings: DartsSettings, control: Control) -> None:
    whole, first, second = (search(settings, control) for _ in range(3))
    unbroken = run(whole, 4)
    reports = run(first, 2)
    state = saved_and_read(first.state())
    if whole.stopped is None:
        # What goes on in the one that was saved is no business of the one that is resumed.
        run(first, 1)
    second.restore(state)
    assert second.epoch == 2
    reports += run(second, 4)
    assert reports == unbroken
    one, other = (tensors_of(search.state()) for search in (whole, second))
    assert len(one) == len(other) > 50
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_the_warm_up_trains_weights_alone_and_the_search_both() -> None:
    one = search()
    tables = one.hypernetwork.tables.detach().clone()
    weights = one.supernet.state_dict()["stem.0.weight"].clone()
    (warm_up,) = run(one, 1)
    assert torch.equal(one.hypernetwork.tables, tables)
    assert not torch.equal(one.supernet.state_dict()["stem.0.weight"], weights)
    assert warm_up.warm_up
    assert (warm_up.temperature, warm_up.validation_loss, warm_up.objective) == (None, None, None)
    assert warm_up.entropy == pytest.approx(1, abs=1e-3)
    (trained,) = run(one, 1)
    assert not torch.equal(one.hypernetwork.tables, tables)
    assert (trained.epoch, trained.epochs, trained.warm_up, trained.temperature) == (2, 4, False, 1.0)
    assert trained.validation_loss is not None
    assert trained.objective is not None
    assert trained.objective > trained.validation_loss > 1
    assert trained.entropy < warm_up.entropy
    assert set(trained.monotony) == {"complexity", *DEVICES}
    assert len(run(one, 9)) == 2


def test_at_dear_prices_the_structure_buys_what_is_cheap() -> None:
    settings = replace(SETTINGS, epochs=12, warm_up_epochs=0, structure_learning_rate=0.3, price_points=1)
    one = search(settings, ScalarControl(0.01, 20.0, DEVICES))
    run(one, 12)
    ends = [COSTS.latency_ms(torch.softmax(one.logits(point), dim=1)) for point in one.control.grid(1)]
    assert (ends[1] < 0.7 * ends[0]).all()


def test_a_search_that_collapses_ends_with_the_structure_of_before() -> None:
    one = search(replace(SETTINGS, warm_up_epochs=0, skip_limit=0))
    with torch.no_grad():
        one.hypernetwork.tables[:, :, 1] = 5
    before = one.hypernetwork.tables.detach().clone()
    (report,) = run(one, 4)
    assert report.stopped == one.stopped
    assert "skip connections" in (report.stopped or "")
    assert report.skips == 6
    assert torch.equal(one.hypernetwork.tables, before)
    again = search(replace(SETTINGS, warm_up_epochs=0, skip_limit=0))
    again.restore(saved_and_read(one.state()))
    assert run(again, 4) == []


def test_a_loss_that_is_not_finite_ends_the_search() -> None:
    good = halves(16)
    pixels = good.training.images.clone()
    pixels[good.training.rows] = float("nan")
    broken = Halves(Half(pixels, good.training.labels, good.training.rows), good.validation)
    with pytest.raises(SearcherError, match="diverged in epoch 1"):
        run(search(images=broken), 1)


@pytest.mark.parametrize("change", [{"hypernetwork": {}}, {"epoch": None}, {"draws": torch.zeros(3)}])
def test_a_state_of_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="same settings"):
        search().restore({**search().state(), **change})


def test_a_state_of_another_control_is_refused() -> None:
    with pytest.raises(BadInputError, match="same settings"):
        search().restore(search(control=ScalarControl(0.01, 1, DEVICES)).state())
