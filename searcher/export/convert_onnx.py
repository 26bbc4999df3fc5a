"""ONNX files in fp16 and int8, converted from fp32 files with the tools that ONNX Runtime brings.

`int8` is static, in the QDQ format: weights are int8 per channel, activations uint8 per tensor by the ranges that
calibration saw. Signed activations would suit Arm as well, but on x86 ONNX Runtime then leaves many operators of a
network in fp32. The model's inputs and outputs are uint8 themselves, so that blocks follow each other as the operators
of a network do, with nothing to quantise in between. `fp16` stores and computes everything in half precision, inputs
and outputs too; on a processor without such arithmetic the runtime casts to fp32 and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from searcher.errors import SearcherError
from searcher.export.calibration import Inference, dequantised, quantised
from searcher.export.quiet import quietly
from searcher.spaces.block import FP16

# Raised when this code writes other files for the same input, so that old ones in caches are left alone.
CONVERSION = {"conversion_version": 1, "int8": "QDQ, uint8 activations and ends, int8 weights per channel"}
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_STEPS = 255
_ERRORS_ONLY = 3


class _Quantisation(NamedTuple):
    scale: float
    zero_point: int


def conversion_versions() -> dict[str, str]:
    """Return the versions of the packages that convert."""
    return {"onnxruntime": str(onnxruntime.__version__)}


def convert(exact: Path, path: Path, dtype: str, inferences: Sequence[Inference]) -> None:
    """Write a file of other numbers.

    Args:
        exact: the fp32 file.
        path: the file to write.
        dtype: `fp16` or `int8`.
        inferences: inputs (1, C, H, W) that show what values occur.

    Raises:
        SearcherError: an output cannot be made an integer.
    """
    if dtype == FP16:
        onnx.save(convert_float_to_float16(onnx.load(exact)), path)
        return
    with quietly():
        quantize_static(
            exact,
            path,
            _Reader([node.name for node in onnx.load(exact).graph.input], inferences),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Pools too, where they come first: inside a network their input is quantised.
            extra_options={"ForceQuantizeNoInputCheck": True},
        )
    model = onnx.load(path)
    _make_inputs_integers(model.graph, inferences)
    _make_outputs_integers(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def outputs(model: Path, inferences: Sequence[Inference]) -> list[NDArray[Any]]:
    """Return a file's output for each inference, as real numbers.

    Args:
        model: of any number type; what it takes and gives as uint8 is quantised and dequantised here.
        inferences: inputs (1, C, H, W).
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(model).graph
    takes = [(node.name, helper.tensor_dtype_to_np_dtype(node.type.tensor_type.elem_type)) for node in graph.input]
    from_inputs = [_quantisation(graph, _DEQUANTIZE, name) for name, _ in takes]
    (from_output,) = (_quantisation(graph, _QUANTIZE, node.name) for node in graph.output)
    results = []
    for inference in inferences:
        given = {
            name: quantised(one, dtype, *(how or (0.0, 0)))
            for (name, dtype), how, one in zip(takes, from_inputs, inference, strict=True)
        }
        (result,) = session.run(None, given)
        results.append(dequantised(result, *(from_output or (0.0, 0))))
    return results


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands inferences to the quantiser."""

    def __init__(self, names: Sequence[str], inferences: Sequence[Inference]) -> None:
        self._feeds = iter([dict(zip(names, inference, strict=True)) for inference in inferences])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def _make_inputs_integers(graph: onnx.GraphProto, inferences: Sequence[Inference]) -> None:
    """Let the graph take uint8 where it takes floats.

    What quantises an input is taken away; where an input is used as it is, as by a ReLU that comes first, it is
    dequantised before.
    """
    for index, node in enumerate(graph.input):
        name = node.name
        users = [user for user in graph.node if name in user.input]
        node.type.tensor_type.elem_type = TensorProto.UINT8
        if {user.op_type for user in users} == {_QUANTIZE}:
            for user in users:
                _rename(graph, user.output[0], name)
                graph.node.remove(user)
            continue
        how = _quantisation_of_range([inference[index] for inference in inferences])
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.asarray(how.scale, np.float32), f"{name}_scale"),
                numpy_helper.from_array(np.asarray(how.zero_point, np.uint8), f"{name}_zero_point"),
            ]
        )
        _rename(graph, name, f"{name}_real")
        names = [name, f"{name}_scale", f"{name}_zero_point"]
        graph.node.insert(0, helper.make_node(_DEQUANTIZE, names, [f"{name}_real"], name=f"{name}_dequantised"))


def _make_outputs_integers(graph: onnx.GraphProto) -> None:
    """Let the graph give uint8: take away what dequantises its outputs.

    Raises:
        SearcherError: an output is not dequantised but computed as a float.
    """
    for node in graph.output:
        producer = next((one for one in graph.node if node.name in one.output), None)
        if producer is None or producer.op_type != _DEQUANTIZE:
            raise SearcherError(f"the output {node.name!r} is no quantised value")
        node.type.tensor_type.elem_type = TensorProto.UINT8
        integers = producer.input[0]
        graph.node.remove(producer)
        for one in graph.node:
            one.output[:] = [node.name if name == integers else name for name in one.output]
        _rename(graph, integers, node.name)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let whatever takes one value take another."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _quantisation_of_range(values: Sequence[NDArray[Any]]) -> _Quantisation:
    """Return how uint8 holds these values, zero exactly."""
    low = min(0.0, *(float(one.min()) for one in values))
    high = max(0.0, *(float(one.max()) for one in values))
    scale = (high - low) / _STEPS or 1.0
    return _Quantisation(scale, round(-low / scale))


def _quantisation(graph: onnx.GraphProto, operation: str, name: str) -> _Quantisation | None:
    """Return how integers stand for reals where a value is dequantised, or comes from being quantised."""
    constants = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == operation and name in (node.input[0], node.output[0]):
            scale, zero_point = (numpy_helper.to_array(constants[one]).item() for one in node.input[1:3])
            return _Quantisation(float(scale), int(zero_point))
    return None
