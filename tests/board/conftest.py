"""Boards for tests: where none can be emulated they are skipped, unless one is required."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.board.board import Board
from tests.board.root_folder import NoBoardError, board_root
from tests.loopback_sshd import NoSshdError


@pytest.fixture
def board_of(tmp_path: Path) -> Iterator[Callable[[str], Board]]:
    """Start a board with a release of Debian; `$PROFILER_REQUIRE_BOARD` = 1 turns a skip into a failure."""
    with ExitStack() as boards:

        def start(suite: str) -> Board:
            try:
                return boards.enter_context(Board(tmp_path / "board", board_root(suite)))
            except (NoBoardError, NoSshdError) as e:
                if os.environ.get("PROFILER_REQUIRE_BOARD") == "1":
                    pytest.fail(str(e))
                pytest.skip(str(e))

        yield start
