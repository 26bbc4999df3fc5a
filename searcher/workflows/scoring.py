"""What a search maximises: a score by its name, and the rungs of measurers that it takes."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field, replace

from searcher.errors import BadInputError
from searcher.search.evaluator import Rung
from searcher.search.scores.batch import prepare_batch
from searcher.search.scores.batch_training import RmiSettings, Training
from searcher.search.scores.counted import Counted
from searcher.search.scores.joined import measurer_of
from searcher.search.scores.kept import Kept
from searcher.search.scores.measuring import Measurer
from searcher.search.scores.named_scores import FUSED
from searcher.search.scores.score import Score
from searcher.search.scores.trained_on_batch import TRAINED_NAMES
from searcher.search.scores.trained_together import measurer_on
from searcher.search.scores.zero_cost import ZERO_COST_NAMES, ZeroCost, ZeroCostSettings
from searcher.spaces.architecture import Architecture
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset
from searcher.training.reference import Reference

# Measured on NAS-Bench-201 at five cells a stage: with fewer φ tells less, and after more than eight a rate of 0.1 has
# let go of what the first steps showed.
QUICK_STEPS = 4


@dataclass(frozen=True)
class Halving:
    """A rung below the last: `steps` of training for all, of whom the best `share` go on."""

    steps: int
    share: float

    def __post_init__(self) -> None:
        """Refuse a rung that measures nothing or keeps nobody.

        Raises:
            BadInputError: there is no step, or the share is not above 0 and below 1.
        """
        if self.steps < 1 or not 0 < self.share < 1:
            raise BadInputError(
                f"halving takes a step and a share above 0 and below 1, not {self.steps} and {self.share:g}"
            )

    @staticmethod
    def parse(text: str) -> Halving:
        """Read STEPS:SHARE, such as 2:0.5.

        Raises:
            BadInputError: the text is none such.
        """
        steps, _, share = text.partition(":")
        try:
            return Halving(int(steps), float(share))
        except ValueError as e:
            raise BadInputError(f"halving is STEPS:SHARE, such as 2:0.5, not {text!r}") from e


@dataclass(frozen=True)
class Scoring:
    """A score, and how the values that it is made of are measured.

    Attributes:
        score: what is maximised.
        cells_per_stage: of the networks that are trained.
        rmi: of the training at the last rung.
        halving: the rungs before it, in their order; none trains every candidate in full.
        keeps: whether what is measured is kept for later searches, in the cache folder.
        threads: networks that are trained at once on a CPU.
        device: that trains them, as torch names it: cpu, cuda or cuda:1.
    """

    score: Score = FUSED
    cells_per_stage: int = 5
    rmi: RmiSettings = field(default_factory=lambda: RmiSettings(steps=QUICK_STEPS))
    halving: tuple[Halving, ...] = ()
    keeps: bool = True
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse rungs that do not rise.

        Raises:
            BadInputError: a rung trains for no fewer steps than the next, or a score without training is halved.
        """
        steps = [rung.steps for rung in self.halving] + [self.rmi.steps]
        if any(first >= second for first, second in itertools.pairwise(steps)):
            raise BadInputError(f"halving takes rungs of more and more steps, not {', '.join(map(str, steps))}")
        if self.halving and not self.trains:
            raise BadInputError(f"the score {self.score.name} takes no training that could be halved")

    @property
    def trains(self) -> bool:
        """Whether the score takes trainings, and so a reference."""
        return any(name in TRAINED_NAMES for name in self.score.values)

    @property
    def looks_at_images(self) -> bool:
        """Whether the score takes a data set."""
        return self.trains or any(name in ZERO_COST_NAMES for name in self.score.values)


@dataclass(frozen=True)
class Rungs:
    """The rungs of a search, the cheapest first, and what of their measurers keeps its answers."""

    rungs: tuple[Rung, ...]
    keepers: tuple[Kept, ...]

    @property
    def trouble(self) -> str | None:
        """Why what was measured could not be kept or found again; None if it could."""
        return next((one.trouble for one in self.keepers if one.trouble is not None), None)

    @property
    def cached(self) -> int:
        """How many measurements earlier searches have spared this one."""
        return sum(one.hits for one in self.keepers)


def rungs_of(scoring: Scoring, space: NasBench201, dataset: ImageDataset | None, reference: Reference | None) -> Rungs:
    """Return the rungs.

    Args:
        scoring: what to measure.
        space: with the depth of the networks that are searched: counts are of these.
        dataset: None where the score looks at no images.
        reference: None where it takes no training.
    """
    wanted, free, keepers = scoring.score.values, list[Measurer]([Counted(space)]), list[Kept]()

    def kept(measurer: Measurer) -> Measurer:
        if not scoring.keeps:
            return measurer
        keepers.append(Kept(measurer, space))
        return keepers[-1]

    if dataset is not None and any(name in ZERO_COST_NAMES for name in wanted):
        # One cell a stage ranks as well as five, at a fifth of the time.
        shallow = replace(space, cells_per_stage=1)
        free.append(kept(ZeroCost(shallow, dataset, ZeroCostSettings(seed=scoring.rmi.seed))))
    if dataset is None or reference is None or not scoring.trains:
        return Rungs((Rung(measurer_of(wanted, free)),), tuple(keepers))
    batch = prepare_batch(reference, dataset, scoring.rmi.batch_size, scoring.rmi.seed)
    scored = replace(space, cells_per_stage=scoring.cells_per_stage)
    rungs, begun = [], (dict[Architecture, Training]() if scoring.halving else None)
    for steps, share in (*((rung.steps, rung.share) for rung in scoring.halving), (scoring.rmi.steps, 1.0)):
        settings = replace(scoring.rmi, steps=steps)
        trained = measurer_on(scoring.device, scored, batch, settings, scoring.threads, begun)
        rungs.append(Rung(measurer_of(wanted, [*free, kept(trained)]), share))
    return Rungs(tuple(rungs), tuple(keepers))
