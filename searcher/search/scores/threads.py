"""Torch on so many threads: what is computed on one does not depend on how many processors there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch's operations use so many threads each, in threads that are begun meanwhile too."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch's operations use one thread each, in threads that are begun meanwhile too."""
    with threads(1):
        yield
