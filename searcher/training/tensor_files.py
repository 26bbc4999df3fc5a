"""Files of plain tensors and numbers, as torch writes them: written whole, read without running what they say."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from searcher.artifacts import replacing
from searcher.errors import SearcherError

# What damaged archives and pickles raise, by way of torch and the pickle machine.
DAMAGE = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save_tensors(content: object, path: Path, title: str) -> None:
    """Write tensors and plain numbers atomically; equal content gives equal files.

    Args:
        content: what torch.load reads with `weights_only=True`.
        path: the file.
        title: what a user calls it, such as `trained reference`.

    Raises:
        SearcherError: the file cannot be written.
    """
    stored = tensor_bytes(content)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(stored)
    except OSError as e:
        raise SearcherError(f"cannot save the {title} at {path}: {e.strerror or e}") from e


def tensor_bytes(content: object) -> bytes:
    """Return what `save_tensors` writes."""
    # torch.save writes a file's own name into it; by way of memory, equal weights give equal files.
    memory = io.BytesIO()
    torch.save(content, memory)
    return memory.getvalue()


def parse_tensors(content: bytes) -> object:
    """Return what the bytes of such a file hold, in the computer's own memory.

    Raises:
        ValueError: they hold something else than plain tensors and numbers, or are damaged.
    """
    try:
        stored: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except DAMAGE as e:
        raise ValueError("no file of plain tensors") from e
    return stored
