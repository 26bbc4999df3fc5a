"""A block back from its key."""

from __future__ import annotations

import re

from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec, Shape

_WORD = "[a-z][a-z0-9_]*"
_NUMBER = "[1-9][0-9]{0,8}"
_SHAPE = f"{_NUMBER}x{_NUMBER}x{_NUMBER}x{_NUMBER}"
_KEY = re.compile(
    f"(?P<operation>{_WORD})-k(?P<kernel>{_NUMBER})-s(?P<stride>{_NUMBER})-p(?P<padding>0|{_NUMBER})"
    rf"-g(?P<groups>{_NUMBER})-(?P<shapes>{_SHAPE}(?:\+{_SHAPE})*)(?:-h(?P<hidden_channels>{_NUMBER}))?"
    f"-to(?P<output_channels>{_NUMBER})(?:-(?P<activation>{_WORD}))?-(?P<dtype>{_WORD})"
)
_NUMBERS = ("kernel", "stride", "padding", "groups", "output_channels")


def block_of_key(key: str) -> BlockSpec:
    """Return the block whose `key` a text is.

    Raises:
        BadInputError: it is the key of none; the message quotes it.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        raise BadInputError(f"{key[:200]!r} is no block's key, such as conv_bn-k3-s1-p1-g1-1x16x32x32-to16-relu-fp32")
    hidden = found["hidden_channels"]
    block = BlockSpec(
        operation=found["operation"],
        input_shapes=tuple(_shape(text) for text in found["shapes"].split("+")),
        **{name: int(found[name]) for name in _NUMBERS},
        activation=found["activation"],
        dtype=found["dtype"],
        hidden_channels=None if hidden is None else int(hidden),
    )
    if block.key != key:
        raise BadInputError(f"{key[:200]!r} is no block's key: that block's is {block.key!r}")
    return block


def _shape(text: str) -> Shape:
    batch, channels, height, width = (int(size) for size in text.split("x"))
    return batch, channels, height, width
