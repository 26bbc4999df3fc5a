"""What a check finds, and what it is given to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, List, Optional, Tuple

from profiler_agent.processes import Usage

OK, DISTURBS, UNKNOWN = "ok", "disturbs", "unknown"
_NAME_SIGNS = 40


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        check: name of what was looked at, such as `governor`.
        verdict: `ok`, `disturbs`, or `unknown` where the machine denies access or does not tell.
        sentence: for people.
        remedy: the command that mends it; empty where there is none.
    """

    check: str
    verdict: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Examined:
    """The machine under examination: its files, and what could only be learnt by waiting or asking.

    Attributes:
        root: of the file system.
        affinity: the processors that will be measured on; None for all.
        usage: what everybody did during the sample; None where the kernel does not tell.
        throttles: how often an x86 processor has slowed itself for heat since boot, or None.
        throttled_now: whether one did during the sample.
        firmware_bits: what a Raspberry Pi's firmware tells of throttling, or None.
    """

    root: Path
    affinity: Optional[Tuple[int, ...]]
    usage: Optional[Usage]
    throttles: Optional[int]
    throttled_now: bool
    firmware_bits: Optional[int]


def listed(things: Iterable[object]) -> str:
    """Return things as a list for people."""
    return ", ".join(map(str, things))


def printable(text: str) -> str:
    """Return a name that somebody else has chosen as one short line without control characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:_NAME_SIGNS])


def processors_of(text: Optional[str]) -> Optional[Tuple[int, ...]]:
    """Parse the kernel's list of processors, such as `0-3,8` or `0 1 2`; None where it is none."""
    found: List[int] = []
    for part in (text or "").replace(",", " ").split():
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) <= 5 for end in ends):
            return None
        found += range(int(ends[0]), int(ends[1]) + 1)
    return tuple(found) or None
