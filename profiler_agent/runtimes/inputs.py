"""Shapes and random values of a model's inputs: ordinary values, since zeros and denormals run at another speed.

Made without numpy.random: with the OpenSSL that it loads, it alone would take most of the worker's memory.
"""

from __future__ import annotations

import math
import random
from typing import Any, List, Optional, Sequence, Tuple

import numpy

from profiler_agent.errors import SessionError
from profiler_agent.memory_bound import available_bytes

_BATCH_VALUES = 4096
_WORD_BITS = 32
# What every numpy makes.
_MOST_DIMENSIONS = 32
_NUMBERS = "biufc"
# Sizes of 32 bits end here, in files and in runtimes.
_MOST_BYTES = 2**31
# The input, the runtime's copy of it, an output as large, and something to work with.
_COPIES = 4
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


def input_shape(
    name: str, declared: Optional[List[Any]], given: Optional[Tuple[int, ...]], dtype: Any
) -> Tuple[int, ...]:
    """Return the shape of an input.

    Args:
        name: of the input.
        declared: its shape in the model; what is no non-negative integer there is left open; None if the number of
            dimensions is open too.
        given: the shape that the user gave, or None.
        dtype: the numpy type of its elements.

    Raises:
        SessionError: a size is open and none is given, the given shape does not fit, or no such input can be made here:
            it is empty, larger than the memory allows, or of another type than numbers.
    """
    if numpy.dtype(dtype).kind not in _NUMBERS:
        raise SessionError(
            "unsupported_input", f"input {name!r} is of type {numpy.dtype(dtype).name}, which is no number"
        )
    shape = _chosen_shape(name, declared, given)
    if 0 in shape:
        raise SessionError("wrong_shape", f"input {name!r} has the shape {list(shape)}: an empty one computes nothing")
    if len(shape) > _MOST_DIMENSIONS:
        raise SessionError("wrong_shape", f"input {name!r} has {len(shape)} dimensions, more than {_MOST_DIMENSIONS}")
    _check_size(name, shape, math.prod(shape) * numpy.dtype(dtype).itemsize)
    return shape


def _chosen_shape(name: str, declared: Optional[List[Any]], given: Optional[Tuple[int, ...]]) -> Tuple[int, ...]:
    if given is None:
        if declared is not None and not any(_is_open(size) for size in declared):
            return tuple(declared)
        shown = "a shape of unknown rank" if declared is None else f"the dynamic shape {declared}"
        raise SessionError("dynamic_shape", f"input {name!r} has {shown}: give one with --shape {name}=1x3x32x32")
    fits = declared is None or (
        len(given) == len(declared) and all(_is_open(size) or size == wanted for size, wanted in zip(declared, given))
    )
    if not fits:
        raise SessionError("wrong_shape", f"input {name!r} has shape {declared}, which {list(given)} does not fit")
    return tuple(given)


def _is_open(size: Any) -> bool:
    return not isinstance(size, int) or size < 0


def _check_size(name: str, shape: Tuple[int, ...], size_bytes: int) -> None:
    available = available_bytes()
    if size_bytes > _MOST_BYTES:
        limit = f"{_MOST_BYTES / 2**30:.0f} GiB, the most that is measured"
    elif available is not None and size_bytes > available // _COPIES:
        limit = f"1/{_COPIES} of the {available / 2**30:.1f} GiB of memory that is available here"
    else:
        return
    taken = f"input {name!r} of shape {list(shape)} takes {size_bytes / 2**30:.1f} GiB"
    raise SessionError("too_large", f"{taken}: more than {limit}")
