"""Waiting until what was done is on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Wait until a change of names in a folder is on the disk.

    Raises:
        OSError: the folder cannot be read.
    """
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
