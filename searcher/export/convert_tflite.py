"""TFLite files in fp16 and int8, converted from fp32 files by LiteRT's own quantiser.

`int8` is static: weights are quantised per channel, activations per tensor by the ranges that calibration saw, and the
model's inputs and outputs are int8 themselves, so that blocks follow each other as the operators of a network do, with
nothing to quantise in between. `fp16` stores the weights of convolutions and linear layers in half precision and
nothing else: interpreters widen them once, when they load the file, and compute in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils import qsv_utils
from numpy.typing import NDArray

from searcher.export.calibration import Inference, dequantised, quantised
from searcher.export.quiet import quietly
from searcher.spaces.block import FP16

# Raised when this code writes other files for the same input, so that old ones in caches are left alone.
CONVERSION = {"conversion_version": 1, "int8": "static, int8 ends, ReLU by requantising", "fp16": "weights"}
_HALVED = (
    qtyping.TFLOperationName.CONV_2D,
    qtyping.TFLOperationName.DEPTHWISE_CONV_2D,
    qtyping.TFLOperationName.FULLY_CONNECTED,
)
_HALF_WEIGHTS = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
    compute_precision=qtyping.ComputePrecision.FLOAT,
    explicit_dequantize=True,
)
_LEAST = -128


def conversion_versions() -> dict[str, str]:
    """Return the versions of the packages that convert."""
    return {name: version(name) for name in ("ai-edge-quantizer", "ai-edge-litert")}


def convert(exact: Path, path: Path, dtype: str, inferences: Sequence[Inference]) -> None:
    """Write a file of other numbers.

    Args:
        exact: the fp32 file.
        path: the file to write.
        dtype: `fp16` or `int8`.
        inferences: inputs (1, C, H, W) that show what values occur.
    """
    quantizer = Quantizer(str(exact))
    with quietly():
        if dtype == FP16:
            for operation in _HALVED:
                quantizer.update_quantization_recipe(".*", operation, _HALF_WEIGHTS, AlgorithmName.FLOAT_CASTING)
            ranges = None
        else:
            quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
            ranges = _ranges(exact, inferences)
        converted = quantizer.quantize(ranges, enable_progress_report=False).quantized_model
    path.write_bytes(_with_relus_requantising(bytes(converted)))


def outputs(model: Path, inferences: Sequence[Inference]) -> list[NDArray[Any]]:
    """Return a file's output for each inference, as real numbers, images as (1, H, W, C).

    Args:
        model: of any number type; what it takes and gives as int8 is quantised and dequantised here.
        inferences: inputs (1, C, H, W).
    """
    runner = Interpreter(str(model)).get_signature_runner()
    takes, (gives,) = runner.get_input_details(), runner.get_output_details().values()
    results = []
    for inference in inferences:
        named = _named(inference)
        given = {name: quantised(named[name], takes[name]["dtype"], *takes[name]["quantization"]) for name in takes}
        (result,) = runner(**given).values()
        results.append(dequantised(result, *gives["quantization"]))
    return results


def _ranges(exact: Path, inferences: Sequence[Inference]) -> dict[str, Any]:
    """Return the least and the greatest value that each tensor takes.

    The quantiser's own way, a moving average of both, cuts off what single images reach: 19% of error instead of 4.5%
    in a network of three cells.
    """
    static = RecipeManager()
    static.load_quantization_recipe(recipe.static_wi8_ai8())
    calibrator = Calibrator(str(exact), qsv_update_func=qsv_utils.min_max_update)
    (signature,) = calibrator.get_signature_list()
    calibrator.calibrate({signature: [_named(inference) for inference in inferences]}, static)
    ranges: dict[str, Any] = calibrator.get_model_qsvs()
    return ranges


def _named(inference: Inference) -> Mapping[str, NDArray[Any]]:
    """Name inputs as litert-torch does, and lay them out channels last."""
    return {f"args_{index}": np.ascontiguousarray(one.transpose(0, 2, 3, 1)) for index, one in enumerate(inference)}


def _with_relus_requantising(model: bytes) -> bytes:
    """Return the model with QUANTIZE for each int8 RELU whose output cannot say less than zero.

    Both compute the same: a wider range is mapped to one that begins at zero, and what lies below is cut off. But
    XNNPACK computes QUANTIZE, and leaves an int8 RELU to a kernel that takes longer than the convolution behind it.
    """
    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 1
    parsed.operatorCodes.append(code)
    replaced = 0
    for graph in parsed.subgraphs:
        for operator in graph.operators:
            is_relu = parsed.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.RELU
            if is_relu and _begins_at_zero(graph.tensors[operator.outputs[0]]):
                operator.opcodeIndex = len(parsed.operatorCodes) - 1
                operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
                operator.builtinOptions = schema.QuantizeOptionsT()
                replaced += 1
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed)) if replaced else model


def _begins_at_zero(tensor: Any) -> bool:
    return bool(tensor.type == schema.TensorType.INT8 and list(tensor.quantization.zeroPoint) == [_LEAST])
