"""What tests ask of TFLite files: which operators they hold, and whether layouts are changed between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


def operators(model: Path) -> list[str]:
    """The names of all operators; those that a delegate takes over are among them."""
    return [one["op_name"] for one in Interpreter(str(model))._get_ops_details()]


def run_tflite(model: Path, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """The one output for inputs in the file's own layout."""
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(details["index"], array)
    interpreter.invoke()
    return numpy.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def transposes_beside_convolutions(model: Path) -> int:
    """How many TRANSPOSEs of a TFLite file feed a convolution or take from one, others in between or not."""
    operators = [one for one in Interpreter(str(model))._get_ops_details() if one["op_name"] != "DELEGATE"]
    beside = 0
    for transpose in (one for one in operators if one["op_name"] == "TRANSPOSE"):
        for ahead, behind in (("outputs", "inputs"), ("inputs", "outputs")):
            reached = set(transpose[ahead].tolist())
            for _ in operators:
                passed = [one for one in operators if reached & set(one[behind].tolist())]
                if any("CONV_2D" in one["op_name"] for one in passed):
                    beside += 1
                    break
                reached |= {tensor for one in passed for tensor in one[ahead].tolist()}
    return beside
