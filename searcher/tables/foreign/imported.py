"""The honest form of what others published: documents of the project that say how little is known of them.

A published table tells one figure for a block, at best with a count. So an imported entry has an interval of no width
and no confidence, no operators, one round, and has not converged; its key is `unknown` in all that was not published,
and its device fingerprint is made of the file's hash, so that it never mixes with measured tables or other files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from profiler_agent.records import TableKey
from searcher.errors import BadInputError
from searcher.tables.foreign.reading import ForeignFile, quote
from searcher.tables.lookup_table import Entry, ImportedFile, LookupTable, Provenance

UNKNOWN = "unknown"
PREFIX = "imported-"
"""What the spaces and device fingerprints of imported tables begin with."""
ONE_NS_MS = 1e-6
# Beyond it lies no measurement.
_LONGEST_MS = 1e9
_FINGERPRINT_DIGITS = 12


@dataclass(frozen=True)
class Figure:
    """What was published of one block.

    Attributes:
        latency_ms: in ms.
        samples: how many measurements it is made of; None where that was not told.
        energy_mj: of one inference, in mJ; None where that was not told.
    """

    latency_ms: float
    samples: int | None = None
    energy_mj: float | None = None


def unknown_key(file: ForeignFile, column: str | None) -> TableKey:
    """Return the key of a table whose conditions nobody told, different for each file and column."""
    fingerprint = f"{PREFIX}{file.sha256[:_FINGERPRINT_DIGITS]}"
    return TableKey(
        device_fingerprint=fingerprint if column is None else f"{fingerprint}-{column}",
        runtime=UNKNOWN,
        runtime_version=UNKNOWN,
        optimization=UNKNOWN,
        provider=UNKNOWN,
        precision=UNKNOWN,
        threads=0,
        affinity=UNKNOWN,
        spinning=False,
        cache=UNKNOWN,
        tuning=UNKNOWN,
    )


def imported_table(
    file: ForeignFile,
    origin: ImportedFile,
    space: str,
    device: str,
    created: str,
    figures: Mapping[str, Figure],
) -> LookupTable:
    """Return published figures as a lookup table.

    Args:
        file: that they come from.
        origin: the same as a table tells it.
        space: whose blocks these are, without the prefix.
        device: what the user calls the device.
        created: UTC date and time of the import, ISO 8601.
        figures: by the publisher's own names of blocks.

    Raises:
        BadInputError: there are none.
    """
    if not figures:
        raise BadInputError(f"{file.path} holds no latencies")
    return LookupTable(
        space=f"{PREFIX}{space}",
        key=unknown_key(file, origin.column),
        environment=None,
        provenance=Provenance(
            created=created,
            device=device,
            agent_version=UNKNOWN,
            journal_sha256=None,
            versions={},
            imported_from=origin,
        ),
        entries={block: _entry(figure) for block, figure in sorted(figures.items())},
    )


def _entry(figure: Figure) -> Entry:
    return Entry(
        median_ms=figure.latency_ms,
        interval_ms=(figure.latency_ms, figure.latency_ms),
        confidence=0.0,
        rounds=1,
        samples=figure.samples or 1,
        converged=False,
        operations=(),
        model_sha256=UNKNOWN,
        energy_mj=figure.energy_mj,
    )


def foreign_latency_ms(file: ForeignFile, line: int, text: str) -> float:
    """Read a latency in ms.

    Raises:
        BadInputError: the text is none, or tells what no table can hold; the message names file and line.
    """
    try:
        latency_ms = float(text)
    except ValueError as e:
        raise file.problem(line, f"{quote(text)} is no latency in ms") from e
    problem = latency_problem(latency_ms)
    if problem is not None:
        raise file.problem(line, problem)
    return latency_ms


def latency_problem(latency_ms: float) -> str | None:
    """Say why a number is no latency; None if it is one. Oddly small ones are the publisher's business."""
    if not math.isfinite(latency_ms):
        return f"{latency_ms} is no latency"
    if latency_ms <= 0:
        return f"a latency is positive, not {latency_ms:g} ms"
    if latency_ms > _LONGEST_MS:
        return f"nothing takes {latency_ms:g} ms"
    return None
