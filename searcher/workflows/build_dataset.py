"""From nothing to a dataset of kernels: drawn in rounds, measured on a device, more of them where predictions fail."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from profiler_agent.records import Settings, TableKey
from searcher.artifacts import utc_now
from searcher.cost_models.adaptive_drawing import DrawnKernel
from searcher.cost_models.dataset_rounds import Rounds, next_round
from searcher.cost_models.quick_kernel_model import FEWEST_POINTS
from searcher.devices.answers import MeasurementFailedError
from searcher.devices.device import Connect, Device, connect
from searcher.devices.transport import printable
from searcher.errors import BadInputError
from searcher.export.drawn_activations import drawn_calibration
from searcher.export.exporter import Exporter, exporter_for
from searcher.spaces.block import ACTIVATIONS, CALL_OVERHEAD, INT8
from searcher.spaces.kernel_domain import DEFAULT_TYPES, Limits, domain_of
from searcher.spaces.kernel_sampling import kernels_of_space
from searcher.spaces.kernels import kernel_type
from searcher.spaces.space import SearchSpace
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_card import DatasetCard, Draw
from searcher.tables.dataset_file import require_dataset_name
from searcher.tables.lookup_table import key_differences
from searcher.workflows.dataset_rows import TOO_MANY_IN_VAIN, rows_of_job
from searcher.workflows.dataset_store import DatasetStore, opened
from searcher.workflows.export_kernels import export_kernels
from searcher.workflows.measure_networks import run_models
from searcher.workflows.predict_kernels import is_cuttable
from searcher.workflows.prepare_device import prepare_device
from searcher.workflows.progress import Progress, Work

DEFAULT_POINTS = 300
# What a crash may cost: the kernels of one job. More in one job would take its call and its sentinel further apart.
_KERNELS_A_JOB = 40
_LEAST_JOB_S = 1.0
_DRAWING, _MEASURING = "draw kernels", "measure kernels"


@dataclass(frozen=True)
class DatasetRequest:
    """What to measure, where, and the dataset to write or to go on with.

    Attributes:
        out: the file, FILE.csv or FILE.parquet.
        device: where.
        settings: of the measuring; one for each table key that the rows shall have.
        types: of the kernels.
        points: of each type and key.
        seed: of the draws.
        limits: the most that a kernel may be.
        target_pct: mean error on fresh random kernels at which a type gets no more; None for no such target.
        space: near whose kernels to draw, too; None for none.
        budget_s: seconds after which no new job begins; None for no bound.
    """

    out: Path
    device: Device
    settings: Sequence[Settings]
    types: tuple[str, ...] = DEFAULT_TYPES
    points: int = DEFAULT_POINTS
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    target_pct: float | None = None
    space: SearchSpace | None = None
    budget_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn or measured, before anything is begun.

        Raises:
            BadInputError: a type is unknown or told twice, the points are too few, or the number type or its files are
                not to be had.
        """
        require_dataset_name(self.out)
        for of_type in self.types:
            domain_of(of_type)
        if not self.types or len(set(self.types)) < len(self.types):
            raise BadInputError(f"a dataset is of different types of kernels, not of {', '.join(self.types) or 'none'}")
        if self.points < FEWEST_POINTS:
            raise BadInputError(f"a dataset takes {FEWEST_POINTS} kernels of a type at least, not {self.points}")
        for one in self.settings:
            exporter_for(one.runtime, one.precision)
            if not self.types_in(one.precision):
                raise BadInputError(f"{', '.join(self.types)} are no kernels by themselves in {one.precision}")

    def types_in(self, dtype: str) -> tuple[str, ...]:
        """Return the types of which there are kernels in a number type.

        Quantisers make activations a part of what produces their input, and leave quotients as they are.
        """
        return tuple(name for name in self.types if not (dtype == INT8 and name in (*ACTIVATIONS, "div")))


def build_dataset(
    request: DatasetRequest, connect: Connect = connect, clock_s: Callable[[], float] = time.monotonic
) -> Work[DatasetCard]:
    """Measure kernels until there are enough of each type, the target is reached, or the budget is over.

    The file is written after every job. A file that is there is gone on with: its rows count.

    Args:
        request: what to measure.
        connect: opens the way to the device.
        clock_s: seconds, for the budget.

    Returns:
        The card of the dataset.

    Raises:
        BadInputError: the file is there and is no dataset, or cannot be written.
        SearcherError: the device cannot be reached, or measures nothing.
    """
    ends_s = None if request.budget_s is None else clock_s() + request.budget_s
    left_s = (lambda: None) if ends_s is None else (lambda: ends_s - clock_s())
    with opened(request.out) as store:
        store.note_draw(_draw(request))
        if store.rows:
            yield Progress(_DRAWING, 0, 1, f"{request.out} holds {len(store.rows)} kernels: going on with it")
        before = frozenset(row.key for row in store.rows if not row.estimated)
        try:
            for settings in request.settings:
                prepared = yield from prepare_device(request.device, settings, connect)
                yield from _Campaign(request, store, before, prepared, connect, left_s).run()
        except BaseException as e:
            if store.rows:
                e.add_note(f"{request.out} holds {len(store.rows)} kernels: building again goes on from there")
            raise
        store.settle()
        return store.card


def _draw(request: DatasetRequest) -> Draw:
    space = None if request.space is None else repr(request.space)
    return Draw(utc_now(), request.seed, request.types, request.points, request.target_pct, space, request.limits)


@dataclass(frozen=True)
class _Campaign:
    """The rounds under one table key; `before` are those that rows were measured under when the file was opened."""

    request: DatasetRequest
    store: DatasetStore
    before: frozenset[TableKey]
    settings: Settings
    connect: Connect
    left_s: Callable[[], float | None]

    def run(self) -> Work[None]:
        """Draw and measure round after round."""
        exporter = exporter_for(self.settings.runtime, self.settings.precision)
        if exporter.needs_calibration:
            exporter = exporter.calibrated_on(drawn_calibration())
        key = yield from self._key(exporter)
        request = self.request
        if self.before and key not in self.before:
            # Another board or runtime by mistake would begin anew in the same file, and nobody would see it.
            nearest = min(self.before, key=lambda one: len(key_differences(one, key)))
            differing = "; ".join(key_differences(nearest, key))
            yield Progress(_DRAWING, 0, 1, f"no kernel in it was measured under these conditions: {differing}")
        if not is_cuttable(key):
            note = f"of {key.runtime} with {key.provider} in {key.precision} kernels answer for themselves alone"
            yield Progress(_DRAWING, 0, 1, f"{note}: files are cut into those of ONNX Runtime on the CPU in fp32")
        near = {} if request.space is None else kernels_of_space(request.space, request.limits)
        types = request.types_in(key.precision)
        if types != request.types:
            left_out = ", ".join(name for name in request.types if name not in types)
            yield Progress(_DRAWING, 0, 1, f"in {key.precision} there are no kernels of {left_out} by themselves")
        rounds = Rounds(types, request.points, request.limits, request.target_pct, near, key.precision)
        in_vain = Counter[str]()
        while True:
            measured = self.store.measured(key)
            drawing_round = next_round(measured)
            generator = np.random.default_rng([request.seed, zlib.crc32(repr(key).encode()), drawing_round])
            # Of a round that brought nothing the very same would be drawn again.
            drawn = rounds.drawn(measured, generator, self._failures(key).keys())
            if not drawn:
                return
            yield Progress(_DRAWING, len(measured), len(measured) + len(drawn), _summary(drawing_round, drawn))
            # Types are mixed, so that a round that is broken off has some of each.
            order = generator.permutation(len(drawn)).tolist()
            for start in range(0, len(order), _KERNELS_A_JOB):
                left_s = self.left_s()
                if left_s is not None and left_s <= 0:
                    yield Progress(_DRAWING, 1, 1, "the budget is over: building again goes on from here")
                    return
                chosen = [drawn[one] for one in order[start : start + _KERNELS_A_JOB]]
                yield from self._measured(chosen, exporter, key, drawing_round)
            self._require_some_of_each(drawn, key, drawing_round, in_vain)

    def _key(self, exporter: Exporter) -> Work[TableKey]:
        """Find out under which key the device measures with these settings, by a job that computes nothing."""
        with tempfile.TemporaryDirectory() as folder:
            models = [exporter.export_block(CALL_OVERHEAD, Path(folder))]
            settings = replace(self.settings, rounds=1, costs=False)
            result = yield from run_models(
                models, self.request.device, settings, None, self.connect, None, "ask the device for its key"
            )
        result.require_complete()
        return result.hello.key

    def _measured(
        self,
        chosen: Sequence[DrawnKernel],
        exporter: Exporter,
        key: TableKey,
        drawing_round: int,
    ) -> Work[None]:
        """Export kernels, measure them in one job, and let them join the dataset."""
        device = self.request.device
        # Drawn kernels are measured once: a cache would only grow.
        with tempfile.TemporaryDirectory() as folder:
            exported = yield from export_kernels([one.spec for one in chosen], exporter, Path(folder))
            left_s = self.left_s()
            # Exporting may have taken the rest: what was begun in time is measured, in one round.
            job_s = None if left_s is None else max(left_s, _LEAST_JOB_S)
            settings = replace(self.settings, sentinel_ns=_sentinel_ns(self.store.measured(key)))
            result = yield from run_models(exported.models, device, settings, key, self.connect, job_s, _MEASURING)
        result = exported.told_with(result)
        rows = rows_of_job(result, exported.models, chosen, drawing_round)
        self.store.note_job(result, device.name, exporter)
        if rows or self.store.rows:
            self.store.join(rows)
        for failure in result.failures:
            yield Progress(
                _MEASURING, 1, 1, f"{printable(failure.block_id)} is left out: {printable(failure.sentence)}"
            )

    def _require_some_of_each(
        self, drawn: Sequence[DrawnKernel], key: TableKey, drawing_round: int, in_vain: Counter[str]
    ) -> None:
        """Refuse to go on with a type that the device cannot measure: it would be drawn for ever.

        Args:
            drawn: the kernels of the round.
            key: of its rows.
            drawing_round: its number.
            in_vain: by type, how many kernels were drawn since the last one that was measured; this round is added.

        Raises:
            MeasurementFailedError: none of it was ever measured, or none of the last many.
        """
        rows = self.store.measured(key)
        ever = {row.kernel_type for row in rows}
        now = {row.kernel_type for row in rows if row.drawing_round == drawing_round}
        for name, count in Counter(kernel_type(one.spec) for one in drawn).items():
            in_vain[name] = 0 if name in now else in_vain[name] + count
            # Of a few kernels each may be an odd one.
            if name in ever and in_vain[name] < TOO_MANY_IN_VAIN:
                continue
            reasons = self._failures(key)
            reason = next((reasons[one.spec.key] for one in drawn if one.spec.key in reasons), "nobody said why")
            raise MeasurementFailedError(
                f"no kernel of {name} could be measured: {printable(reason)}; --types leaves it out, and what was "
                f"measured is in {self.store.path}"
            )

    def _failures(self, key: TableKey) -> Mapping[str, str]:
        """Return the kernels that could not be measured under a key, and why."""
        conditions = self.store.card.conditions_of(key)
        return {} if conditions is None else conditions.failures


def _sentinel_ns(measured: Sequence[KernelRow]) -> float | None:
    """Return the sentinel of the first job under a key, which all later ones are held against."""
    first = next((row.sentinel_ms for row in measured if row.sentinel_ms is not None), None)
    return None if first is None else first * 1e6


def _summary(drawing_round: int, drawn: Sequence[DrawnKernel]) -> str:
    counts = Counter(kernel_type(one.spec) for one in drawn)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"round {drawing_round + 1}: {told}"
