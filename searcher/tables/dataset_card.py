"""The card beside a dataset: where its rows come from, how they were drawn, and how far they may be trusted.

History of the schema:
2: domains tell small images and how operands are repeated.
1: the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from profiler_agent.records import Environment, TableKey
from searcher.artifacts import sha256_of
from searcher.documents import Document
from searcher.errors import BadInputError
from searcher.spaces.kernel_domain import DOMAINS, Domain, Limits
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_errors import FreshError, fresh_errors

SCHEMA_VERSION = 2

KNOWN_LIMITS = (
    "Weights are random: where latency depends on values (sparsity, subnormal numbers), trained ones may differ.",
    "A kernel was measured alone and back to back: its inputs lie in caches, which a large network may take from it.",
    "The latency of a row holds one call of the runtime; kernels much shorter than a call drown in its noise.",
    "Only random rows tell of the whole domain: those drawn near errors or near a space are denser where those are.",
    "Files of fp16 and int8 are calibrated on random numbers: they take as long as others, but compute nothing of use.",
    "Estimates from whole models' operators (origin operators) were not measured alone and hold no call.",
)


@dataclass(frozen=True)
class Draw:
    """One build that drew kernels.

    Attributes:
        created: UTC date and time, ISO 8601.
        seed: of the draws.
        types: that were drawn.
        points: wanted of each type.
        target_pct: mean error on fresh random kernels at which a type is left; None for no such target.
        space: near whose kernels was drawn, too; None for none.
        limits: the most that a kernel could be.
    """

    created: str
    seed: int
    types: tuple[str, ...]
    points: int
    target_pct: float | None
    space: str | None
    limits: Limits


@dataclass(frozen=True)
class Conditions:
    """Under which some rows were measured.

    Attributes:
        key: the table key of those rows.
        rows: how many they are.
        device: how the user called the device; None for rows of `agent ops`, whose reports do not tell.
        agent_version: version of the agent that measured.
        environment: the machine and its state when the latest job began.
        exporter_versions: of the packages that wrote the files.
        failures: kernels that could not be measured, and why.
        calibration: what files of fp16 and int8 were calibrated on; None for fp32.
    """

    key: TableKey
    rows: int
    device: str | None
    agent_version: str
    environment: Environment | None
    exporter_versions: Mapping[str, str]
    failures: Mapping[str, str] = field(default_factory=dict)
    calibration: str | None = None


@dataclass(frozen=True)
class Count:
    """How many rows there are of a type and an origin."""

    kernel_type: str
    origin: str
    rows: int


@dataclass(frozen=True)
class AddedReport:
    """A report of `agent ops` whose operators became rows.

    Attributes:
        model: name of the model.
        sha256: of the report.
        rows: operators that became rows.
        left_out: how many operators did not, by the reason.
    """

    model: str
    sha256: str
    rows: int
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class DatasetCard:
    """What is to be known of a dataset.

    Attributes:
        file: name of the dataset's file.
        file_sha256: of its bytes.
        updated: UTC date and time of its last change, ISO 8601.
        rows: how many there are.
        counts: rows by type and origin.
        draws: the builds that drew kernels, in order.
        domain: what kernels of each drawn type were drawn from.
        conditions: one for each table key.
        fresh_errors: how wrong predictions of fresh random kernels were, by round.
        added_reports: where estimates come from.
        part_of: for a part of another dataset: which, and which part; else None.
        licence: under which the file may be used; whoever publishes it writes that here, and it is kept.
        known_limits: what the rows do not tell.
    """

    file: str
    file_sha256: str
    updated: str
    rows: int
    counts: tuple[Count, ...]
    draws: tuple[Draw, ...]
    domain: Mapping[str, Domain]
    conditions: tuple[Conditions, ...]
    fresh_errors: tuple[FreshError, ...]
    added_reports: tuple[AddedReport, ...] = ()
    part_of: str | None = None
    licence: str | None = None
    known_limits: tuple[str, ...] = KNOWN_LIMITS
    schema_version: int = SCHEMA_VERSION

    def conditions_of(self, key: TableKey) -> Conditions | None:
        """Return what is known of the rows of a key; None if there are none."""
        return next((one for one in self.conditions if one.key == key), None)


CARD_DOCUMENT = Document(
    DatasetCard, "data card", SCHEMA_VERSION, "move it away, and one that follows from the rows is written"
)


def card_path(dataset: Path) -> Path:
    """Return where the card of a dataset lies: beside it."""
    return dataset.with_name(f"{dataset.name}.card.json")


def empty_card(dataset: Path, updated: str) -> DatasetCard:
    """Return the card of a dataset of which nothing is known yet."""
    return DatasetCard(dataset.name, "", updated, 0, (), (), {}, (), ())


def card_beside(dataset: Path, updated: str) -> DatasetCard:
    """Return the card beside a dataset, an empty one where there is none.

    Raises:
        BadInputError: what lies there is no card, or has another schema version.
    """
    path = card_path(dataset)
    return CARD_DOCUMENT.load(path) if path.exists() else empty_card(dataset, updated)


def save_card(card: DatasetCard, rows: Sequence[KernelRow], dataset: Path, updated: str) -> DatasetCard:
    """Write the card of a dataset that was just written, with all that follows from its rows; return it.

    Raises:
        BadInputError: the card cannot be written, or the dataset not be read.
    """
    counted = Counter((row.kernel_type, row.origin) for row in rows)
    of_key = Counter(row.key for row in rows)
    known = [replace(one, rows=of_key[one.key]) for one in card.conditions if of_key[one.key]]
    unknown = [
        Conditions(key, count, None, "", None, {}) for key, count in of_key.items() if card.conditions_of(key) is None
    ]
    drawn = sorted({name for draw in card.draws for name in draw.types if name in DOMAINS})
    try:
        sha256 = sha256_of(dataset)
    except OSError as e:
        raise BadInputError(f"cannot read the dataset {dataset}: {e.strerror or e}") from e
    whole = replace(
        card,
        file=dataset.name,
        file_sha256=sha256,
        updated=updated,
        rows=len(rows),
        counts=tuple(Count(*place, count) for place, count in sorted(counted.items())),
        # A domain that an earlier version drew from stays what it was.
        domain={**{name: DOMAINS[name] for name in drawn}, **card.domain},
        conditions=(*known, *unknown),
        fresh_errors=fresh_errors(rows),
    )
    CARD_DOCUMENT.save(whole, card_path(dataset))
    return whole
