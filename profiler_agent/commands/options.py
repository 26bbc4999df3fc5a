"""Types of options, for argparse: what is wrong with a value is said in the option's own words."""

from __future__ import annotations

import argparse
import math
from typing import Tuple


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def natural(text: str) -> int:
    """Parse an integer of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def percent(text: str) -> float:
    """Parse a positive number with or without a percent sign behind it."""
    return positive_number(text[:-1] if text.endswith("%") else text)


def processors(text: str) -> Tuple[int, ...]:
    """Parse a list of processors, such as `0,1`."""
    return tuple(natural(part) for part in text.split(","))


def shape(text: str) -> Tuple[str, Tuple[int, ...]]:
    """Parse the shape of a named input."""
    name, equals, sizes = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=1x3x32x32")
    return name, tuple(positive(size) for size in sizes.split("x"))


def setting(text: str) -> Tuple[str, str]:
    """Parse a named setting of something else's."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


# argparse calls a value that is no number at all by the name of its type.
for _type, _name in ((positive, "whole number"), (natural, "whole number"), (positive_number, "number")):
    _type.__name__ = _name
percent.__name__, processors.__name__ = "percentage", "list of processors"
