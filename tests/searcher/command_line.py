"""The `searcher` command in this process, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from searcher.cli import application


class Outcome(NamedTuple):
    """Exit status, standard output and standard error of one command."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Run:
    """Runs the command with arguments."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as exit_info:
            application.run([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        code = exit_info.value.code
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)


def assert_one_sentence(outcome: Outcome, status: int, part: str) -> None:
    """Check that a command failed as commands fail."""
    assert outcome.status == status, outcome.err
    assert part in outcome.err
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("searcher: ")
    assert part in last
    assert "Traceback" not in outcome.err
