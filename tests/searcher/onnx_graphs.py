"""Small ONNX graphs, made by tests of what is read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IMAGE = (1, 4, 9, 8)


def graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    shapes: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, NDArray[Any]] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write a graph that ends in `y`, whose inputs have these shapes."""
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in shapes.items()],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(made, opset_imports=domains, ir_version=7).SerializeToString())
    return path


def weights(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


def convolution(
    path: Path, kernel: Sequence[int] = (4, 4, 3, 3), size: Sequence[int] = IMAGE, **attributes: Any
) -> Path:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", **attributes)
    return graph(path, [node], {"x": size}, {"w": weights(*kernel)})


def single(path: Path, operator: str, **attributes: Any) -> Path:
    """Write a graph of one operator that takes nothing but an image."""
    return graph(path, [helper.make_node(operator, ["x"], ["y"], name="n", **attributes)], {"x": IMAGE})
