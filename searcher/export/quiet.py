"""Keeps what exporters and converters print, log and warn of away from the user."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

_STANDARD_ERROR = 2


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let the body print nothing and warn of nothing; if it fails, what it said on standard error is shown.

    Standard error is the whole process's: C++ code writes to it past Python, and what other threads say meanwhile goes
    the same way.
    """
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _standard_error_aside():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)


@contextlib.contextmanager
def _standard_error_aside() -> Iterator[None]:
    _flush()
    with tempfile.TemporaryFile() as aside:
        kept = os.dup(_STANDARD_ERROR)
        os.dup2(aside.fileno(), _STANDARD_ERROR)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)
            if failed:
                aside.seek(0)
                os.write(_STANDARD_ERROR, aside.read())


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
