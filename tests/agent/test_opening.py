"""Which runtime a job begins with, by what probing workers answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from profiler_agent.errors import AgentError
from profiler_agent.launch import WorkerCrash
from profiler_agent.opening import probe
from profiler_agent.orders import PROBE, Ready, Reply, WorkOrder
from profiler_agent.records import Settings

CRASH = "the worker was killed by signal 11"


def ready(order: WorkOrder) -> Ready:
    assert order.task == PROBE
    return Ready(order.runtime, "1.0", "FakeProvider", "extended", False, 1, "any")


def test_a_worker_that_has_answered_is_left_to_end() -> None:
    ended: list[str] = []

    def launch(order: WorkOrder) -> Iterator[Reply]:
        yield ready(order)
        ended.append(order.runtime)

    assert probe(Settings(runtime="onnx"), launch).runtime == "onnxruntime"
    assert ended == ["onnxruntime"]


def test_a_runtime_that_crashes_after_its_answer_is_taken() -> None:
    asked: list[str] = []

    def launch(order: WorkOrder) -> Iterator[Reply]:
        asked.append(order.runtime)
        yield ready(order)
        raise WorkerCrash(CRASH)

    assert probe(Settings(runtime="tflite"), launch).runtime == asked[0]
    assert len(asked) == 1


def test_a_runtime_that_crashes_before_its_answer_is_passed_over() -> None:
    def launch(order: WorkOrder) -> Iterator[Reply]:
        if order.runtime != "tflite-runtime":
            raise WorkerCrash(CRASH)
        yield ready(order)

    assert probe(Settings(runtime="tflite"), launch).runtime == "tflite-runtime"
    with pytest.raises(AgentError, match=f"^onnxruntime: {CRASH}$"):
        probe(Settings(runtime="onnx"), launch)
