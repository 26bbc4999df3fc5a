"""Random inputs for a model: ordinary values, since zeros and denormals run at another speed."""

from __future__ import annotations

from typing import Any, Sequence

import numpy


def random_array(shape: Sequence[int], dtype: Any, generator: numpy.random.Generator) -> Any:
    """Return an array of standard normal floats, of small non-negative integers, or of booleans.

    Args:
        shape: its dimensions.
        dtype: a numpy dtype.
        generator: source of the values.
    """
    kind = numpy.dtype(dtype).kind
    if kind == "f":
        return generator.standard_normal(tuple(shape), dtype=numpy.float32).astype(dtype)
    if kind == "b":
        return generator.integers(0, 2, tuple(shape)).astype(dtype)
    # Integer inputs are indices more often than amounts: 0 and 1 stay inside the smallest table.
    return generator.integers(0, 2, tuple(shape)).astype(dtype)
