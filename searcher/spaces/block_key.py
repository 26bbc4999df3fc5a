"""A block's specification from its key: what tables, datasets and users name a block by."""

from __future__ import annotations

import re

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec, Shape

# Beyond it no runtime has a tensor, and no arithmetic on sizes needs to be feared.
_MOST_DIGITS = 9
_NUMBER = rf"\d{{1,{_MOST_DIGITS}}}"
_SHAPE = rf"{_NUMBER}x{_NUMBER}x{_NUMBER}x{_NUMBER}"
_WORD = r"[a-z][a-z0-9_]*"
_KEY = re.compile(
    rf"(?P<operation>{_WORD})-k(?P<kernel>{_NUMBER})-s(?P<stride>{_NUMBER})-p(?P<padding>{_NUMBER})"
    rf"-g(?P<groups>{_NUMBER})-(?P<shapes>{_SHAPE}(?:\+{_SHAPE})*)(?:-h(?P<hidden>{_NUMBER}))?"
    rf"-to(?P<outputs>{_NUMBER})(?:-(?P<activation>{_WORD}))?-(?P<dtype>{_WORD})",
    re.ASCII,
)


def parse_block_key(text: str) -> BlockSpec:
    """Return the block of a key.

    Raises:
        BadInputError: the text is no block's key.
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise BadInputError(f"{text[:100]!r} is no block's key")
    hidden = found["hidden"]
    spec = BlockSpec(
        operation=found["operation"],
        input_shapes=tuple(_shape(shape) for shape in found["shapes"].split("+")),
        output_channels=int(found["outputs"]),
        kernel=int(found["kernel"]),
        stride=int(found["stride"]),
        padding=int(found["padding"]),
        groups=int(found["groups"]),
        activation=found["activation"],
        dtype=found["dtype"],
        hidden_channels=None if hidden is None else int(hidden),
    )
    if spec.key != text:
        raise BadInputError(f"{text[:100]!r} is no block's key; did you mean {spec.key}?")
    return spec


def _shape(text: str) -> Shape:
    batch, channels, height, width = (int(size) for size in text.split("x"))
    return batch, channels, height, width
