"""What an exported file is made from, and the cache of files under a hash of exactly that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from searcher.artifacts import ExportedModel, sha256_of
from searcher.errors import BadInputError
from searcher.networks.blocks import initialise

WEIGHTS_SEED = 0


@dataclass(frozen=True)
class Recipe:
    """What a file is made from; equal recipes give equal files.

    Attributes:
        identity: what is computed: a block's key, or a space and an architecture.
        suffix: of the file, such as `.onnx`.
        exporter: everything about the exporter that changes its files: its options, and a number of its own that is
            raised with its code.
        versions: of the packages that write the file.
    """

    identity: str
    suffix: str
    exporter: Mapping[str, int | str]
    versions: Mapping[str, str]

    @property
    def file_name(self) -> str:
        """The name of the file in the cache."""
        text = json.dumps(
            {
                "identity": self.identity,
                "weights_seed": WEIGHTS_SEED,
                "exporter": dict(self.exporter),
                "versions": dict(self.versions),
            },
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32] + self.suffix


def export_cached(
    name: str, recipe: Recipe, build: Callable[[], nn.Module], write: Callable[[nn.Module, Path], None], folder: Path
) -> ExportedModel:
    """Return the file of a recipe; build and write it if the folder does not have it.

    Args:
        name: of the model in jobs and tables.
        recipe: what the file is made from.
        build: makes the module; its weights are set here.
        write: writes the module, atomically.
        folder: where exported files are kept and looked for.

    Raises:
        BadInputError: the folder cannot be written or read.
    """
    path = folder / recipe.file_name
    try:
        if not path.exists():
            module = build()
            initialise(module, torch.Generator().manual_seed(WEIGHTS_SEED))
            write(module.eval(), path)
        return ExportedModel(name, path, sha256_of(path))
    except OSError as e:
        raise BadInputError(
            f"cannot keep exported files in {folder}: {e.strerror or e}; PROFILER_CACHE can name another folder"
        ) from e
