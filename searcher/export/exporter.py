"""Blocks and whole networks as files of one format, cached by a hash of all that they are made from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from torch import nn

from searcher.artifacts import ExportedModel
from searcher.errors import BadInputError
from searcher.export.recipe import Recipe, export_cached
from searcher.networks.blocks import build_block
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.nasbench201 import NasBench201

# A module is imported only when its format is asked for: what it needs may not be installed, and takes long to load.
_FORMATS = {"onnx": "searcher.export.to_onnx", "tflite": "searcher.export.to_tflite"}
_FORMAT_OF_RUNTIME = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "tflite": "tflite",
    "litert": "tflite",
    "tflite-runtime": "tflite",
}


class _Format(Protocol):
    """What a module of a format offers."""

    SUFFIX: str
    EXPORTER: Mapping[str, int | str]

    def exporter_versions(self) -> dict[str, str]: ...

    def write(self, module: nn.Module, input_shapes: Sequence[Shape], path: Path) -> None: ...


@dataclass(frozen=True)
class Exporter:
    """Writes modules in one format; made by `exporter_for`."""

    _format: _Format

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that write the files."""
        return self._format.exporter_versions()

    def export_block(self, spec: BlockSpec, folder: Path) -> ExportedModel:
        """Write a block with random weights; its name is the block's key.

        Args:
            spec: the block.
            folder: where exported files are kept and looked for.

        Raises:
            BadInputError: the folder cannot be written or read.
        """
        return export_cached(
            spec.key,
            self._recipe(spec.key),
            lambda: build_block(spec),
            lambda module, path: self._format.write(module, spec.input_shapes, path),
            folder,
        )

    def export_network(self, space: NasBench201, architecture: Architecture, folder: Path) -> ExportedModel:
        """Write a whole network with random weights; its name is the architecture's text.

        Args:
            space: where the architecture is from, with the network's depth, width and resolution.
            architecture: what to build.
            folder: where exported files are kept and looked for.

        Raises:
            BadInputError: the folder cannot be written or read.
        """
        shape: Shape = (1, 3, space.image_size, space.image_size)
        name = space.format(architecture)
        return export_cached(
            name,
            self._recipe(f"{space!r} {name}"),
            lambda: NasBench201Network(space, architecture),
            lambda module, path: self._format.write(module, (shape,), path),
            folder,
        )

    def _recipe(self, identity: str) -> Recipe:
        return Recipe(identity, self._format.SUFFIX, self._format.EXPORTER, self.versions)


def exporter_for(runtime: str) -> Exporter:
    """Return what writes the files that a runtime reads.

    Args:
        runtime: an identifier or a family.

    Raises:
        BadInputError: it is unknown, or the packages that write its files are not installed.
    """
    if runtime not in _FORMAT_OF_RUNTIME:
        raise BadInputError(f"unknown runtime {runtime!r}; choose one of {', '.join(_FORMAT_OF_RUNTIME)}")
    module = _FORMATS[_FORMAT_OF_RUNTIME[runtime]]
    try:
        return Exporter(cast(_Format, importlib.import_module(module)))
    except ModuleNotFoundError as e:
        raise BadInputError(
            f"writing files for {runtime} needs {e.name}: pip install 'profiler-agent[tflite-export]'"
        ) from e
