"""A lookup table: what each block costs on one device, with its uncertainty and where it comes from.

One readable JSON document, entries sorted, so that the difference of two tables reads well.
History of the schema: 1, the first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from profiler_agent.records import Environment, TableKey
from searcher.documents import Document
from searcher.errors import BadInputError

SCHEMA_VERSION = 1
# Eleven days: beyond it lies no measurement, and sums of many blocks would end as infinity.
_LONGEST_MS = 1e9


class KeyMismatchError(BadInputError):
    """Two sets of measurements were taken under different conditions and must not mix."""


class MissingBlockError(BadInputError):
    """A table lacks a block that an architecture needs."""


@dataclass(frozen=True)
class Entry:
    """What one block costs.

    Attributes:
        median_ms: median latency of one inference, the runtime's call included, in ms.
        interval_ms: distribution-free interval of that median, in ms.
        confidence: the probability that the interval covers it; below 0.95 where rounds were few.
        rounds: fresh processes that measured it.
        samples: raw samples over all rounds.
        converged: whether the interval is as narrow as the job asked.
        operations: operators of the graph as the runtime optimised it.
        model_sha256: hash of the model file that was measured.
        peak_memory_bytes: what opening and running it added at most to a process's resident memory; None if unknown.
        file_bytes: size of the model's files; None in tables of before costs were measured.
        energy_mj: energy of one inference above the idle machine, in mJ; None where no power is told.
        occurrences: None for a block that was measured by itself. For an operator's entry, which is an estimate from
            the latency of whole models: how many operators the median is of; the interval is their range, and the
            call is no part of it.
        numerical_error: how far the file's outputs on real inputs are from those of its fp32 file, relative to them,
            by Euclidean norms; None for fp32.
        predicted_by: None for a block that was measured. For one that a predictor was asked for: the hash of the
            predictor's file. Nothing was measured then, in no rounds; median, interval and confidence are the
            predictor's, and `operations` the kernels whose estimates were added up, empty where the block has a model
            of its own.
    """

    median_ms: float
    interval_ms: tuple[float, float]
    confidence: float
    rounds: int
    samples: int
    converged: bool
    operations: tuple[str, ...]
    model_sha256: str
    peak_memory_bytes: int | None = None
    file_bytes: int | None = None
    energy_mj: float | None = None
    occurrences: int | None = None
    numerical_error: float | None = None
    predicted_by: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no measurement can give, so that nothing computed from a table has to doubt it.

        Raises:
            ValueError: a value is out of its range.
        """
        low, high = self.interval_ms
        if not (math.isfinite(self.median_ms) and self.median_ms > 0):
            raise ValueError(f"a median latency is positive, not {self.median_ms} ms")
        if not (math.isfinite(high) and 0 < low <= high):
            raise ValueError(f"an interval goes from a positive low to a high, not from {low} to {high} ms")
        if max(self.median_ms, high) > _LONGEST_MS:
            raise ValueError(f"no block takes {max(self.median_ms, high):g} ms")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")
        if self.predicted_by is not None:
            if self.rounds or self.samples or self.converged:
                raise ValueError(f"a block that was measured in {self.rounds} rounds is not predicted")
        elif self.rounds < 1 or self.samples < 1:
            raise ValueError(f"nothing was measured in {self.rounds} rounds with {self.samples} samples")
        if any(cost is not None and cost < 0 for cost in (self.peak_memory_bytes, self.file_bytes)):
            raise ValueError("a size is not negative")
        if self.energy_mj is not None and not (math.isfinite(self.energy_mj) and self.energy_mj > 0):
            raise ValueError(f"an energy is positive, not {self.energy_mj} mJ")
        if self.numerical_error is not None and not 0 <= self.numerical_error < math.inf:
            raise ValueError(f"a numerical error is a norm, not {self.numerical_error}")


@dataclass(frozen=True)
class Share:
    """What one of several boards of a kind measured of a table.

    Attributes:
        board: its name.
        device: the name by which the user reached it.
        table: file of its share, relative to the folder of the whole table.
        journal_sha256: hash of the journal beside that file.
        blocks: keys of the blocks that the whole table takes from it.
        sentinel_ms: latency of the agent's sentinel there, in ms.
        sentinel_off_pct: how far that is from the sentinel that the boards were compared with, in percent.
    """

    board: str
    device: str
    table: str
    journal_sha256: str
    blocks: tuple[str, ...]
    sentinel_ms: float
    sentinel_off_pct: float


@dataclass(frozen=True)
class ImportedFile:
    """The file that a table was imported from.

    Attributes:
        file: its name.
        sha256: of its bytes, as they lay on the disk.
        format: how it was read, such as `hw-nas-bench`.
        column: which of its figures, such as `raspi4_latency`; None where there is one for each block.
        statistic: what a figure is, such as `mean`: not every publisher tells medians.
    """

    file: str
    sha256: str
    format: str
    column: str | None
    statistic: str


@dataclass(frozen=True)
class MergedPart:
    """A table whose entries became part of another (`searcher lut merge`).

    Attributes:
        file: its name.
        sha256: of its bytes.
        created: UTC date and time, ISO 8601.
        device: the name by which its user reached the device.
        agent_version: version of the agent that measured.
        journal_sha256: hash of its journal, which was left where it was; None where there was none.
        sentinel_ms: latency of the agent's sentinel in its job, in ms; None if unknown.
        blocks: keys of the entries that are taken from it, sorted.
        imported_from: None unless it had been imported.
    """

    file: str
    sha256: str
    created: str
    device: str
    agent_version: str
    journal_sha256: str | None
    sentinel_ms: float | None
    blocks: tuple[str, ...]
    imported_from: ImportedFile | None = None


@dataclass(frozen=True)
class Provenance:
    """Where a table comes from.

    Attributes:
        created: UTC date and time, ISO 8601.
        device: the name by which the user reached the device.
        agent_version: version of the agent that measured.
        journal_sha256: hash of the journal with all raw samples; None for a table of estimates, for one that several
            boards share, for one that was merged, and for one that was imported from a file that names no journal.
        versions: versions of the packages that exported the blocks.
        estimated_from: None for a table of measured blocks. For one of estimates (`searcher lut build`): the models
            whose operators they are, each with the hash of its report.
        calibration: the data, and the activations made of it, that quantised blocks were calibrated and judged on;
            None for fp32.
        shares: for a table that several boards share: who measured what, each with a journal; else None.
        merged_from: for a table that was merged from others: what is taken from each; else None.
        imported_from: for a table that was imported: the file, which is all that is known of it; else None.
        predictors: for a table with predicted entries: the files of what predicted them, each with its hash; else None.
    """

    created: str
    device: str
    agent_version: str
    journal_sha256: str | None
    versions: Mapping[str, str]
    estimated_from: Mapping[str, str] | None = None
    calibration: str | None = None
    shares: tuple[Share, ...] | None = None
    merged_from: tuple[MergedPart, ...] | None = None
    imported_from: ImportedFile | None = None
    predictors: Mapping[str, str] | None = None


@dataclass(frozen=True)
class LookupTable:
    """Measured blocks, and perhaps predicted ones, of one space under one key.

    Attributes:
        environment: the machine and its state when the job began; None for an imported table.
        sentinel_ms: latency of the agent's sentinel when these blocks were measured, in ms: what is measured later
            is comparable while the sentinel is as fast. None if the job had too few readings.
        noise_floor_pct: by how much single readings of the sentinel differed on the steady machine, in percent: an
            interval narrower than that rests on many rounds, not on a quiet machine. None like `sentinel_ms`.
    """

    space: str
    key: TableKey
    environment: Environment | None
    provenance: Provenance
    entries: Mapping[str, Entry]
    sentinel_ms: float | None = None
    noise_floor_pct: float | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def predicted(self) -> tuple[str, ...]:
        """Keys of the blocks that were not measured but predicted."""
        return tuple(block for block, entry in self.entries.items() if entry.predicted_by is not None)

    def entry(self, block_key: str) -> Entry:
        """Return a block's entry.

        Raises:
            MissingBlockError: the table has none; absence is never a number.
        """
        try:
            return self.entries[block_key]
        except KeyError:
            raise MissingBlockError(f"the table has no entry for the block {block_key}") from None


def require_same_key(expected: TableKey, actual: TableKey) -> None:
    """Raise KeyMismatchError, naming what differs, unless two keys are equal."""
    different = key_differences(expected, actual)
    if different:
        raise KeyMismatchError(f"these measurements have another table key: {'; '.join(different)}")


def key_differences(expected: TableKey, actual: TableKey) -> list[str]:
    """Return in what two keys differ, each in a few words."""
    before, now = dataclasses.asdict(expected), dataclasses.asdict(actual)
    return [f"{name} was {before[name]!r}, is {now[name]!r}" for name in before if before[name] != now[name]]


TABLE_DOCUMENT = Document(LookupTable, "lookup table", SCHEMA_VERSION)
