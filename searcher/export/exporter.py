"""Blocks and whole networks as files of one format and number type, cached by a hash of all that they are made from.

A file of fp16 or int8 is converted from an fp32 file of the same weights, whose batch norms are settled on real
activations, and judged against that file on activations of other images.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from searcher.artifacts import ExportedModel, replacing, sha256_of
from searcher.errors import BadInputError, SearcherError
from searcher.export.calibration import Calibration, Floats, Inference, relative_error, single_inferences
from searcher.export.quiet import quietly
from searcher.export.recipe import Recipe, export_cached
from searcher.networks.activations import settle_batch_norms
from searcher.networks.blocks import build_block
from searcher.networks.network import build_network
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, DTYPES, FP32, BlockSpec, Shape
from searcher.spaces.space import SearchSpace

# A module is imported only when its format is asked for: what it needs may not be installed, and takes long to load.
_FORMATS = {"onnx": "searcher.export.to_onnx", "tflite": "searcher.export.to_tflite"}
_CONVERSIONS = {"onnx": "searcher.export.convert_onnx", "tflite": "searcher.export.convert_tflite"}
_EXTRAS = {"onnx": "search", "tflite": "tflite-export"}
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

    def write(self, module: nn.Module, input_shapes: Sequence[tuple[int, ...]], path: Path) -> None: ...


class _Conversion(Protocol):
    """What a module offers that turns fp32 files of a format into those of other numbers."""

    CONVERSION: Mapping[str, int | str]

    def conversion_versions(self) -> dict[str, str]: ...

    def convert(self, exact: Path, path: Path, dtype: str, inferences: Sequence[Inference]) -> None: ...

    def outputs(self, model: Path, inferences: Sequence[Inference]) -> list[NDArray[Any]]: ...


@dataclass(frozen=True)
class Exporter:
    """Writes modules in one format and number type; made by `exporter_for`.

    Attributes:
        dtype: numbers that the files compute with.
        calibration: real activations for files that are not of fp32; None until `calibrated_on` gives them.
    """

    _format: _Format
    _conversion: _Conversion | None = None
    dtype: str = FP32
    calibration: Calibration | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that write the files."""
        converting = {} if self._conversion is None else self._conversion.conversion_versions()
        return {**self._format.exporter_versions(), **converting}

    @property
    def needs_calibration(self) -> bool:
        """Whether `calibrated_on` must come before anything is exported."""
        return self._conversion is not None

    @property
    def calibration_identity(self) -> str | None:
        """What the files are calibrated and judged on; None for fp32."""
        return None if self.calibration is None else self.calibration.identity

    def calibrated_on(self, calibration: Calibration) -> Exporter:
        """Return an exporter whose files are calibrated and judged on these activations."""
        return replace(self, calibration=calibration)

    def export_block(self, spec: BlockSpec, folder: Path) -> ExportedModel:
        """Write a block with random weights, in the exporter's numbers; its name is the block's key in them.

        Args:
            spec: the block; its own number type does not matter.
            folder: where exported files are kept and looked for.

        Raises:
            BadInputError: the folder cannot be written or read, or no activations fit the block.
            SearcherError: the file computes no finite numbers.
        """
        key = spec.in_dtype(self.dtype).key
        if self._conversion is not None and spec.operation == CALL_OVERHEAD.operation:
            # Nothing is computed, in whatever numbers: calling the runtime is the same.
            exact = Exporter(self._format).export_block(spec, folder)
            return replace(exact, name=key, numerical_error=0.0)
        return export_cached(
            key,
            self._recipe(key),
            lambda: build_block(spec.in_dtype(FP32)),
            lambda module, path: self._write(module, spec.input_shapes, path, key, spec.file_shapes),
            folder,
        )

    def export_chain(self, spec: BlockSpec, copies: int, folder: Path) -> ExportedModel:
        """Write copies of a block in a row, each with weights of its own; the name is the block's `chain_key`.

        Args:
            spec: a block that is `repeatable`.
            copies: how many.
            folder: where exported files are kept and looked for.

        Raises:
            BadInputError: the block is not repeatable, the folder cannot be written or read, or no activations fit.
            SearcherError: the file computes no finite numbers.
        """
        if not spec.repeatable:
            raise BadInputError(f"the output of {spec.key} does not fit its input: there is no chain of it")
        name = spec.in_dtype(self.dtype).chain_key(copies)
        return export_cached(
            name,
            self._recipe(name),
            lambda: nn.Sequential(*(build_block(spec.in_dtype(FP32)) for _ in range(copies))),
            lambda module, path: self._write(module, spec.input_shapes, path, name),
            folder,
        )

    def export_network(self, space: SearchSpace, architecture: Architecture, folder: Path) -> ExportedModel:
        """Write a whole network with random weights; its name is the architecture's text.

        Args:
            space: where the architecture is from, with the network's depth, width and resolution.
            architecture: what to build.
            folder: where exported files are kept and looked for.

        Raises:
            BadInputError: the folder cannot be written or read, the space has no networks, or the calibration has no
                images of this size.
            SearcherError: the file computes no finite numbers.
        """
        name = space.format(architecture)
        return export_cached(
            name,
            self._recipe(f"{space!r} {name}"),
            lambda: build_network(space, architecture),
            lambda module, path: self._write(module, (space.image_shape,), path, name),
            folder,
        )

    def export_trained(self, module: nn.Module, input_shape: Shape, name: str, path: Path) -> ExportedModel:
        """Write a network with the weights that it has; no cache is asked or filled.

        Args:
            module: takes one (N, C, H, W) tensor; in eval mode afterwards.
            input_shape: (N, C, H, W), fixed in the file.
            name: of the model in jobs.
            path: the file, replaced when the new one is whole.

        Raises:
            BadInputError: the file cannot be written, or is to be of other numbers than fp32.
        """
        if self._conversion is not None:
            raise BadInputError(f"trained networks are exported in {FP32}, not in {self.dtype}")
        try:
            self._format.write(module, (input_shape,), path)
            return ExportedModel(name, path, sha256_of(path))
        except OSError as e:
            raise BadInputError(f"cannot write {path}: {e.strerror or e}") from e

    @property
    def suffix(self) -> str:
        """Suffix of its files, such as `.onnx`."""
        return self._format.SUFFIX

    def _recipe(self, identity: str) -> Recipe:
        options = dict(self._format.EXPORTER)
        if self._conversion is not None:
            options.update(self._conversion.CONVERSION)
        return Recipe(identity, self._format.SUFFIX, options, self.versions, self.dtype, self.calibration_identity)

    def _write(
        self,
        module: nn.Module,
        input_shapes: Sequence[Shape],
        path: Path,
        name: str,
        file_shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> float | None:
        """Write a file and return its numerical error, or None for fp32.

        The file takes inputs of other shapes than (N, C, H, W) only where `file_shapes` tells them.
        """
        shapes = input_shapes if file_shapes is None else file_shapes
        if self._conversion is None:
            self._format.write(module, shapes, path)
            return None
        if self.calibration is None:
            raise BadInputError(f"files of {self.dtype} are calibrated on real images, and there are none")
        calibrating = _shaped(self.calibration.calibrating_batches(input_shapes), shapes)
        held_out = single_inferences(_shaped(self.calibration.held_out_batches(input_shapes), shapes))
        settle_batch_norms(module, [torch.from_numpy(batch) for batch in calibrating])
        with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
            exact = Path(folder) / f"exact{self._format.SUFFIX}"
            self._format.write(module, shapes, exact)
            self._conversion.convert(exact, temporary, self.dtype, single_inferences(calibrating))
            results = [self._conversion.outputs(model, held_out) for model in (temporary, exact)]
            try:
                return relative_error(*results)
            except ValueError as e:
                raise SearcherError(f"{name} in {self.dtype} has no numerical error: {e}") from e


def _shaped(batches: Sequence[Floats], shapes: Sequence[tuple[int, ...]]) -> tuple[Floats, ...]:
    """Return batches of images as a file takes them."""
    return tuple(batch.reshape(len(batch), *shape[1:]) for batch, shape in zip(batches, shapes, strict=True))


def file_outputs(runtime: str, model: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a network's file computes, by its runtime on this machine: one image at a time, as it was exported.

    Args:
        runtime: an identifier or a family, whose format the file has.
        model: takes (1, C, H, W) images.
        images: (N, C, H, W).

    Returns:
        (N, classes) logits.

    Raises:
        BadInputError: the runtime is unknown, or is not installed here.
    """
    name = format_of(runtime)
    try:
        with quietly():
            conversion = cast(_Conversion, importlib.import_module(_CONVERSIONS[name]))
    except ModuleNotFoundError as e:
        raise BadInputError(_lacking(f"running files for {runtime}", e, name)) from e
    return np.concatenate(conversion.outputs(model, single_inferences([images])))


def format_of(runtime: str) -> str:
    """Return the format of the files that a runtime reads, `onnx` or `tflite`.

    Raises:
        BadInputError: the runtime is unknown.
    """
    if runtime not in _FORMAT_OF_RUNTIME:
        raise BadInputError(f"unknown runtime {runtime!r}; choose one of {', '.join(_FORMAT_OF_RUNTIME)}")
    return _FORMAT_OF_RUNTIME[runtime]


def _lacking(what: str, error: ModuleNotFoundError, name: str) -> str:
    return f"{what} needs {error.name}: pip install 'profiler-agent[{_EXTRAS[name]}]'"


def exporter_for(runtime: str, dtype: str = FP32) -> Exporter:
    """Return what writes the files that a runtime reads.

    Args:
        runtime: an identifier or a family.
        dtype: numbers to compute with; all but fp32 need `Exporter.calibrated_on` before anything is exported.

    Raises:
        BadInputError: one of them is unknown, or the packages that write its files are not installed.
    """
    name = format_of(runtime)
    if dtype not in DTYPES:
        raise BadInputError(f"unknown number type {dtype!r}; choose one of {', '.join(DTYPES)}")
    try:
        with quietly():
            written = cast(_Format, importlib.import_module(_FORMATS[name]))
            converted = None if dtype == FP32 else cast(_Conversion, importlib.import_module(_CONVERSIONS[name]))
    except ModuleNotFoundError as e:
        raise BadInputError(_lacking(f"writing {dtype} files for {runtime}", e, name)) from e
    return Exporter(written, converted, dtype)
