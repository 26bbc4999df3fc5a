"""A differentiable search, epoch by epoch; broken off and taken up again it is the unbroken one, bit for bit.

An epoch goes once through both halves of the training split. In the epochs of the warm-up only the weights learn, on
paths drawn without regard to the structure. After it each pair of batches trains the structure at one drawn point of
control, and the weights under the structure of another one.

It knows nothing of files: what there is to save is plain tensors and numbers, for whoever saves them.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from searcher.errors import BadInputError, SearcherError
from searcher.networks.supernet import Supernet
from searcher.search.differentiable import schedule
from searcher.search.differentiable.bilevel import Learners, draw_structure, structure_step, task_loss, weight_step
from searcher.search.differentiable.control import Control
from searcher.search.differentiable.costs import StructureCosts
from searcher.search.differentiable.derive import derive, likeliest, skip_choice
from searcher.search.differentiable.guards import (
    collapsed,
    dominant_eigenvalue,
    mean_entropy,
    monotony,
    sharpened,
    skip_counts,
)
from searcher.search.differentiable.hypernetwork import Hypernetwork, build_hypernetwork, structure_logits
from searcher.search.differentiable.paths import TrainingPaths
from searcher.search.differentiable.relaxation import perturbed
from searcher.search.differentiable.report import EpochReport, Sums
from searcher.search.differentiable.score_function import draw_paths, sampled_structure_step
from searcher.search.differentiable.settings import FP32, DartsSettings
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from searcher.training.halves import Batch, BatchSettings, Halves, batches, paired_batches

# What torch raises for a state of another network, and Python for one that is not of a search at all.
_MISFITS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


class DifferentiableSearch:
    """The state of a search and how it goes on.

    Attributes:
        space: whose architectures are searched for.
        supernet: the weights; trained in place, on the device where it is.
        hypernetwork: the structure at every point of control.
        control: what a point means.
        costs: of structures.
        settings: of the search.
    """

    def __init__(
        self,
        space: SearchSpace,
        supernet: Supernet,
        control: Control,
        costs: StructureCosts,
        settings: DartsSettings,
        halves: Halves,
    ) -> None:
        """Begin with the supernet's weights as they are and a structure that is nearly uniform."""
        draws = torch.Generator().manual_seed(settings.seed)
        self.space = space
        self.supernet = supernet
        self.control = control
        self.costs = costs
        self.settings = settings
        self.hypernetwork: Hypernetwork = build_hypernetwork(
            control, supernet.positions, supernet.choices, draws, settings.pivot_divisions, settings.bandwidth
        )
        self._halves = halves
        self._batches = BatchSettings(settings.batch_size, settings.shift_pixels, settings.mirror)
        self._learners = Learners.of(supernet, self.hypernetwork, settings)
        self._draws = draws
        # Images have a generator of their own, so that searches with other draws see the same batches.
        self._order = torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=draws)))
        self._skip = skip_choice(space)
        self._paths = TrainingPaths(space, settings.trained_odds)
        self._epoch = 0
        self._stopped: str | None = None
        self._eigenvalues: list[float] = []
        # Structures before the last epochs, the oldest first: what a guard goes back to.
        self._earlier: list[Tensor] = []

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self._epoch

    @property
    def stopped(self) -> str | None:
        """Why a guard ended the search, a sentence; None where none did."""
        return self._stopped

    def epochs(self) -> Iterator[EpochReport]:
        """Go on, and report each epoch at its end, until all are done or a guard ends the search.

        Between two epochs the search can be saved, judged, or left.

        Raises:
            SearcherError: a loss or a logit is no longer finite.
        """
        while self._epoch < self.settings.epochs and self._stopped is None:
            yield self._run_epoch()

    def logits(self, point: Tensor) -> Tensor:
        """Return the structure at a point of control, (positions, choices), without a gradient."""
        with torch.no_grad():
            return structure_logits(self.control, self.hypernetwork, point)

    def derive(self, point: Tensor) -> Architecture:
        """Return the architecture that the structure at a point of control prefers."""
        return derive(self.space, self.logits(point))

    def likeliest(self, point: Tensor, count: int) -> tuple[Architecture, ...]:
        """Return the architectures that the structure at a point of control gives the highest probabilities."""
        return likeliest(self.space, self.logits(point), count)

    def derived(self, divisions: int) -> dict[tuple[float, ...], Architecture]:
        """Return the architecture at each point of the control's grid, in the grid's order."""
        return {tuple(point.tolist()): self.derive(point) for point in self.control.grid(divisions)}

    def state(self) -> dict[str, Any]:
        """Return a copy of all that a search needs to go on, which `torch.load` reads with `weights_only=True`.

        It is made of tensors, numbers and texts, and of lists and dictionaries of them.
        """
        return copy.deepcopy(
            {
                "epoch": self._epoch,
                "stopped": self._stopped,
                "eigenvalues": self._eigenvalues,
                "earlier": self._earlier,
                "draws": self._draws.get_state(),
                "order": self._order.get_state(),
                **{name: part.state_dict() for name, part in self._parts().items()},
            }
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a search that was begun with the same arguments.

        Raises:
            BadInputError: the state is of another search, or of none; this search cannot go on then.
        """
        try:
            state = copy.deepcopy(dict(state))
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self._draws.set_state(state["draws"])
            self._order.set_state(state["order"])
            self._epoch, self._stopped = int(state["epoch"]), state["stopped"]
            self._eigenvalues, self._earlier = list(state["eigenvalues"]), list(state["earlier"])
        except _MISFITS as e:
            raise BadInputError("the saved state is not of a search that was begun with the same settings") from e

    def _parts(self) -> dict[str, Any]:
        return {
            "supernet": self.supernet,
            "hypernetwork": self.hypernetwork,
            "weight_optimizer": self._learners.weight_optimizer,
            "structure_optimizer": self._learners.structure_optimizer,
        }

    def _run_epoch(self) -> EpochReport:
        settings, epoch = self.settings, self._epoch
        self.supernet.train()
        self.supernet.auxiliary_skip = schedule.auxiliary_skip(settings, epoch)
        for group in self._learners.weight_optimizer.param_groups:
            group["lr"] = schedule.learning_rate(settings, epoch)
        before = self.hypernetwork.tables.detach().clone()
        sums = Sums()
        if epoch < settings.warm_up_epochs:
            for batch in batches(self._halves.training, self._batches, self._order):
                self._train_weights(batch, sums, warm_up=True)
        else:
            self._train_both(sums)
        if not sums.finite:
            raise SearcherError(f"the search diverged in epoch {epoch + 1}: lower its learning rates")
        if epoch >= settings.warm_up_epochs:
            self._guard(before)
        self._epoch += 1
        return self._report(sums)

    def _train_both(self, sums: Sums) -> None:
        settings = self.settings
        for step, pair in enumerate(paired_batches(self._halves, self._batches, self._order)):
            if step % settings.structure_every == 0:
                sums.add_structure(*self._train_structure(pair))
            self._train_weights(pair[0], sums, warm_up=False)

    def _train_structure(self, pair: tuple[Batch, Batch]) -> tuple[Tensor, Tensor]:
        settings, control, hypernetwork = self.settings, self.control, self.hypernetwork
        if settings.structure_samples:
            draws = draw_paths(control, hypernetwork, settings.structure_samples, self._draws, settings.price_points)
            return sampled_structure_step(self._learners, control, self.costs, draws, pair[1], settings)
        temperature = schedule.temperature(settings, self._epoch)
        draw = draw_structure(
            control, hypernetwork, temperature, settings.structure_paths, self._draws, settings.price_points
        )
        return structure_step(self._learners, control, self.costs, draw, pair, settings)

    def _train_weights(self, batch: Batch, sums: Sums, warm_up: bool) -> None:
        loss, right = weight_step(self._learners, batch, self._mixture(warm_up), self.settings)
        sums.add_weights(loss, right, len(batch[1]))

    def _mixture(self, warm_up: bool) -> Tensor:
        """Draw what a weight step trains."""
        settings = self.settings
        uniform = warm_up or bool(torch.rand((), generator=self._draws) < settings.uniform_share)
        if uniform:
            return self._paths.draw(self._draws)
        temperature = schedule.temperature(settings, self._epoch)
        draw = draw_structure(self.control, self.hypernetwork, temperature, settings.weight_paths, self._draws)
        weights = draw.weights(self.logits(draw.point)).detach()
        return perturbed(weights, settings.perturbation, self._draws) if settings.perturbation else weights

    def _guard(self, before: Tensor) -> None:
        """End the search where it has gone wrong, with the structure of before that."""
        settings = self.settings
        window = settings.eigenvalue_window
        self._earlier = [*self._earlier, before][-max(1, window) :]
        if settings.skip_limit is not None and collapsed(self._skips(), settings.skip_limit):
            self._stop(f"most derived cells have more than {settings.skip_limit} skip connections", self._earlier[-1])
        elif window:
            self._eigenvalues.append(self._sharpness())
            if sharpened(self._eigenvalues, window):
                self._stop("the dominant eigenvalue of the structure's Hessian has grown by a third", self._earlier[0])

    def _stop(self, reason: str, tables: Tensor) -> None:
        self._stopped = reason
        with torch.no_grad():
            self.hypernetwork.tables.copy_(tables)

    def _sharpness(self) -> float:
        """Return the dominant eigenvalue at the centre of the control, on one batch of the validation half."""
        centre = self.control.grid(self.settings.grid_divisions).mean(dim=0)
        logits = self.logits(centre).requires_grad_()
        batch = next(batches(self._halves.validation, self._batches, self._order))
        loss, _ = task_loss(self.supernet, batch, torch.softmax(logits, dim=-1), FP32)
        return dominant_eigenvalue(loss, logits, self._draws)

    def _skips(self) -> list[int]:
        return skip_counts(self.derived(self.settings.grid_divisions).values(), self._skip)

    def _report(self, sums: Sums) -> EpochReport:
        settings, epoch = self.settings, self._epoch - 1
        warm_up = epoch < settings.warm_up_epochs
        divisions = settings.grid_divisions
        climbed = monotony(self.control, self.hypernetwork, self.costs, divisions)
        return EpochReport(
            epoch=self._epoch,
            epochs=settings.epochs,
            warm_up=warm_up,
            learning_rate=schedule.learning_rate(settings, epoch),
            temperature=None if warm_up else schedule.temperature(settings, epoch),
            auxiliary_skip=self.supernet.auxiliary_skip,
            weight_loss=sums.weight_loss,
            training_accuracy=sums.training_accuracy,
            validation_loss=sums.validation_loss,
            objective=sums.objective,
            entropy=mean_entropy(self.logits(self.control.grid(divisions).mean(dim=0))),
            distinct=len(set(self.derived(divisions).values())),
            skips=statistics.median_low(self._skips()),
            monotony={name: one.spearman for name, one in climbed.items()},
            eigenvalue=self._eigenvalues[-1] if self._eigenvalues else None,
            stopped=self._stopped,
        )
