"""The features by which models of kernels tell them apart, and the range in which each is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from searcher.spaces.block import BlockSpec
from searcher.spaces.kernels import (
    FEATURES,
    REPEATED_NUMBER,
    REPEATED_PIXEL,
    REPEATED_PLANE,
    kernel_features,
    repeated,
)

Floats = NDArray[np.float64]

ACTIVATED = "activated_"
# Sizes whose logarithms say what a kernel is; the last two follow from the others, but not by a sum of logarithms.
_LOGARITHMS = (
    *("channels", "outputs", "output_height", "output_width", "kernel", "stride", "groups", "hidden", "inputs"),
    *("macs", "moved"),
)
SIZES = (*FEATURES, "padding", "batch", "repeated")
"""What of a kernel must lie in the range of what a model was trained on."""
_WAYS = (REPEATED_PIXEL, REPEATED_PLANE, REPEATED_NUMBER)
_ROUNDING = 1e-9


def sizes(spec: BlockSpec) -> dict[str, float]:
    """Return a kernel's sizes, by the names of SIZES; `repeated` is 1 where an input is repeated along an axis."""
    others = {
        "padding": spec.padding,
        "batch": spec.input_shapes[0][0],
        "repeated": float(repeated(spec) is not None),
    }
    return {**kernel_features(spec), **others}


def logarithms(spec: BlockSpec, activations: Sequence[str]) -> dict[str, float]:
    """Return a kernel's features by name: logarithms of sizes, which activation is fused, and how an input is repeated.

    Args:
        spec: the kernel.
        activations: each is a feature.
    """
    found = kernel_features(spec)
    found["moved"] = found["read"] + found["written"]
    told = {name: math.log(max(found[name], 1.0)) for name in _LOGARITHMS}
    told["sum"] = found["sum"]
    repeats = repeated(spec)
    told |= {f"repeated_{way}": float(repeats == way) for way in _WAYS}
    return told | {ACTIVATED + name: float(spec.activation == name) for name in activations}


def varying(rows: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    """Return the names of features that are not the same in all rows, and of equal ones the first."""
    kept: dict[str, tuple[float, ...]] = {}
    for name in rows[0]:
        column = tuple(row[name] for row in rows)
        if max(column) > min(column) and column not in kept.values():
            kept[name] = column
    return tuple(kept)


def matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> Floats:
    """Return (n, d) the named features of n kernels."""
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64).reshape(len(rows), len(names))


def ranges(rows: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest value of each size."""
    return {name: (min(row[name] for row in rows), max(row[name] for row in rows)) for name in rows[0]}


def outside(found: Mapping[str, float], known: Mapping[str, tuple[float, float]]) -> str | None:
    """Return which size is out of its range, in words; None where none is."""
    for name, (low, high) in known.items():
        value = found[name]
        if not low * (1 - _ROUNDING) <= value <= high * (1 + _ROUNDING):
            return f"{name} is {value:g}, and was {low:g} to {high:g}"
    return None
