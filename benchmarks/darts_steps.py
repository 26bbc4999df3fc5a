"""What a family costs beside one architecture: steps and epochs of both kinds of search, timed in turn."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from searcher.search.differentiable.bilevel import (
    Learners,
    StructureDraw,
    draw_structure,
    structure_step,
    task_loss,
    weight_step,
)
from searcher.search.differentiable.control import Prices, PriceSimplex
from searcher.search.differentiable.paths import TrainingPaths
from searcher.search.differentiable.search import DifferentiableSearch
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.differentiable.supernet_judge import SupernetJudge
from searcher.search.scores.threads import one_thread
from searcher.spaces.architecture import Architecture
from searcher.training.datasets import load_dataset
from searcher.training.halves import Batch, BatchSettings, paired_batches
from searcher.workflows.darts_folder import read_run
from searcher.workflows.darts_parts import Parts, priced_devices, put_together
from searcher.workflows.darts_run import DartsRequest, darts_run
from searcher.workflows.progress import Result, Work

_STEPS, _UNTIMED_STEPS, _EPOCHS, _JUDGED = 60, 5, 3, 6
_RESAMPLES = 2000


class OnePrice:
    """One point of a control, which is all that a search for one architecture knows; fits `Control`."""

    name = "one price"
    dimension = 1

    def __init__(self, control: PriceSimplex) -> None:
        """Take the prices at the middle of a simplex."""
        middle = torch.full((control.dimension,), 1 / control.dimension, dtype=torch.float64)
        self._prices = control.prices(middle)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return the point."""
        return torch.ones(1, dtype=torch.float64)

    def prices(self, point: Tensor) -> Prices:
        """Return the prices."""
        return self._prices

    def prior(self, point: Tensor) -> None:
        """Return None: no operation is preferred."""

    def grid(self, divisions: int) -> Tensor:
        """Return the point, (1, 1)."""
        return torch.ones(1, 1, dtype=torch.float64)

    def ladders(self, divisions: int) -> Mapping[str, Tensor]:
        """Return nothing: no price changes."""
        return {}


def cost_ratios(request: DartsRequest, members: int) -> dict[str, Any]:
    """Return what a family costs beside one architecture.

    Args:
        request: of a search for a family; its folder is made.
        members: of the family.
    """
    short = dataclasses.replace(request, settings=dataclasses.replace(request.settings, epochs=1, warm_up_epochs=0))
    finish(darts_run(short))
    run, prices = read_run(Path(request.output))
    settings, dataset = request.settings, load_dataset(run.data)
    # Of a shorter search than that no epochs would be left to measure.
    measured = dataclasses.replace(settings, epochs=settings.epochs + _EPOCHS)
    warming = dataclasses.replace(measured, warm_up_epochs=_EPOCHS)
    without_warm_up = dataclasses.replace(measured, warm_up_epochs=0)

    def parts(kind: DartsSettings) -> Parts:
        return put_together(dataclasses.replace(run, settings=kind), priced_devices(run, prices), dataset)

    with one_thread():
        seconds = _epoch_seconds(parts(warming), parts(without_warm_up), parts(without_warm_up), without_warm_up)
        steps = _step_ratios(parts(without_warm_up), without_warm_up)
    searching = settings.epochs - settings.warm_up_epochs
    warm_up = settings.warm_up_epochs * seconds["warm_up_epoch"]
    family = warm_up + searching * seconds["family_epoch"] + members * seconds["judging_one"]
    single = warm_up + searching * seconds["single_epoch"] + seconds["judging_one"]
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(steps, (_RESAMPLES, len(steps))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return {
        "family_cost_ratio": round(family / single, 3),
        "step_ratio": round(float(np.median(steps)), 3),
        "step_interval": [round(float(low), 3), round(float(high), 3)],
        "family_seconds_one_thread": round(family, 1),
        "single_seconds_one_thread": round(single, 1),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def finish(work: Work[Result], title: str | None = None) -> Result:
    """Carry work out and return its result; with a title, tell on standard error how far it is."""
    began = time.perf_counter()
    while True:
        try:
            progress = next(work)
        except StopIteration as e:
            result: Result = e.value
            return result
        if title is not None and progress.note:
            print(f"{title}, {time.perf_counter() - began:.0f} s: {progress.note}", file=sys.stderr, flush=True)


def _epoch_seconds(warming: Parts, family: Parts, single: Parts, settings: DartsSettings) -> dict[str, float]:
    """Return the median seconds of each kind of epoch, taken in turn, and of judging a member."""
    control = single.search.control
    if not isinstance(control, PriceSimplex):
        raise TypeError("families are compared under a simplex of prices")
    alone = DifferentiableSearch(
        single.search.space, single.search.supernet, OnePrice(control), single.search.costs, settings, single.halves
    )
    kinds = {
        "warm_up_epoch": warming.search.epochs(),
        "family_epoch": family.search.epochs(),
        "single_epoch": alone.epochs(),
    }
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_EPOCHS):
        for name, epochs in kinds.items():
            began = time.perf_counter()
            next(epochs)
            taken[name].append(time.perf_counter() - began)
    judge, space = SupernetJudge(family.search.supernet, family.halves), family.space
    generator = np.random.default_rng(0)
    cells: list[Architecture] = [space.sample(generator) for _ in range(_JUDGED)]
    began = time.perf_counter()
    for cell in cells:
        judge.score(cell)
    judging = (time.perf_counter() - began) / len(cells)
    return {**{name: float(np.median(values)) for name, values in taken.items()}, "judging_one": judging}


def _step_ratios(parts: Parts, settings: DartsSettings) -> NDArray[np.float64]:
    """Return (n,) seconds of a whole step over those of a plain one, on the same batches, paths and noise."""
    search, random = parts.search, torch.Generator().manual_seed(0)
    learners = Learners.of(search.supernet, search.hypernetwork, settings)
    logits = torch.zeros(search.supernet.positions, search.supernet.choices, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=settings.structure_learning_rate, betas=settings.structure_betas)
    paths = TrainingPaths(search.space, settings.trained_odds)
    batches = BatchSettings(settings.batch_size, settings.shift_pixels, settings.mirror)
    pairs = itertools.chain.from_iterable(paired_batches(parts.halves, batches, random) for _ in itertools.count())

    def draw() -> StructureDraw:
        return draw_structure(
            search.control,
            search.hypernetwork,
            settings.temperature_from,
            settings.structure_paths,
            random,
            settings.price_points,
        )

    def plain(pair: tuple[Batch, Batch], drawn: StructureDraw, path: Tensor) -> None:
        loss, _ = task_loss(search.supernet, pair[1], drawn.weights(logits), settings.precision)
        (logits.grad,) = torch.autograd.grad(loss, [logits])
        adam.step()
        weight_step(learners, pair[0], path, settings)

    def whole(pair: tuple[Batch, Batch], drawn: StructureDraw, path: Tensor) -> None:
        structure_step(learners, search.control, search.costs, drawn, pair, settings)
        weight_step(learners, pair[0], path, settings)

    ratios = []
    for step in range(_STEPS + _UNTIMED_STEPS):
        pair, drawn, path = next(pairs), draw(), paths.draw(random)
        taken = {}
        for kind in (whole, plain) if step % 2 else (plain, whole):
            began = time.perf_counter()
            kind(pair, drawn, path)
            taken[kind] = time.perf_counter() - began
        ratios.append(taken[whole] / taken[plain])
    return np.array(ratios[_UNTIMED_STEPS:])
