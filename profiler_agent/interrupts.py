"""Interrupts that are not lost.

Python drops an exception that a signal raises in a finalizer or a weak reference's callback, and goes on.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Optional

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_asked = False


def raise_on_interrupts() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt from now on: only an exception runs the clean-up."""
    global _asked
    _asked = False
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _show_unraisable


def end_on_interrupts() -> None:
    """Let SIGINT and SIGTERM end the process at once from now on."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def check() -> None:
    """Raise the interrupt that came, if Python dropped it: whatever takes long asks before each step.

    Raises:
        KeyboardInterrupt: somebody wants an end.
    """
    if _asked:
        raise KeyboardInterrupt


def _show_unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """Tell of an exception that Python drops, unless it is an interrupt: that one will be raised again."""
    if dropped.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(dropped)


def _interrupt(_number: int, _frame: Optional[FrameType]) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
