"""Shapes and random values of a model's inputs: ordinary values, since zeros and denormals run at another speed.

Made without numpy.random: with the OpenSSL that it loads, it alone would take most of the worker's memory.
"""

from __future__ import annotations

import math
import random
from typing import Any, List, Optional, Sequence, Tuple

import numpy

from profiler_agent.errors import SessionError

_BATCH_VALUES = 4096
_WORD_BITS = 32
_QUANTISED = (numpy.dtype(numpy.int8), numpy.dtype(numpy.uint8))


def random_array(shape: Sequence[int], dtype: Any, generator: random.Random) -> Any:
    """Return an array of standard normal floats, of quantised values, of small non-negative integers, or of booleans.

    Args:
        shape: its dimensions.
        dtype: a numpy dtype.
        generator: source of the values.
    """
    array = numpy.empty(tuple(shape), dtype)
    values = array.reshape(-1)
    for start in range(0, values.size, _BATCH_VALUES):
        batch = values[start : start + _BATCH_VALUES]
        if array.dtype.kind == "f":
            batch[:] = _standard_normal(batch.size, generator)
        elif array.dtype in _QUANTISED:
            # Eight bits hold quantised amounts, which use the whole range.
            batch[:] = numpy.floor(_uniform(batch.size, generator) * 256) + numpy.iinfo(array.dtype).min
        else:
            # Other integers are indices more often than amounts: 0 and 1 stay inside the smallest table.
            batch[:] = _uniform(batch.size, generator) < 0.5
    return array


def _standard_normal(count: int, generator: random.Random) -> Any:
    """Return `count` normal values, by Box and Muller (1958), "A note on the generation of random normal deviates"."""
    radius = numpy.sqrt(-2 * numpy.log(_uniform(count, generator)))
    return radius * numpy.cos(2 * math.pi * _uniform(count, generator))


def _uniform(count: int, generator: random.Random) -> Any:
    """Return `count` > 0 values between 0 and 1, without the two."""
    bits = generator.getrandbits(_WORD_BITS * count)
    words = numpy.frombuffer(bits.to_bytes(_WORD_BITS // 8 * count, "little"), dtype="<u4")
    return (words + 0.5) / 2**_WORD_BITS


def input_shape(name: str, declared: List[Any], given: Optional[Tuple[int, ...]]) -> Tuple[int, ...]:
    """Return the shape of an input.

    Args:
        name: of the input.
        declared: its shape in the model; what is no non-negative integer there is left open.
        given: the shape that the user gave, or None.

    Raises:
        SessionError: a size is open and none is given, or the given shape does not fit.
    """
    if given is None:
        if all(isinstance(size, int) and size >= 0 for size in declared):
            return tuple(declared)
        raise SessionError(
            "dynamic_shape",
            f"input {name!r} has the dynamic shape {declared}: give one with --shape {name}=1x3x32x32",
        )
    fits = len(given) == len(declared) and all(
        not isinstance(size, int) or size == wanted for size, wanted in zip(declared, given)
    )
    if not fits:
        raise SessionError("wrong_shape", f"input {name!r} has shape {declared}, which {list(given)} does not fit")
    return tuple(given)
