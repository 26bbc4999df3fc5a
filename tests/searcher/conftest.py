"""Fixtures of the host's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.history.history import History


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """A history of this test's own, which what it runs writes too."""
    monkeypatch.setenv("PROFILER_HISTORY", str(tmp_path / "history.sqlite"))
    return History()
