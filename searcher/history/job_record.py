"""One job as the history knows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.tables.plan import Plan

_REACH = TypeAdapter(Device)
# What the user may have named from the folder where the command was given; profiles have names too.
_FILES, _PROFILES = ("identity", "known_hosts", "ssh_config"), ("name", "profile_name")


class State(StrEnum):
    """What this host knows of a job; the device may know more by now."""

    EXPORTED = "exported"
    """It was written to a folder, to be carried to its device."""
    NOT_BEGUN = "not begun"
    """Its device was being prepared, and knows nothing of it; it can begin."""
    RUNNING = "running"
    """It was begun, and may be running on its device whether or not this host follows it."""
    STOPPED = "stopped"
    """Its agent was ended before it was done; it can go on."""
    LOST = "lost"
    """The device was lost and did not come back in time; the job can go on."""
    FINISHED = "finished"
    """Its table was made."""
    FAILED = "failed"
    """It came to its end without a table."""
    CANCELLED = "cancelled"
    """It was ended for good."""


UNFINISHED = (State.NOT_BEGUN, State.RUNNING, State.STOPPED, State.LOST)


@dataclass(frozen=True)
class JobRecord:
    """One job.

    Attributes:
        plan: what was asked, and what its table needs beside the events.
        reach: how to reach the device, as `written_reach` gives it; None where the job was carried there.
        table: where its table goes; None as long as nobody said.
        overwrite: whether a table of another key may be replaced.
        state: as this host knows it.
        begun: UTC date and time, ISO 8601.
        ended: the same; None while it goes on.
        table_created: what its table tells as the time when it was made; None before it is.
        sent_bytes: bytes of files that were sent to the device for it.
        sentence: why it failed, or None.
        agent_version: of the agent that said hello; like the next three None before it has.
        table_key: the key that it measured under, by field.
        environment: the machine and its state when the job began, by field.
        boot_id: which start of the machine it last ran in.
        events: how many of its events are kept.
        batches: how many of them are batches of samples.
    """

    plan: Plan
    reach: str | None
    table: Path | None
    overwrite: bool
    state: State
    begun: str
    ended: str | None
    table_created: str | None
    sent_bytes: int
    sentence: str | None
    agent_version: str | None
    table_key: Mapping[str, Any] | None
    environment: Mapping[str, Any] | None
    boot_id: str | None
    events: int
    batches: int

    @property
    def job_id(self) -> str:
        """The job's name on its device and here."""
        return self.plan.job_id

    @property
    def short_id(self) -> str:
        """The beginning of its name, as people type it."""
        return self.job_id[:8]

    @property
    def reached(self) -> dict[str, Any] | None:
        """How the device is reached, by field; None where the job was carried there."""
        return None if self.reach is None else json.loads(self.reach)

    def device(self) -> Device:
        """Return the device as the user named it.

        Raises:
            BadInputError: there is no way to it, or no longer: a key file was removed, say.
        """
        if self.reach is None:
            raise BadInputError(f"the job {self.short_id} was carried to its device: this host has no way to it")
        try:
            return _REACH.validate_json(self.reach)
        except ValidationError as e:
            raise BadInputError(f"the history holds no way to {self.plan.device} that this version knows") from e


def written_reach(device: Device) -> str:
    """Return how to reach a device as text, good in every folder; it holds names of files, never what is in them."""
    plain = _REACH.dump_python(device, mode="json")
    for field, value in plain.items():
        is_profile = field in _PROFILES and value is not None and value.endswith(".toml") and "://" not in value
        if value is not None and (field in _FILES or is_profile):
            plain[field] = str(Path(value).absolute())
    return json.dumps(plain)
