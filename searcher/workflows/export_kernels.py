"""Drawn kernels as files, but for those that a converter does not take: a drawing meets what nobody has tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import Failed
from searcher.artifacts import ExportedModel
from searcher.devices.answers import JobResult
from searcher.errors import SearcherError
from searcher.export.exporter import Exporter
from searcher.export.recipe import KeepingError
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.workflows.progress import Progress, Work

_EXPORTING = "export kernels"


@dataclass(frozen=True)
class ExportedKernels:
    """Files of kernels.

    Attributes:
        models: the call that computes nothing, and the kernels that became files.
        refused: of the others, by the key of each, what the converter said.
    """

    models: tuple[ExportedModel, ...]
    refused: Mapping[str, str]

    def told_with(self, result: JobResult) -> JobResult:
        """Return the result of measuring them, with what never became a file among what failed."""
        job_id = result.hello.job_id
        failures = (Failed(job_id, key, "not_exported", sentence) for key, sentence in self.refused.items())
        return replace(result, failures=(*result.failures, *failures))


def export_kernels(specs: Sequence[BlockSpec], exporter: Exporter, folder: Path) -> Work[ExportedKernels]:
    """Write kernels as files, and the call that computes nothing.

    Args:
        specs: different ones.
        exporter: that writes them.
        folder: for the files.

    Raises:
        SearcherError: the call cannot be written: nothing can.
        KeepingError: the folder cannot be written: its disk is full, or fails.
        MemoryError: this machine has too little.
    """
    models, refused = [exporter.export_block(CALL_OVERHEAD, folder)], dict[str, str]()
    yield Progress(_EXPORTING, 1, len(specs) + 1)
    for done, spec in enumerate(specs, start=2):
        try:
            models.append(exporter.export_block(spec, folder))
        except (KeepingError, OSError, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001 - converters fail with whatever their libraries raise
            refused[spec.in_dtype(exporter.dtype).key] = f"it cannot be exported: {_first_line(e)}"
        yield Progress(_EXPORTING, done, len(specs) + 1)
    return ExportedKernels(tuple(models), refused)


def _first_line(error: Exception) -> str:
    said = (str(error).strip().splitlines() or [""])[0]
    # The project's own errors say all in their message; of others the kind is worth knowing.
    return said if isinstance(error, SearcherError) else f"{type(error).__name__}: {said}".removesuffix(": ")
