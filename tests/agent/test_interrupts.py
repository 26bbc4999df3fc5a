"""An interrupt that Python drops is raised at the next step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.models import write_identity

_DYING = """
import os
import signal
from profiler_agent import interrupts

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        for _ in range(1000):
            pass

interrupts.raise_on_interrupts()
"""
_DROPPED = (
    _DYING
    + """
Dying()
print("went on", flush=True)
try:
    {step}
except KeyboardInterrupt:
    print("interrupted")
"""
)
# An agent that drops the interrupt while it waits for a worker's line.
_DROPPED_WAITING = (
    _DYING
    + """
import queue
from profiler_agent import launch
from profiler_agent.orders import PROBE, WorkOrder
from profiler_agent.records import Settings

class Queue(queue.SimpleQueue):
    def get(self, **options):
        Dying()
        return super().get(**options)

queue.SimpleQueue = Queue
launch.RUN_WORKER = {worker!r}
try:
    list(launch.launch_worker(WorkOrder("onnxruntime", Settings(timeout_s={timeout_s}), (), task=PROBE)))
except KeyboardInterrupt:
    print("interrupted")
"""
)
_CHECK = "interrupts.check()"
_WORKER = """
    from profiler_agent.launch import launch_worker
    from profiler_agent.orders import PROBE, WorkOrder
    from profiler_agent.records import Settings
    print(list(launch_worker(WorkOrder("onnxruntime", Settings(), (), task=PROBE))))"""
_COOLING = """
    from profiler_agent.cooling import Limits, cool_down
    from profiler_agent.system_files import Heat
    print(cool_down(lambda: Heat(90.0, -1.0), lambda _seconds: None, Limits(), None))"""
_FOLLOWING = """
    from pathlib import Path
    from profiler_agent.following import follow
    from profiler_agent.job_folder import JobFolder
    print(list(follow(JobFolder(Path({folder!r})), 0, lambda _seconds: None)))"""
_HOLDING = """
    from pathlib import Path
    from profiler_agent.lease import held
    with held(Path({folder!r}, "lease"), {{}}), held(Path({folder!r}, "lease"), {{}}):
        pass"""

_FAILING = """
from profiler_agent import interrupts

class Failing:
    def __del__(self):
        raise ValueError("shown")

interrupts.raise_on_interrupts()
Failing()
interrupts.check()
"""
_RENAMED = """
import os
import signal
import sys
from profiler_agent import __main__
from profiler_agent.commands import measure

def failing(*_arguments, **_options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        raise ImportError("half a module")

measure.record = failing
__main__.main(["measure", {model!r}])
"""


def run(program: str) -> tuple[str, str]:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout, result.stderr


def test_an_interrupt_in_a_finalizer_is_raised_at_the_next_step_and_not_shown() -> None:
    for name in ("SIGINT", "SIGTERM"):
        assert run(_DROPPED.format(signal=name, step=_CHECK)) == ("went on\ninterrupted\n", "")


def test_no_worker_starts_after_an_interrupt() -> None:
    assert run(_DROPPED.format(signal="SIGINT", step=_WORKER)) == ("went on\ninterrupted\n", "")


@pytest.mark.parametrize(
    ("worker", "timeout_s"),
    [
        ("import sys; sys.exit('out of luck')", 60.0),
        ("import time; time.sleep(60)", 0.3),
        ("print('half a l')", 60.0),
    ],
)
def test_a_worker_that_an_interrupt_reached_too_has_not_crashed(worker: str, timeout_s: float) -> None:
    program = _DROPPED_WAITING.format(signal="SIGINT", worker=worker, timeout_s=timeout_s)
    assert run(program) == ("interrupted\n", "")


@pytest.mark.parametrize("step", [_COOLING, _FOLLOWING, _HOLDING])
def test_what_waits_long_ends_after_an_interrupt(step: str, tmp_path: Path) -> None:
    step = step.format(folder=str(tmp_path))
    assert run(_DROPPED.format(signal="SIGTERM", step=step)) == ("went on\ninterrupted\n", "")


def test_other_exceptions_in_finalizers_are_shown() -> None:
    assert "ValueError: shown" in run(_FAILING)[1]


def test_afterwards_an_interrupt_ends_the_process() -> None:
    program = "import os, signal\nfrom profiler_agent import interrupts\ninterrupts.raise_on_interrupts()\n"
    program += "interrupts.end_on_interrupts()\nos.kill(os.getpid(), signal.SIGINT)\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (-2, b"")


def test_what_an_interrupt_made_fail_counts_as_interrupted(tmp_path: Path) -> None:
    program = _RENAMED.format(model=str(write_identity(tmp_path / "m.onnx")))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (130, "")
