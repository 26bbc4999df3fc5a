"""Profiling on a board that has python3 and an SSH server, and nothing else: from nothing to a complete table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler_agent.records import Settings
from searcher.cli import show
from searcher.devices import device as devices
from searcher.devices.counting import CountingTransport, Sent
from searcher.devices.device import Device
from searcher.devices.transport import Transport
from searcher.spaces.block import BlockSpec
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.profile_space import ProfileRequest, profile_space
from tests.board.board import Board
from tests.board.root_folder import PYTHONS


class FewBlocks(NasBench201):
    """A space of three blocks: under emulation each takes seconds."""

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        return super().all_blocks()[:3]


def profiled(board: Board, space: NasBench201, runtime: str, path: Path) -> tuple[LookupTable, int]:
    """Profile a space on a board; return the table that was written, and the bytes sent."""
    settings = Settings(runtime=runtime, rounds=1, samples=2, costs=False, min_sample_ns=1)
    device = Device(str(board.address), identity=board.identity, known_hosts=board.known_hosts)
    sent = Sent()

    def connect(device: Device) -> Transport:
        return CountingTransport(devices.connect(device), sent)

    show.run(profile_space(ProfileRequest(space, device, settings, path), connect))
    return TABLE_DOCUMENT.load(path), sent.total_bytes


@pytest.mark.parametrize(
    ("suite", "space", "runtime", "expected"),
    [
        ("bookworm", FewBlocks(), "onnxruntime", "onnxruntime"),
        pytest.param("bookworm", NasBench201(), "onnx", "onnxruntime", marks=pytest.mark.slow),
        pytest.param("bookworm", NasBench201(), "tflite", "litert", marks=pytest.mark.slow),
        pytest.param("bookworm", NasBench201(), "tflite-runtime", "tflite-runtime", marks=pytest.mark.slow),
        pytest.param("bullseye", NasBench201(), "onnx", "onnxruntime", marks=pytest.mark.slow),
        pytest.param("bullseye", NasBench201(), "litert", "litert", marks=pytest.mark.slow),
        pytest.param("bullseye", NasBench201(), "tflite-runtime", "tflite-runtime", marks=pytest.mark.slow),
    ],
)
def test_from_nothing_to_a_table_and_again_with_hardly_a_byte(
    suite: str, space: NasBench201, runtime: str, expected: str, board_of: Callable[[str], Board], tmp_path: Path
) -> None:
    board = board_of(suite)
    table, sent_bytes = profiled(board, space, runtime, tmp_path / "table.json")
    assert set(table.entries) == {block.key for block in space.all_blocks()}
    assert table.environment is not None
    assert table.environment.machine.architecture == "aarch64"
    assert table.environment.python.startswith(f"{PYTHONS[suite]}.")
    assert table.key.runtime == expected
    again, sent_again_bytes = profiled(board, space, runtime, tmp_path / "table.json")
    assert again.key == table.key
    print(f"{suite} {expected} {table.key.runtime_version}: {sent_bytes} bytes, then {sent_again_bytes}")
    assert sent_bytes > 1_000_000
    assert sent_again_bytes < sent_bytes / 100


def test_what_a_bare_board_lacks_is_one_sentence(board_of: Callable[[str], Board], tmp_path: Path) -> None:
    board = board_of("bookworm")
    command = [sys.executable, "-m", "searcher.cli", "profile", "--device", str(board.address)]
    command += ["--identity", str(board.identity), "--known-hosts", str(board.known_hosts), "--runtime-from", "system"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"searcher: python3 on {board.address} has no numpy: "
        "install it there, or let --runtime-from deploy bring the runtime"
    )
    assert not (board.home / ".cache" / "profiler-agent" / "packages").exists()
