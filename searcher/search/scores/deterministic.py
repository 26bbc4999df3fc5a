"""Torch's settings while something is computed that must come out the same again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# cuBLAS gives equal products on every call with either of two workspaces; this is the larger one.
_WORKSPACE, _FIXED = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextmanager
def deterministic() -> Iterator[None]:
    """Use algorithms alone that give the same again, chosen without trial, and whole fp32 instead of TF32.

    Where torch has no such algorithm it raises a RuntimeError. Everything is as before afterwards, but for cuBLAS: it
    reads its setting once and keeps it.
    """
    workspace = os.environ.get(_WORKSPACE)
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    precision = torch.get_float32_matmul_precision()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined] # of its module's class
    os.environ[_WORKSPACE] = workspace or _FIXED
    try:
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("highest")
        # Nothing here reads memory before it is written, so that filling it would be work for nothing.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # as above
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined] # as above
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
