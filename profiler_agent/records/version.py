"""The version that every file and every first line carries. History: 1, the first."""

from __future__ import annotations

from profiler_agent.decoding import quoted
from profiler_agent.errors import RecordError

SCHEMA_VERSION = 1


def check_version(version: object, what: str) -> None:
    """Refuse a document of a version that this code does not know.

    Raises:
        RecordError: it does not.
    """
    if version != SCHEMA_VERSION:
        raise RecordError(f"{what} has schema version {quoted(version)}; this version reads {SCHEMA_VERSION}")
