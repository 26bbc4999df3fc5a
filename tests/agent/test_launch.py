"""Workers as real processes that crash, hang, talk nonsense, or lose their agent."""

from __future__ import annotations

import time

import pytest

from profiler_agent import launch
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.orders import PROBE, Ready, WorkOrder
from profiler_agent.records import Settings

ORDER = WorkOrder("onnxruntime", Settings(timeout_s=20.0), (), task=PROBE)


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(launch, "RUN_WORKER", program)


def test_a_real_worker_gets_ready_and_ends() -> None:
    (ready,) = launch_worker(ORDER)
    assert isinstance(ready, Ready)
    assert ready.provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("import sys; sys.exit('out of luck')", "ended with status 1: out of luck"),
        ("print('Segmentation fault')", "answer is unreadable"),
        ('print(\'{"reply": "gossip"}\')', "unknown reply"),
        ("import os; os.write(1, b'\\xff\\xfe')", "unreadable"),
    ],
)
def test_a_worker_that_fails_is_a_crash_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, program: str, complaint: str
) -> None:
    run_instead(monkeypatch, program)
    with pytest.raises(WorkerCrash, match=complaint) as caught:
        list(launch_worker(ORDER))
    assert caught.value.code == "crashed"


def test_a_worker_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "import time; time.sleep(60)")
    order = WorkOrder("onnxruntime", Settings(timeout_s=0.3), (), task=PROBE)
    start = time.monotonic()
    with pytest.raises(WorkerCrash, match="gave no answer for") as caught:
        list(launch_worker(order))
    assert caught.value.code == "hung"
    assert time.monotonic() - start < 10
