"""Fixtures of the host's tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from searcher.history.history import History
from tests.searcher.command_line import Run


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """A history of this test's own, which what it runs writes too."""
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "history.sqlite"))
    return History()


@pytest.fixture
def searcher(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield Run(capsys)
    signal.signal(signal.SIGTERM, before)
