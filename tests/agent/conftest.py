"""Fixtures of the agent's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler_agent.records import JobBlock
from tests.agent.fakes import block_of


@pytest.fixture
def blocks(tmp_path: Path) -> tuple[JobBlock, ...]:
    return tuple(block_of(tmp_path / name, name) for name in ("a", "b", "c", "d", "e"))
