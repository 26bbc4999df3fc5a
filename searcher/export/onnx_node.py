"""A node of an optimised ONNX graph with the shapes of all that goes in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searcher.errors import BadInputError
from searcher.spaces.block import Shape

_IMAGE_RANK = 4
# As ONNX and ONNX Runtime name them; those of a fused operator bear the same names. Bounds and slopes, by which
# activations differ too, are constants of the same loops.
ACTIVATION_OPERATORS = {
    "Relu": "relu",
    "Clip": "relu6",
    "LeakyRelu": "leaky_relu",
    "HardSigmoid": "hard_sigmoid",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hard_swish",
    "com.microsoft:QuickGelu": "silu",
    "com.microsoft:Gelu": "gelu",
    "Gelu": "gelu",
    "Elu": "elu",
}


@dataclass(frozen=True)
class Tensor:
    """What goes in or out of a node.

    Attributes:
        shape: its sizes.
        dtype: as numpy calls it; of a constant it is not told.
        constant: whether it is part of the file.
        numbers: the values of a short constant of integers, else None.
    """

    shape: tuple[int, ...]
    dtype: str = ""
    constant: bool = False
    numbers: tuple[int, ...] | None = None

    @property
    def rank(self) -> int:
        """How many sizes it has."""
        return len(self.shape)


@dataclass(frozen=True)
class GraphNode:
    """One node.

    Attributes:
        operation: the operator; those of other domains than ONNX's own as `domain:name`.
        attributes: by name; texts as str.
        inputs: None for one that is left out.
        outputs: those that are there.
        ends: whether an output of the node is one of the whole graph.
    """

    operation: str
    attributes: Mapping[str, Any]
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    ends: bool = False

    @property
    def data(self) -> Tensor:
        """The first input.

        Raises:
            BadInputError: there is none, or it is a constant.
        """
        first = self.inputs[0] if self.inputs else None
        if first is None or first.constant:
            raise BadInputError("nothing that is computed goes into it")
        return first

    @property
    def image(self) -> Shape:
        """The first input's shape (N, C, H, W).

        Raises:
            BadInputError: it is of another rank, or a constant.
        """
        if self.data.rank != _IMAGE_RANK:
            raise BadInputError(f"it takes {written(self.data.shape)}, which is no image")
        return as_image(self.data.shape)

    @property
    def output(self) -> Tensor:
        """Its one output.

        Raises:
            BadInputError: it has several.
        """
        if len(self.outputs) != 1:
            raise BadInputError(f"it has {len(self.outputs)} outputs")
        return self.outputs[0]

    @property
    def activation(self) -> str | None:
        """The activation that is fused into it, by its name in blocks; None where there is none.

        Raises:
            BadInputError: blocks do not know it.
        """
        name = self.attributes.get("activation")
        if not name:
            return None
        if name not in ACTIVATION_OPERATORS:
            raise BadInputError(f"no block has its activation {name}")
        return ACTIVATION_OPERATORS[name]

    def weights(self, position: int = 1) -> Tensor:
        """Return the input at a position, which must be a constant.

        Raises:
            BadInputError: it is computed, or missing.
        """
        found = self.given(position)
        if found is None or not found.constant:
            raise BadInputError("its weights are computed, not constants of the file")
        return found

    def given(self, position: int) -> Tensor | None:
        """Return the input at a position, or None if it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def integers(self, name: str, position: int) -> tuple[int, ...] | None:
        """Return what older versions of an operator tell as an attribute and newer ones as an input, or None.

        Raises:
            BadInputError: it is computed.
        """
        if name in self.attributes:
            return tuple(self.attributes[name])
        found = self.given(position)
        if found is None:
            return None
        if found.numbers is None:
            raise BadInputError(f"its {name} are computed, not constants of the file")
        return found.numbers


def as_image(shape: tuple[int, ...]) -> Shape:
    """Return a shape as (N, C, H, W), holding as many numbers.

    A row is an image of 1x1 pixels; of more than four sizes the first behind N make up the channels.
    """
    if len(shape) == _IMAGE_RANK:
        batch, channels, height, width = shape
        return batch, channels, height, width
    if len(shape) > _IMAGE_RANK:
        batch, groups, members, *rest = shape
        return as_image((batch, groups * members, *rest))
    return as_image((*shape, 1)) if len(shape) > 1 else as_image((1, *(shape or (1,))))


def written(shape: tuple[int, ...]) -> str:
    """Return a shape as messages tell it."""
    return "x".join(map(str, shape)) or "a scalar"
