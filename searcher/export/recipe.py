"""What an exported file is made from, and the cache of files under a hash of exactly that."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from searcher.artifacts import ExportedModel, cache_folder, sha256_of, write_text
from searcher.errors import BadInputError
from searcher.networks.blocks import draw_statistics, initialise
from searcher.spaces.block import FP32

_WEIGHTS_SEED = 0
# Raised when `set_weights` sets others, so that old files in caches are left alone.
_WEIGHTS_VERSION = 2


class KeepingError(BadInputError):
    """The folder of exported files fails, whatever is to be exported."""


@dataclass(frozen=True)
class Recipe:
    """What a file is made from; equal recipes give equal files.

    Attributes:
        identity: what is computed: a block's key, or a space and an architecture.
        suffix: of the file, such as `.onnx`.
        exporter: everything about the exporter that changes its files: its options, and a number of its own that is
            raised with its code.
        versions: of the packages that write the file.
        dtype: numbers that it computes with.
        calibration: identity of the data that it is calibrated and judged on; None for fp32.
    """

    identity: str
    suffix: str
    exporter: Mapping[str, int | str]
    versions: Mapping[str, str]
    dtype: str = FP32
    calibration: str | None = None

    @property
    def file_name(self) -> str:
        """The name of the file in the cache."""
        text = json.dumps(
            {
                "identity": self.identity,
                "weights_seed": _WEIGHTS_SEED,
                "weights_version": _WEIGHTS_VERSION,
                "exporter": dict(self.exporter),
                "versions": dict(self.versions),
                "dtype": self.dtype,
                "calibration": self.calibration,
            },
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32] + self.suffix


def export_cached(
    name: str,
    recipe: Recipe,
    build: Callable[[], nn.Module],
    write: Callable[[nn.Module, Path], float | None],
    folder: Path,
) -> ExportedModel:
    """Return the file of a recipe; build and write it if the folder does not have it.

    Args:
        name: of the model in jobs and tables.
        recipe: what the file is made from.
        build: makes the module; its weights are set here.
        write: writes the module, atomically, and returns its numerical error, or None for fp32.
        folder: where exported files are kept and looked for.

    Raises:
        KeepingError: the folder cannot be written or read.
    """
    path = folder / recipe.file_name
    try:
        kept = _kept(name, path, recipe.dtype)
        if kept is not None:
            return kept
        numerical_error = write(set_weights(build()), path)
        made = ExportedModel(name, path, sha256_of(path), numerical_error)
        if made.numerical_error is not None:
            text = json.dumps({"sha256": made.sha256, "numerical_error": made.numerical_error})
            write_text(_judgement(path), text + "\n")
        return made
    except OSError as e:
        variable = "PROFILER_CACHE" if folder.is_relative_to(cache_folder()) else "TMPDIR"
        raise KeepingError(
            f"cannot keep exported files in {folder}: {e.strerror or e}; {variable} can name another folder"
        ) from e


def set_weights(module: nn.Module) -> nn.Module:
    """Set the weights that every exported module has; return it in eval mode."""
    generator = torch.Generator().manual_seed(_WEIGHTS_SEED)
    initialise(module, generator)
    draw_statistics(module, generator)
    return module.eval()


def _judgement(path: Path) -> Path:
    """Return where the numerical error of a file is kept: beside it."""
    return path.with_name(f"{path.name}.json")


def _kept(name: str, path: Path, dtype: str) -> ExportedModel | None:
    """Return a file that is there, with its numerical error; None if either is missing or they do not fit."""
    if not path.exists():
        return None
    sha256 = sha256_of(path)
    if dtype == FP32:
        return ExportedModel(name, path, sha256)
    try:
        judged = json.loads(_judgement(path).read_text(encoding="utf-8"))
        numerical_error = judged["numerical_error"] if judged["sha256"] == sha256 else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(numerical_error, float) or not math.isfinite(numerical_error):
        return None
    return ExportedModel(name, path, sha256, numerical_error)
