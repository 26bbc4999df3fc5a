"""Operators of whole models, as `agent ops` told them, as rows of a dataset of kernels."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from profiler_agent.records import OperatorCost
from searcher.errors import BadInputError
from searcher.export.onnx_blocks import block_of
from searcher.export.onnx_node import GraphNode, Tensor
from searcher.spaces.block import FP32, BlockSpec
from searcher.spaces.kernels import output_size
from searcher.tables.dataset import OPERATORS, KernelRow
from searcher.tables.operators import Source

_CPU = "CPUExecutionProvider"
_FLOAT32 = "float32"
_FUSED_CONV, _WITH_BIAS = "com.microsoft:FusedConv", 3
_SPLIT = "Split"
_INTEGER = re.compile("-?[0-9]{1,9}")


class NoKernelError(BadInputError):
    """An operator is none of the kernels that datasets hold; the message is the reason, of few words."""


def operator_rows_of(source: Source) -> tuple[list[KernelRow], dict[str, int]]:
    """Return a report's operators as estimates, and how many are left out for which reason.

    Args:
        source: a report of `agent ops`.
    """
    rows, left_out = [], Counter[str]()
    report = source.report
    for operator in report.operators:
        try:
            if report.key.precision != FP32:
                raise NoKernelError(f"the model computes in {report.key.precision}")
            spec = kernel_of(operator)
        except NoKernelError as e:
            left_out[f"{operator.operation}: {e}"] += 1
            continue
        rows.append(
            KernelRow(
                spec=spec,
                key=report.key,
                latency_ms=operator.estimate_ms or 0.0,
                call_ms=None,
                interval_ms=None,
                confidence=0.0,
                rounds=report.wall_rounds,
                samples=report.wall_rounds,
                converged=report.wall_converged,
                operations=(operator.operation,),
                model_sha256=report.model_sha256,
                origin=OPERATORS,
                job=report.model,
            )
        )
    return rows, dict(left_out)


def kernel_of(operator: OperatorCost) -> BlockSpec:
    """Return the kernel that an operator is.

    Raises:
        NoKernelError: it is none, or nothing can be said of its latency.
    """
    if operator.estimate_ms is None:
        raise NoKernelError("it has no estimate")
    if operator.estimate_ms == 0:
        raise NoKernelError("its estimate is zero: nothing could be told apart")
    if operator.fused_into is not None:
        raise NoKernelError("the runtime may fuse it into another")
    if operator.provider != _CPU:
        raise NoKernelError(f"it runs on {operator.provider}")
    if any(one.dtype != _FLOAT32 for one in operator.inputs[:1]):
        raise NoKernelError("it does not compute in fp32")
    try:
        spec = block_of(_node(operator))
        made = spec.output_channels * math.prod(output_size(spec))
    except BadInputError as e:
        raise NoKernelError(str(e).rstrip(".")) from e
    except (LookupError, TypeError, ValueError) as e:
        # Attributes are as a device told them.
        raise NoKernelError("its attributes or shapes are not those of this operator") from e
    parts = operator.outputs if operator.operation == _SPLIT else operator.outputs[:1]
    if spec.operation != "view" and made != sum(math.prod(one.shape) for one in parts):
        raise NoKernelError("its output has another size than that kernel's")
    return spec


def _node(operator: OperatorCost) -> GraphNode:
    """Return what a report tells of an operator; values of constants are not in it."""
    inputs: list[Tensor | None] = [Tensor(one.shape, one.dtype, one.constant) for one in operator.inputs]
    if operator.operation == _FUSED_CONV and len(inputs) == _WITH_BIAS and not operator.inputs[-1].constant:
        # Inputs that are left out are missing in a report: this is the sum, and there is no bias.
        inputs.insert(_WITH_BIAS - 1, None)
    return GraphNode(
        operation=operator.operation,
        attributes={name: _value(text) for name, text in operator.attributes.items()},
        inputs=tuple(inputs),
        outputs=tuple(Tensor(one.shape, one.dtype, one.constant) for one in operator.outputs),
    )


def _value(text: str) -> Any:
    """Return an attribute as ONNX has it: reports join lists by commas."""
    parts = text.split(",")
    if not all(_INTEGER.fullmatch(part) for part in parts):
        return text
    numbers = [int(part) for part in parts]
    return numbers if len(numbers) > 1 else numbers[0]
