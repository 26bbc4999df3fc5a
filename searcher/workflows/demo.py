"""The whole road on this machine within a time budget: profile, search, verify.

The budget is shared out beforehand: a fifth at most for measuring the blocks, a third at most for training the
reference, an eighth for verifying, and the rest for the search, whose training steps are sized by the time that one
step takes here, and whose generations go on while there is time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from profiler_agent.records import Settings
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.search.candidate import SEARCH_DOCUMENT, SearchResult
from searcher.search.evolution import EvolutionSettings
from searcher.search.scores.batch import prepare_batch
from searcher.search.scores.batch_training import RmiSettings
from searcher.search.scores.trained_on_batch import TrainedOnBatch, quickest_precision
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.reference import Reference
from searcher.verification.verification import VERIFICATION_DOCUMENT, Verification
from searcher.workflows.measure_networks import settings_of_key
from searcher.workflows.prepare_reference import prepare_reference
from searcher.workflows.profile_space import ProfileRequest, profile_space
from searcher.workflows.progress import Progress, Work
from searcher.workflows.scoring import Scoring
from searcher.workflows.search_space import SearchRequest, search_space
from searcher.workflows.verify_search import VerifyRequest, verify_search

_PROFILE_SHARE, _REFERENCE_SHARE, _VERIFY_SHARE = 0.2, 0.33, 0.12
_DATA = "digits"
_SCORE_CELLS = 5
_POPULATION = 20
_PROBE_STEPS, _PROBED_ARCHITECTURES = 4, 6
_FEWEST_STEPS, _MOST_STEPS = 2, 6
# New genotypes that a generation of 20 brings once the first one is trained, measured on this space.
_NEW_PER_GENERATION = 6
_WANTED_GENERATIONS = 12
_TOP = 3
# Overrunning the budget a little is better than a verdict from one round.
_LEAST_VERIFY_S = 8.0


@dataclass(frozen=True)
class DemoRequest:
    """What the demo is given.

    Attributes:
        folder: where its three files go.
        budget_s: seconds for everything.
    """

    folder: Path
    budget_s: float = 240.0
    seed: int = 0

    @property
    def table(self) -> Path:
        """Where the lookup table goes."""
        return self.folder / "table.json"

    @property
    def search(self) -> Path:
        """Where the search result goes."""
        return self.folder / "search.json"

    @property
    def verification(self) -> Path:
        """Where the verification goes."""
        return self.folder / "verification.json"


@dataclass(frozen=True)
class DemoResult:
    """What the demo found, and where its time went."""

    search: SearchResult
    verification: Verification
    spent_s: dict[str, float]


@dataclass
class _Stopwatch:
    """Splits the time since it was made into named parts."""

    clock_s: Callable[[], float] = time.monotonic
    spent_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start = self._last = self.clock_s()

    def lap(self, name: str) -> None:
        now = self.clock_s()
        self.spent_s[name] = round(now - self._last, 1)
        self._last = now

    @property
    def elapsed_s(self) -> float:
        return self.clock_s() - self._start


def affordable_steps(seconds: float, step_s: float) -> int:
    """Return the training steps for each candidate that leave time for a dozen generations.

    Args:
        seconds: time for all trainings.
        step_s: duration of one training step.
    """
    trainings = _POPULATION + _NEW_PER_GENERATION * _WANTED_GENERATIONS
    return max(_FEWEST_STEPS, min(_MOST_STEPS, int(seconds / (trainings * step_s))))


def _seconds_per_step(reference: Reference, dataset: ImageDataset) -> float:
    """Return how long one training step of a candidate takes here, in s, many being trained at once."""
    settings = _rmi_settings(_PROBE_STEPS, seed=0)
    scoring, space = Scoring(cells_per_stage=_SCORE_CELLS, rmi=settings), _scored_space(dataset)
    batch = prepare_batch(reference, dataset, settings.batch_size, settings.seed)
    measurer = TrainedOnBatch(space, batch, settings, scoring.threads)
    generator = np.random.default_rng(0)
    drawn = [space.sample(generator) for _ in range(_PROBED_ARCHITECTURES + 1)]
    measurer.measure(drawn[:1])
    start = time.perf_counter()
    measurer.measure(drawn[1:])
    return (time.perf_counter() - start) / _PROBED_ARCHITECTURES / _PROBE_STEPS


def _rmi_settings(steps: int, seed: int) -> RmiSettings:
    return RmiSettings(steps=steps, seed=seed, precision=quickest_precision())


def _scored_space(dataset: ImageDataset) -> NasBench201:
    return NasBench201(cells_per_stage=_SCORE_CELLS, classes=dataset.classes)


def run_demo(request: DemoRequest, connect: Connect = connect) -> Work[DemoResult]:
    """Profile, search under a limit at the middle of the predicted range, verify the three best.

    Writes table.json, search.json and verification.json into the folder; those of an earlier run are removed first.

    Args:
        request: what to spend and where to write.
        connect: opens the way to the local device.

    Raises:
        BadInputError: the folder cannot be written.
        SearcherError: a part failed; the files of the parts before it are there.
    """
    watch = _Stopwatch()
    _make_room(request)
    space, device = NasBench201(), Device()
    table = yield from profile_space(
        ProfileRequest(
            space=space,
            device=device,
            settings=Settings(),
            table=request.table,
            budget_s=_PROFILE_SHARE * request.budget_s,
            overwrite=True,
        ),
        connect,
    )
    watch.lap("profile")
    dataset = load_dataset(_DATA)
    reference = yield from prepare_reference(dataset, None, _REFERENCE_SHARE * request.budget_s)
    watch.lap("reference")
    step_s = _seconds_per_step(reference, dataset)
    search_s = request.budget_s * (1 - _VERIFY_SHARE) - watch.elapsed_s
    steps = affordable_steps(search_s, step_s)
    yield Progress("plan", 1, 1, f"{steps} steps for each candidate; the search has {search_s:.0f} s")
    search = yield from search_space(
        SearchRequest(
            space=space,
            scoring=Scoring(cells_per_stage=_SCORE_CELLS, rmi=_rmi_settings(steps, request.seed), keeps=False),
            table=table,
            limit_ms=None,
            data=_DATA,
            reference=Path(reference.source),
            evolution=EvolutionSettings(population=_POPULATION, seed=request.seed),
            deadline_s=request.budget_s * (1 - _VERIFY_SHARE) - watch.elapsed_s,
        )
    )
    SEARCH_DOCUMENT.save(search, request.search)
    watch.lap("search")
    settings = settings_of_key(search.require_table_key(), search.sentinel_ms)
    budget_s = max(_LEAST_VERIFY_S, request.budget_s - watch.elapsed_s)
    verification = yield from verify_search(VerifyRequest(space, search, device, settings, _TOP, budget_s), connect)
    VERIFICATION_DOCUMENT.save(verification, request.verification)
    watch.lap("verify")
    return DemoResult(search, verification, watch.spent_s)


def _make_room(request: DemoRequest) -> None:
    """Remove what an earlier run left, so that a run that fails never leaves its files beside those of another."""
    TABLE_DOCUMENT.require_writable(request.table)
    SEARCH_DOCUMENT.require_writable(request.search)
    VERIFICATION_DOCUMENT.require_writable(request.verification)
    journal = journal_path(request.table)
    for old in (request.verification, request.search, request.table, journal, partial_path(journal)):
        try:
            old.unlink(missing_ok=True)
        except OSError as e:
            raise BadInputError(f"cannot replace {old}: {e.strerror or e}") from e
