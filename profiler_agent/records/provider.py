"""Names of providers and delegates: as users write them, and as a table's key holds them with their options."""

from __future__ import annotations

import shlex
from typing import Dict, Mapping, Tuple

_SUFFIX = "ExecutionProvider"


def short_provider(name: str) -> str:
    """Return a provider's name without ONNX Runtime's suffix: `CUDA` for `CUDAExecutionProvider`."""
    return name[: -len(_SUFFIX)] if name.lower().endswith(_SUFFIX.lower()) else name


def same_provider(one: str, other: str) -> bool:
    """Tell whether two names mean one provider: `cuda` and `CUDAExecutionProvider` do."""
    return short_provider(one).lower() == short_provider(other).lower()


def provider_text(name: str, options: Mapping[str, str]) -> str:
    """Return a provider with its options as a table's key holds it, such as `CUDAExecutionProvider device_id=1`."""
    return " ".join([name, *(shlex.quote(f"{key}={options[key]}") for key in sorted(options))])


def parse_provider(text: str) -> Tuple[str, Dict[str, str]]:
    """Return name and options of a provider in a table's key.

    Raises:
        ValueError: the text is no such thing.
    """
    name, *options = shlex.split(text) or [""]
    pairs = [option.partition("=") for option in options]
    if not name or not all(equals for _, equals, _ in pairs):
        raise ValueError(f"{text!r} is no provider with options")
    return name, {key: value for key, _, value in pairs}
