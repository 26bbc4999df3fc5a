"""What becomes of datasets that are there: parts of them, and operators of whole models that join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from searcher.artifacts import utc_now
from searcher.errors import BadInputError
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_card import AddedReport, Conditions, DatasetCard, card_beside, card_path, save_card
from searcher.tables.dataset_file import read_dataset, write_dataset
from searcher.tables.dataset_groups import held_out
from searcher.tables.operator_kernels import operator_rows_of
from searcher.tables.operators import Source
from searcher.workflows.dataset_store import opened


def part_paths(dataset: Path) -> tuple[Path, Path]:
    """Return where the parts of a dataset go unless the user says: FILE.train.csv and FILE.test.csv."""
    train, test = (dataset.with_name(f"{dataset.stem}.{part}{dataset.suffix}") for part in ("train", "test"))
    return train, test


def split_dataset(
    dataset: Path, test_share: float, seed: int, parts: tuple[Path, Path], *, overwrite: bool = False
) -> tuple[DatasetCard, DatasetCard]:
    """Write two parts of a dataset, each with a card; near-duplicates stay together.

    Args:
        dataset: the file; left as it is.
        test_share: of each type's kernels in the second part, between 0 and 1.
        seed: of the choice.
        parts: the files for training and for testing.
        overwrite: replace files that are there.

    Returns:
        The cards of both.

    Raises:
        BadInputError: the dataset cannot be read or split, or a file is there already or cannot be written.
    """
    if len({path.resolve() for path in (dataset, *parts)}) < 3:
        raise BadInputError("a dataset and its two parts are three different files")
    for path in parts:
        if not overwrite and (path.exists() or card_path(path).exists()):
            raise BadInputError(f"{path} or its card is there already; --overwrite replaces both")
    rows, card = read_dataset(dataset), card_beside(dataset, utc_now())
    chosen = held_out([row.spec for row in rows], test_share, np.random.default_rng(seed))
    told = []
    for path, wanted, name in zip(parts, (False, True), ("training", "test"), strict=True):
        part = [row for row, held in zip(rows, chosen.tolist(), strict=True) if held is wanted]
        write_dataset(part, path)
        origin = (
            f"{dataset.name} (sha256 {card.file_sha256 or 'unknown'}): {name} part, share {test_share:g}, seed {seed}"
        )
        told.append(save_card(replace(card, part_of=origin), part, path, utc_now()))
    return told[0], told[1]


def add_operators(dataset: Path, sources: Sequence[Source]) -> tuple[DatasetCard, list[AddedReport]]:
    """Let the operators of models join a dataset, or begin one: estimates, marked as such.

    Args:
        dataset: the file, made if it is not there.
        sources: reports of `agent ops`.

    Returns:
        The card, and what became of each report.

    Raises:
        BadInputError: the file is no dataset, a report's rows are in it already or it is given twice, no operator is a
            kernel, or the file cannot be written.
    """
    found: dict[str, tuple[Source, list[KernelRow], AddedReport]] = {}
    with opened(dataset) as store:
        # All are looked at before one joins: who tries again would be told that it is there already.
        for source in sources:
            rows, left_out = operator_rows_of(source)
            if not rows:
                raise BadInputError(f"no operator of {source.report.model} is a kernel: {_reasons(left_out)}")
            told = AddedReport(source.report.model, source.sha256, len(rows), left_out)
            store.require_new(told)
            if source.sha256 in found:
                raise BadInputError(f"{source.report.model} is given twice (report {source.sha256[:12]})")
            found[source.sha256] = source, rows, told
        for source, rows, told in found.values():
            report = source.report
            store.add_report(rows, told, Conditions(report.key, 0, None, report.agent_version, report.environment, {}))
        return store.card, [told for _, _, told in found.values()]


def _reasons(left_out: dict[str, int]) -> str:
    return "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it has none"
