"""Fixtures that tests of several rooms share: where the public data lies, and a history that is not the user's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast the machine is just now says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Tests that run in the background of a shell, or under nohup, and all that they start, would ignore interrupts.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler)

# Files are handed to processes whole: the longest, begun last, would be waited for.
_LONGEST_FILES = (
    *("test_end_to_end.py", "test_board.py", "test_faults.py", "test_jobs_over_ssh.py", "test_killed_searches.py"),
    *("test_demo.py", "test_kernel_predictor.py"),
)

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: item.path.name not in _LONGEST_FILES)


@pytest.fixture(scope="session", autouse=True)
def _history_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests, and what they start, out of the user's own history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROFILER_HISTORY", str(tmp_path_factory.mktemp("history") / "history.sqlite"))
        yield


@pytest.fixture(scope="session")
def tflite_runtime_environment() -> dict[str, str]:
    """Environment variables with which this Python has tflite-runtime; skips where the host's packages are missing."""
    prepare = pytest.importorskip("searcher.devices.prepare")
    return {**os.environ, **prepare.local_variables("tflite-runtime")}


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data: `$PROFILER_DATA`, else the one beside the checkout; skips where there is none."""
    chosen = os.environ.get("PROFILER_DATA")
    folder = Path(chosen) if chosen else _BESIDE_THE_CHECKOUT
    if not folder.is_dir():
        pytest.skip(f"the public data is not at {folder}: set PROFILER_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def data_file(data_dir: Path) -> Callable[[str], Path]:
    """Find a file of the public data by its name; skips where it is missing."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.is_file():
            pytest.skip(f"the public data at {data_dir} lacks {name}")
        return path

    return find


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: small networks are slower on several, above all where other programs run."""
    threads = pytest.importorskip("searcher.search.scores.threads")
    with threads.one_thread():
        yield
