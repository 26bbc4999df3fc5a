"""What every measurer must do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher.networks.resnet import ResNet20
from searcher.search.scores.batch import prepare_batch
from searcher.search.scores.batch_training import RmiSettings
from searcher.search.scores.counted import Counted
from searcher.search.scores.joined import Joined
from searcher.search.scores.kept import Kept
from searcher.search.scores.measuring import Measurer
from searcher.search.scores.trained_on_batch import TrainedOnBatch
from searcher.search.scores.zero_cost import ZeroCost, ZeroCostSettings
from searcher.spaces.architecture import Architecture
from searcher.spaces.fbnet import FBNet
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.space import SearchSpace
from searcher.training.reference import Reference
from tests.searcher.measurers import FakeMeasurer, made_up_dataset

SMALL = NasBench201(cells_per_stage=1, channels=4, image_size=8)
CELLS = (
    "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
    "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|none~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|",
)

Folder = Path


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Case:
    """A measurer, one for each setting that changes, and its space.

    Attributes:
        make: a new one, with nothing of an earlier one but what is in the folder.
        others: the same with one setting changed each.
    """

    space: SearchSpace
    make: Callable[[Folder], Measurer]
    others: tuple[Callable[[Folder], Measurer], ...]


def zero_cost(cells: int = 1, images: int = 1, batch_size: int = 6, seed: int = 0) -> Callable[[Folder], Measurer]:
    space = NasBench201(cells_per_stage=cells, channels=4, image_size=8)
    settings = ZeroCostSettings(batch_size, seed)
    return lambda folder: ZeroCost(space, made_up_dataset(8, images), settings)


def kept(make: Callable[[Folder], Measurer]) -> Callable[[Folder], Measurer]:
    return lambda folder: Kept(make(folder), SMALL, folder)


def trained(threads: int = 1, images: int = 1, depth: int = 1, **settings: Any) -> Callable[[Folder], Measurer]:
    space = NasBench201(cells_per_stage=depth, channels=4, image_size=8)
    wanted = RmiSettings(**{"steps": 2, "batch_size": 6} | settings)
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(0))
    batch = prepare_batch(
        Reference(model.eval(), 10.0, "made up", "00"), made_up_dataset(8, images), wanted.batch_size, wanted.seed
    )
    return lambda folder: TrainedOnBatch(space, batch, wanted, threads)


CASES = [
    pytest.param(
        Case(
            SMALL,
            trained(),
            (
                trained(images=2),
                trained(depth=2),
                trained(steps=3),
                trained(batch_size=5),
                trained(seed=1),
                trained(beta=0.5),
                trained(learning_rate=0.05),
                trained(momentum=0.5),
                trained(weight_decay=0.0),
                trained(precision="bf16"),
            ),
        ),
        id="trained on a batch",
    ),
    pytest.param(
        Case(
            SMALL,
            zero_cost(),
            (zero_cost(cells=2), zero_cost(images=2), zero_cost(batch_size=7), zero_cost(seed=1)),
        ),
        id="zero cost",
    ),
    pytest.param(
        Case(SMALL, lambda folder: Counted(SMALL), (lambda folder: Counted(NasBench201()),)),
        id="counted",
    ),
    pytest.param(
        Case(
            FBNet(),
            lambda folder: Counted(FBNet()),
            (lambda folder: Counted(FBNet(classes=7)), lambda folder: Counted(SMALL)),
        ),
        id="counted FBNet",
    ),
    pytest.param(Case(SMALL, kept(zero_cost()), (kept(zero_cost(seed=1)),)), id="kept"),
    pytest.param(
        Case(
            SMALL,
            lambda folder: Joined([Counted(SMALL), zero_cost()(folder)]),
            (
                lambda folder: Joined([Counted(SMALL), zero_cost(seed=1)(folder)]),
                lambda folder: Joined([zero_cost()(folder), Counted(SMALL)]),
                zero_cost(),
            ),
        ),
        id="joined",
    ),
    pytest.param(
        Case(SMALL, lambda folder: FakeMeasurer(SMALL), (lambda folder: FakeMeasurer(SMALL, seed=1),)), id="fake"
    ),
]


@pytest.mark.parametrize("case", CASES)
class TestMeasurer:
    def test_every_answer_has_the_names_that_are_promised_and_finite_numbers(self, case: Case, tmp_path: Path) -> None:
        measurer = case.make(tmp_path)
        architectures = sample(case.space)
        answers = measurer.measure(architectures)
        assert len(answers) == len(architectures)
        assert len(set(measurer.names)) == len(measurer.names) > 0
        for answer in answers:
            assert answer.problem is None
            assert set(answer.values) == set(measurer.names)
            assert all(math.isfinite(value) for value in answer.values.values())

    def test_neither_company_nor_order_nor_earlier_calls_change_an_answer(self, case: Case, tmp_path: Path) -> None:
        architectures = sample(case.space)
        together = case.make(tmp_path / "together").measure(architectures)
        backwards = case.make(tmp_path / "backwards").measure(architectures[::-1])[::-1]
        measurer = case.make(tmp_path / "alone")
        alone = [answer for one in architectures for answer in measurer.measure([one])]
        again = [answer for one in architectures for answer in measurer.measure([one])]
        assert together == backwards == alone == again
        assert len({json.dumps(dict(answer.values), sort_keys=True) for answer in together}) > 1

    def test_architectures_of_one_key_get_one_answer(self, case: Case, tmp_path: Path) -> None:
        pairs = [(one, case.space.representative(one)) for one in sample(case.space)]
        for number, (one, other) in enumerate(pairs):
            answers = [
                case.make(tmp_path / f"{number}-{side}").measure([pair]) for side, pair in enumerate((one, other))
            ]
            assert answers[0] == answers[1]

    def test_nothing_to_measure_is_no_answer(self, case: Case, tmp_path: Path) -> None:
        assert case.make(tmp_path).measure([]) == []

    def test_the_identity_is_json_and_tells_every_setting(self, case: Case, tmp_path: Path) -> None:
        told = [json.dumps(make(tmp_path).identity, sort_keys=True) for make in (case.make, *case.others)]
        assert len(set(told)) == len(told)
        assert json.dumps(case.make(tmp_path).identity, sort_keys=True) == told[0]


def sample(space: SearchSpace) -> list[Architecture]:
    """Connected architectures of different keys; the cells are others than those that are trained for their keys."""
    if isinstance(space, NasBench201):
        return [space.parse(text) for text in CELLS]
    return list(islice(space.architectures(), 3))
