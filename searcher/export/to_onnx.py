"""Blocks and whole networks as ONNX files: one file each, in an opset that runtimes of 2019 and later read.

The exporter of TorchScript is asked for by name: the newer one writes weights into a second file and takes a later
opset than it is told. Files are cached by a hash of all that they are made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from searcher.artifacts import ExportedModel, replacing, sha256_of
from searcher.errors import BadInputError
from searcher.networks.blocks import build_block, initialise
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec, Shape
from searcher.spaces.nasbench201 import NasBench201

OPSET = 13
# Raised when this code writes other files for the same input, so that old ones in caches are left alone.
_EXPORT_VERSION = 1
_WEIGHTS_SEED = 0


def export_block(spec: BlockSpec, folder: Path) -> ExportedModel:
    """Write a block with random weights; its name is the block's key.

    Args:
        spec: the block.
        folder: where exported files are kept and looked for.

    Raises:
        BadInputError: the folder cannot be written or read.
    """
    return _export(spec.key, build_block(spec), spec.input_shapes, folder)


def export_network(space: NasBench201, architecture: Architecture, folder: Path) -> ExportedModel:
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
    return _export(name, NasBench201Network(space, architecture), (shape,), folder, identity=f"{space!r} {name}")


def exporter_versions() -> dict[str, str]:
    """Return the versions of the packages that write the files."""
    return {name: version(name) for name in ("torch", "onnx")}


def _export(
    name: str, module: nn.Module, input_shapes: Sequence[Shape], folder: Path, identity: str | None = None
) -> ExportedModel:
    recipe = {
        "identity": identity or name,
        "export_version": _EXPORT_VERSION,
        "opset": OPSET,
        "weights_seed": _WEIGHTS_SEED,
        "versions": exporter_versions(),
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    path = folder / f"{digest[:32]}.onnx"
    try:
        if not path.exists():
            initialise(module, torch.Generator().manual_seed(_WEIGHTS_SEED))
            write_onnx(module, input_shapes, path)
        return ExportedModel(name, path, sha256_of(path))
    except OSError as e:
        raise BadInputError(
            f"cannot keep exported files in {folder}: {e.strerror or e}; PROFILER_CACHE can name another folder"
        ) from e


def write_onnx(module: nn.Module, input_shapes: Sequence[Shape], path: Path) -> None:
    """Write a module in eval mode as one ONNX file, atomically.

    Args:
        module: takes as many tensors as there are shapes.
        input_shapes: (N, C, H, W) of each input; they are fixed in the file.
        path: the file.
    """
    inputs = tuple(torch.zeros(shape) for shape in input_shapes)
    names = [f"input_{index}" for index in range(len(inputs))]
    with replacing(path) as temporary, _quietly():
        torch.onnx.export(
            module.eval(),
            inputs,
            str(temporary),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["output"],
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's deprecation notes and its printing away from the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
