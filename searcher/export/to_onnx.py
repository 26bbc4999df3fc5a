"""Modules as ONNX files: one file each, in an opset that runtimes of 2019 and later read.

The exporter of TorchScript is asked for by name: the newer one writes weights into a second file and takes a later
opset than it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from searcher.artifacts import replacing
from searcher.export.quiet import quietly

SUFFIX = ".onnx"
OPSET = 13
# Raised when this code writes other files for the same input, so that old ones in caches are left alone.
_EXPORT_VERSION = 1
EXPORTER = {"export_version": _EXPORT_VERSION, "opset": OPSET}


def exporter_versions() -> dict[str, str]:
    """Return the versions of the packages that write the files."""
    return {name: version(name) for name in ("torch", "onnx")}


def write(module: nn.Module, input_shapes: Sequence[tuple[int, ...]], path: Path) -> None:
    """Write a module in eval mode as one ONNX file, atomically.

    Args:
        module: takes as many tensors as there are shapes.
        input_shapes: of each input, such as (N, C, H, W); they are fixed in the file.
        path: the file.
    """
    inputs = tuple(torch.zeros(shape) for shape in input_shapes)
    names = [f"input_{index}" for index in range(len(inputs))]
    with replacing(path) as temporary, quietly():
        torch.onnx.export(
            module.eval(),
            inputs,
            str(temporary),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["output"],
        )
