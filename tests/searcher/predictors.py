"""Predictors of kernels whose answers are known: one price for each kind of work, nothing learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from profiler_agent.records import TableKey
from searcher.artifacts import cache_folder
from searcher.cost_models.kernels.features import ranges, sizes
from searcher.cost_models.kernels.kernel_model import Judgement, KernelModel
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor, PredictorFile
from searcher.cost_models.kernels.spread import Spread
from searcher.cost_models.kernels.terms import terms
from searcher.export.exporter import exporter_for
from searcher.export.kernels_of_onnx import cut
from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import kernel_type
from searcher.spaces.space import SearchSpace
from tests.searcher.builders import KEY

CALL_MS, CONFIDENCE = 0.004, 0.9


def kernels_of(blocks: Iterable[BlockSpec]) -> list[BlockSpec]:
    """The kernels that the runtime makes of blocks, by their files."""
    exporter = exporter_for("onnxruntime")
    files = (exporter.export_block(block, cache_folder() / "exports").path for block in blocks)
    return [kernel.spec for path in files for kernel in cut(path, "extended")]


def kernels_of_space(space: SearchSpace) -> list[BlockSpec]:
    return kernels_of(space.all_blocks())


def predictor_file(
    kernels: Sequence[BlockSpec],
    *,
    key: TableKey = KEY,
    sentinel_ms: float | None = None,
    nanoseconds: float = 1.0,
    half_width: float = 0.1,
) -> PredictorFile:
    """A predictor of the types that these kernels have, in the ranges that they span.

    Each unit of work takes so many nanoseconds, and intervals have this half-width as logarithms.
    """
    by_type: dict[str, list[BlockSpec]] = {}
    for kernel in kernels:
        by_type.setdefault(kernel_type(kernel), []).append(kernel)
    return PredictorFile(
        created="2026-11-20T00:00:00+00:00",
        key=key,
        dataset="kernels.csv",
        dataset_sha256="00",
        versions={},
        seed=0,
        confidence=CONFIDENCE,
        call_ms=CALL_MS,
        sentinel_ms=sentinel_ms,
        kernels={name: _model(of_type, nanoseconds, half_width) for name, of_type in by_type.items()},
        left_out={},
        trained_on=(),
    )


def saved_predictor(path: Path, file: PredictorFile) -> KernelPredictor:
    PREDICTOR_DOCUMENT.save(file, path)
    return KernelPredictor(file)


def _model(kernels: Sequence[BlockSpec], nanoseconds: float, half_width: float) -> KernelModel:
    works = dict.fromkeys(name for kernel in kernels for name in terms(kernel))
    return KernelModel(
        form="baseline",
        start_ms=1e-6,
        prices_ms=dict.fromkeys(works, nanoseconds * 1e-06),
        ranges=ranges([sizes(kernel) for kernel in kernels]),
        activations=tuple(sorted({kernel.activation or "" for kernel in kernels})),
        features=(),
        smooth=None,
        trees=None,
        spread=Spread(0.0, (), 1.0, 1.0),
        reach=half_width,
        session=0.0,
        judged=Judgement(len(kernels), len(kernels), 1.0, 1.0, 0.0, {"baseline": 0.0}),
    )
