"""Where the shares of a table lie, each with its journal: beside the table, in a folder for each run.

What belongs to the table that is there stays until another table replaces it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from searcher.errors import BadInputError

_RUN = "run-"


def shares_folder(table: Path) -> Path:
    """Return where the shares of a table lie."""
    return table.with_name(f"{table.name}.boards")


def folder_of_run(table: Path, resume: bool) -> Path:
    """Return the folder of a new run, which is made, or that of the latest, which goes on.

    Args:
        table: the table that is shared.
        resume: whether the latest run goes on, if there is one.

    Raises:
        BadInputError: it cannot be made.
    """
    earlier = _runs(table)
    if resume and earlier:
        return earlier[-1]
    folder = shares_folder(table) / f"{_RUN}{_number(earlier[-1]) + 1 if earlier else 1}"
    try:
        folder.mkdir(parents=True)
    except OSError as e:
        raise BadInputError(f"cannot make the folder {folder}: {e.strerror or e}") from e
    return folder


def _runs(table: Path) -> list[Path]:
    """Return the folders of all runs, the latest last."""
    folders = (path for path in shares_folder(table).glob(f"{_RUN}*") if _number(path) > 0)
    return sorted(folders, key=_number)


def _number(run: Path) -> int:
    digits = run.name.removeprefix(_RUN)
    return int(digits) if digits.isdecimal() else 0


def forget_earlier_runs(table: Path, run: Path) -> None:
    """Remove the shares of tables that this run's has replaced; the history still has all that was measured."""
    for folder in _runs(table):
        if _number(folder) < _number(run):
            shutil.rmtree(folder, ignore_errors=True)
