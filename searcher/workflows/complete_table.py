"""Tables completed by a predictor of kernels: blocks that were not measured are exported, cut and predicted."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from searcher.artifacts import ExportedModel, cache_folder, sha256_of
from searcher.cost_models.kernels.kernel_model import summed
from searcher.cost_models.kernels.predictor import KernelPredictor
from searcher.errors import BadInputError
from searcher.export.kernels_of_onnx import NetworkKernel, cut
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec, measurable
from searcher.spaces.space import SearchSpace
from searcher.tables.completion import PredictedBlock, Predicting, completed_table, require_completable
from searcher.tables.lookup_table import KeyMismatchError, LookupTable, MissingBlockError
from searcher.tables.merge import TableFile
from searcher.workflows.predict_kernels import cutting_note, require_cuttable
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.progress import Progress, Work

_STAGE = "predict blocks"


@dataclass(frozen=True)
class PredictorSource:
    """A predictor, and the file that it was read from."""

    path: Path
    sha256: str
    predictor: KernelPredictor

    @property
    def predicting(self) -> Predicting:
        """What tables tell of it."""
        asked = self.predictor
        return Predicting(
            file=self.path.name,
            sha256=self.sha256,
            device=asked.key.device_fingerprint,
            created=asked.file.created,
            key=asked.key,
            sentinel_ms=asked.sentinel_ms,
            call_ms=asked.call_ms,
            confidence=asked.confidence,
        )


def read_predictor(path: Path) -> PredictorSource:
    """Read a predictor of kernels.

    Raises:
        BadInputError: it cannot be read or is no kernel predictor.
    """
    # Read before it is hashed: a file that is not there is refused by its reader's own words.
    predictor = KernelPredictor.load(path)
    return PredictorSource(path, sha256_of(path), predictor)


@dataclass(frozen=True)
class CompletionRequest:
    """What to complete, and by what.

    Attributes:
        space: whose blocks a table must hold.
        predictor: of the device.
        source: a table of some of the blocks; None to predict all of them.
        data: images that blocks of other numbers than fp32 are calibrated on.
    """

    space: SearchSpace
    predictor: PredictorSource
    source: TableFile | None = None
    data: str = "digits"


def complete_table(request: CompletionRequest) -> Work[LookupTable]:
    """Return a table of all blocks of a space: measured where it was, predicted where it was not.

    A block whose own type the predictor was trained on is predicted whole; any other one, or one out of that model's
    range, is cut into the kernels that the runtime makes of its file, and what they take is added up, and so are the
    ends of their intervals. Parts of blocks that cannot be predicted stay missing: no architecture executes them.

    Raises:
        KeyMismatchError: the table was measured under other conditions than those of the predictor.
        MissingBlockError: the predictor does not know a block or one of its kernels; the message says why.
        BadInputError: the table is of another space, or the machine was not as fast.
    """
    predicting, source = request.predictor.predicting, request.source
    require_completable(request.space.name, source, predicting)
    key = predicting.key
    known = {} if source is None else source.table.entries
    wanted = [one for one in measurable(request.space.all_blocks(), key.precision) if one.key not in known]
    exporter = prepare_exporter(request.space, key.runtime, key.precision, request.data)
    blocks: dict[str, PredictedBlock] = {}
    refused: dict[str, BadInputError] = {}
    for done, spec in enumerate(wanted, start=1):
        model = exporter.export_block(spec, cache_folder() / "exports")
        try:
            blocks[spec.key] = _predicted(request.predictor.predictor, spec, model)
        except BadInputError as e:
            if not spec.is_part:
                refused[spec.key] = e
        yield Progress(_STAGE, done, len(wanted))
    for block, error in refused.items():
        others = f", and {len(refused) - 1} more blocks" if len(refused) > 1 else ""
        raise MissingBlockError(
            f"{block} was not measured, and {predicting.file} refuses it{others}: {error}"
        ) from error
    note = cutting_note(request.predictor.predictor)
    # Of blocks that are predicted whole, nothing was cut.
    if note and any(one.operations for one in blocks.values()):
        yield Progress(_STAGE, len(wanted), len(wanted), note)
    versions = {**exporter.versions, "onnxruntime": importlib.metadata.version("onnxruntime")}
    return completed_table(request.space.name, source, predicting, blocks, versions)


def _predicted(predictor: KernelPredictor, spec: BlockSpec, model: ExportedModel) -> PredictedBlock:
    """Predict one block.

    Raises:
        BadInputError: it cannot be cut, or the predictor does not know one of its kernels.
    """
    if spec.operation == CALL_OVERHEAD.operation:
        call_ms = predictor.call_ms
        return PredictedBlock(call_ms, (call_ms, call_ms), (), model.sha256)
    try:
        whole = predictor.estimate(spec)
    except BadInputError as e:
        try:
            require_cuttable(predictor)
        except KeyMismatchError as uncut:
            raise BadInputError(f"{e}; {uncut}") from e
        return _cut_and_predicted(predictor, model)
    return PredictedBlock(whole.latency_ms, whole.interval_ms, (), model.sha256)


def _cut_and_predicted(predictor: KernelPredictor, model: ExportedModel) -> PredictedBlock:
    key = predictor.key
    kernels: Sequence[NetworkKernel] = cut(model.path, key.optimization, key.threads)
    own = summed(predictor.estimates([kernel.spec for kernel in kernels]))
    return PredictedBlock(own.latency_ms, own.interval_ms, tuple(one.operation for one in kernels), model.sha256)
