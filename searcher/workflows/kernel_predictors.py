"""Kernel predictors and files: trained on a dataset, judged by another, asked for a network or for one kernel."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.artifacts import sha256_of
from searcher.cost_models.kernels.judging import JudgedPredictor, judge_predictor
from searcher.cost_models.kernels.kernel_model import KernelModel
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.predictor import KernelPredictor, PredictorFile
from searcher.cost_models.kernels.training import train_types
from searcher.documents import field_names_in
from searcher.errors import BadInputError
from searcher.spaces.block_key import block_of_key
from searcher.spaces.kernels import kernel_type
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_file import read_dataset
from searcher.tables.dataset_groups import groups_of
from searcher.tables.flat_rows import SUFFIXES
from searcher.tables.lookup_table import KeyMismatchError, key_differences
from searcher.workflows.progress import Progress, Work

CONFIDENCE = 0.9
_TRAINING = "train a model of each type of kernel"
_KEY_FIELDS = tuple(field.name for field in dataclasses.fields(TableKey))


@dataclass(frozen=True)
class TrainingRequest:
    """What a predictor is trained on.

    Attributes:
        dataset: file of measured kernels.
        conditions: fields of the table key that choose rows, such as threads: 1; all rows are of one key without.
        confidence: of the intervals.
        seed: of everything random.
        created: UTC date and time, ISO 8601.
    """

    dataset: Path
    conditions: Mapping[str, str]
    confidence: float
    seed: int
    created: str


@dataclass(frozen=True)
class Evaluation:
    """A predictor held against a dataset.

    Attributes:
        judged: by kernels that it was not trained on.
        trained_on: how many rows were left out because their kernels were trained on.
        near: how many were left out as near-duplicates of kernels that were trained on.
        other_keys: how many were measured under other conditions.
        estimates: how many are estimates, not measurements.
    """

    judged: JudgedPredictor
    trained_on: int
    near: int
    other_keys: int
    estimates: int


def is_kernel_dataset(path: Path) -> bool:
    """Tell a dataset of kernels by its suffix."""
    return path.suffix.lower() in SUFFIXES


def is_kernel_predictor(path: Path) -> bool:
    """Tell a kernel predictor by what only it has; what cannot be read at all is none."""
    return {"kernels", "call_ms", "trained_on"} <= field_names_in(path)


def conditions_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the fields of a table key that options of the form FIELD=VALUE name.

    Raises:
        BadInputError: one has another form, or names no field.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in _KEY_FIELDS:
            raise BadInputError(f"--where takes FIELD=VALUE with one of {', '.join(_KEY_FIELDS)}, not {text!r}")
        found[name] = value
    return found


def train_kernel_predictor(request: TrainingRequest) -> Work[PredictorFile]:
    """Train a predictor, telling what became of each type.

    Raises:
        BadInputError: the dataset cannot be read, the conditions leave rows of no key or of several, the confidence is
            no share, or no type has enough kernels.
    """
    rows = _of_one_key(read_dataset(request.dataset), request)
    kernels = _measured(rows)
    types = {kernel_type(kernel.spec) for kernel in kernels}
    models: dict[str, KernelModel] = {}
    left_out: dict[str, str] = {}
    yield Progress(_TRAINING, 0, len(types))
    for done, trained in enumerate(train_types(kernels, request.confidence, request.seed), start=1):
        if trained.model is None:
            left_out[trained.name] = trained.left_out or ""
        else:
            models[trained.name] = trained.model
        note = "" if trained.model is not None else f"{trained.name} is left out: {trained.left_out}"
        yield Progress(_TRAINING, done, len(types), note)
    if not models:
        raise BadInputError(f"no type of kernel of {request.dataset} can be learnt: {next(iter(left_out.values()))}")
    sentinels = [row.sentinel_ms for row in rows if row.sentinel_ms is not None]
    return PredictorFile(
        created=request.created,
        key=rows[0].key,
        dataset=request.dataset.name,
        dataset_sha256=sha256_of(request.dataset),
        versions={name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
        seed=request.seed,
        confidence=request.confidence,
        call_ms=statistics.median(kernel.call_ms for kernel in kernels),
        sentinel_ms=statistics.median(sentinels) if sentinels else None,
        kernels=models,
        left_out=left_out,
        trained_on=tuple(sorted(kernel.spec.key for kernel in kernels if kernel_type(kernel.spec) in models)),
    )


def judge_kernel_predictor(predictor: KernelPredictor, dataset: Path) -> Evaluation:
    """Hold a predictor against a dataset's measured kernels, but for those that it was trained on or nearly so.

    Raises:
        KeyMismatchError: no row was measured under the predictor's conditions.
        BadInputError: the dataset cannot be read, or holds estimates alone, or no other kernels, or none that the
            predictor predicts.
    """
    rows = read_dataset(dataset)
    measured = [row for row in rows if not row.estimated]
    of_key = [row for row in measured if row.key == predictor.key]
    if not measured:
        raise BadInputError(f"{dataset} holds estimates alone: a predictor is judged by measured kernels")
    if not of_key:
        differing = min((key_differences(predictor.key, row.key) for row in measured), key=len)
        raise KeyMismatchError(
            f"no row of {dataset} was measured under the predictor's conditions: {'; '.join(differing)}"
        )
    trained_on = set(predictor.file.trained_on)
    new = [row for row in of_key if row.spec.key not in trained_on]
    known = [block_of_key(key) for key in predictor.file.trained_on]
    groups = groups_of([*known, *(row.spec for row in new)]).tolist()
    known_groups = set(groups[: len(known)])
    judged = [row for row, group in zip(new, groups[len(known) :], strict=True) if group not in known_groups]
    if not judged:
        raise BadInputError(
            f"{dataset} holds no kernel that is unlike those that the predictor was trained on, which say nothing of "
            "others; searcher dataset split keeps some apart"
        )
    return Evaluation(
        judged=judge_predictor(predictor, _measured(judged)),
        trained_on=len(of_key) - len(new),
        near=len(new) - len(judged),
        other_keys=len(measured) - len(of_key),
        estimates=len(rows) - len(measured),
    )


def _of_one_key(rows: Sequence[KernelRow], request: TrainingRequest) -> list[KernelRow]:
    measured = [row for row in rows if not row.estimated]
    if not measured:
        raise BadInputError(f"{request.dataset} holds estimates alone: a predictor is trained on measured kernels")
    chosen = [
        row
        for row in measured
        if all(str(getattr(row.key, name)) == value for name, value in request.conditions.items())
    ]
    keys = {row.key for row in chosen}
    if len(keys) == 1:
        return chosen
    named = [
        name
        for name in _KEY_FIELDS
        if name in request.conditions or len({getattr(row.key, name) for row in measured}) > 1
    ]
    there = ", or ".join(sorted({" ".join(f"{name}={getattr(row.key, name)}" for name in named) for row in measured}))
    if not keys:
        raise BadInputError(f"no row of {request.dataset} is of these conditions; there are {there}")
    raise BadInputError(f"{request.dataset} holds kernels of several conditions; choose one with --where: {there}")


def _measured(rows: Sequence[KernelRow]) -> list[MeasuredKernel]:
    groups = groups_of([row.spec for row in rows]).tolist()
    return [
        MeasuredKernel(row.spec, row.latency_ms, row.call_ms, row.interval_ms, str(group))
        for row, group in zip(rows, groups, strict=True)
        # Measured ones have both.
        if row.call_ms is not None and row.interval_ms is not None
    ]
