"""How much memory a model may take, from recorded trees, and the bound that a worker puts on itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from profiler_agent.memory_bound import available_bytes

MIB = 2**20
_BOUND = """
import sys
from pathlib import Path
from profiler_agent.memory_bound import bound_own_memory
bound_own_memory(Path(sys.argv[1]))
taken = [bytes(10 * 2**20)]
try:
    taken.append(bytes(400 * 2**20))
except MemoryError:
    print("refused")
else:
    print("granted")
"""


def recorded(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMORY = {"proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable: 204800 kB\n"}
GROUP = {
    "proc/self/cgroup": "0::/job\n",
    "sys/fs/cgroup/job/memory.max": f"{150 * MIB}\n",
    "sys/fs/cgroup/job/memory.current": f"{30 * MIB}\n",
}


@pytest.mark.parametrize(
    ("files", "available"), [(MEMORY, 200 * MIB), (GROUP, 120 * MIB), ({**MEMORY, **GROUP}, 120 * MIB), ({}, None)]
)
def test_available_is_what_the_tightest_limit_leaves(
    files: dict[str, str], available: int | None, tmp_path: Path
) -> None:
    assert available_bytes(recorded(tmp_path, files)) == available


@pytest.mark.parametrize(("files", "answer"), [(MEMORY, "refused\n"), ({}, "granted\n")])
def test_a_bound_process_gets_no_more_than_there_is(files: dict[str, str], answer: str, tmp_path: Path) -> None:
    root = recorded(tmp_path, {**files, "proc/self/status": "VmData:\t20480 kB\n"})
    command = [sys.executable, "-c", _BOUND, str(root)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == answer
