"""What a device says of itself when the agent there is asked: `agent info` and `agent doctor`, parsed strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from profiler_agent.records import Environment
from searcher.devices.deploy import DevicePython
from searcher.devices.transport import Transport, TransportError, printable, whole_answer

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class DeviceInfo:
    """What a device is.

    Attributes:
        device_fingerprint: names what it is.
        environment: its processors, and the state that they are in.
        runtimes: by identifier, the version that works there, or why none does; empty if they were not tried.
        working_runtimes: those that open a session.
        sensors: by name what each reads; None for one that tells nothing.
        disk_free_bytes: room where the agent lies; None if that is not told.
    """

    device_fingerprint: str
    environment: Environment
    runtimes: Mapping[str, str]
    working_runtimes: tuple[str, ...]
    sensors: Mapping[str, str | None] = field(default_factory=dict)
    disk_free_bytes: int | None = None


@dataclass(frozen=True)
class Finding:
    """One finding of the doctor: `ok`, `disturbs` or `unknown`, in a sentence, and the command that mends it."""

    check: str
    verdict: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class _Diagnosis:
    findings: tuple[Finding, ...]


def ask_info(transport: Transport, python: DevicePython, *, runtimes: bool = True) -> DeviceInfo:
    """Ask a device what it is.

    Args:
        transport: the way there.
        python: what runs the agent there.
        runtimes: whether each runtime is to be tried, which takes seconds on slow boards.

    Raises:
        TransportError: the agent does not run there, or its answer is none.
    """
    return _asked(transport, python, ("info", "--json", *(() if runtimes else ("--no-runtimes",))), DeviceInfo)


def ask_doctor(transport: Transport, python: DevicePython) -> tuple[Finding, ...]:
    """Ask what would disturb a measurement there.

    Raises:
        TransportError: the agent does not run there, or its answer is none.
    """
    return _asked(transport, python, ("doctor", "--json"), _Diagnosis).findings


def _asked(transport: Transport, python: DevicePython, arguments: Sequence[str], kind: type[Answer]) -> Answer:
    lines = whole_answer(python.run_agent(transport, arguments))
    try:
        told: Any = json.loads("\n".join(lines))
        return TypeAdapter(kind).validate_python(told)
    except (ValueError, RecursionError, ValidationError) as e:
        start = printable(lines[0])[:60] if lines else "nothing"
        raise TransportError(
            f"{transport.description} was asked for `agent {arguments[0]}` and gave no such answer, but {start!r}"
        ) from e
