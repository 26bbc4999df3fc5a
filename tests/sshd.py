"""The loopback SSH server as tests use it: where there is none they are skipped, unless one is required."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loopback_sshd import LoopbackSshd, NoSshdError


def sshd_or_skip(folder: Path, *, sftp: str | None = None) -> LoopbackSshd:
    """Return a server to start; `$PROFILER_REQUIRE_SSHD` = 1 turns the skip into a failure."""
    try:
        return LoopbackSshd(folder, sftp=sftp)
    except NoSshdError as e:
        if os.environ.get("PROFILER_REQUIRE_SSHD") == "1":
            pytest.fail(str(e))
        pytest.skip(str(e))
