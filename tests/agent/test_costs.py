"""Costs beside latency: told once for each block, after the latencies, and never as a made-up number."""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from profiler_agent.costs import file_bytes, measure_costs
from profiler_agent.exercise import REST_S, RUN_S, SETTLE_S, exercise
from profiler_agent.launch import WorkerCrash, launch_worker
from profiler_agent.measure import Clocks, Sensors, measure
from profiler_agent.memory import peak_bytes, reset_peak, resident_bytes
from profiler_agent.orders import (
    ENERGY,
    MEMORY,
    BlockFailed,
    Ran,
    Reply,
    Resting,
    Running,
    Started,
    Weighed,
    WorkOrder,
)
from profiler_agent.power import Meter
from profiler_agent.records import (
    Costs,
    Done,
    Event,
    Failed,
    Job,
    JobBlock,
    Measured,
    Settings,
    Warned,
    measurements_of,
)
from profiler_agent.report import measurement_table
from profiler_agent.system_files import Heat
from profiler_agent.weighing import weigh
from tests.agent.fakes import FakeClock, FakeRuntime, FakeSession, block_of, fake_launch, of_kind
from tests.agent.models import write_convolution

QUICK = Settings(rounds=2, samples=1, costs=True)
SENSORS = Sensors(heat=lambda: Heat(None, None), firmware_bits=lambda: None, meter=lambda: None)


def write_dense(path: Path, size: int) -> Path:
    """A matrix of `size`² float32 weights, applied to one row."""
    weights = numpy.random.default_rng(0).standard_normal((size, size)).astype(numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, size))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, size))],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path


def blocks_of(folder: Path, *names: str) -> tuple[JobBlock, ...]:
    return tuple(block_of(folder / name, "fake\n1000\n") for name in names)


def test_a_peak_begins_anew() -> None:
    if not reset_peak():
        pytest.skip("this kernel does not let the peak begin anew")
    # Not by the allocator, which may keep what is freed where large blocks were freed before.
    with mmap.mmap(-1, 32 << 20) as held:
        for page in range(0, len(held), 4096):
            held[page] = 1
    peak, resident = peak_bytes(), resident_bytes()
    assert peak is not None
    assert resident is not None
    assert peak - resident > 24 << 20
    assert reset_peak()
    assert (peak_bytes() or 0) < peak


def test_memory_of_another_system_is_unknown(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path) is None
    assert peak_bytes(tmp_path) is None
    assert not reset_peak(tmp_path)


def test_a_model_weighs_as_much_as_its_weights_whatever_was_weighed_before(tmp_path: Path) -> None:
    """16 MB of weights, with the copy that loading takes; the little one after it finds nothing to hide behind."""
    models = [write_dense(tmp_path / "large.onnx", 2048), write_convolution(tmp_path / "small.onnx")]
    blocks = [JobBlock(f"{model.name} {turn}", str(model), "") for turn in range(2) for model in models]
    order = WorkOrder("onnxruntime", QUICK, tuple(blocks), task=MEMORY)
    peaks = {reply.block_id: reply.peak_memory_bytes for reply in launch_worker(order) if isinstance(reply, Weighed)}
    for turn in range(2):
        large, small = peaks[f"large.onnx {turn}"], peaks[f"small.onnx {turn}"]
        assert large is not None
        assert small is not None
        assert 16e6 < large < 60e6
        assert small < 3e6


class DyingRuntime(FakeRuntime):
    """Crashes, hangs or fails on models that say so."""

    def open(self, model: Path, settings: Settings, input_shapes: dict[str, tuple[int, ...]]) -> FakeSession:
        text = model.read_text() if model.exists() else ""
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in text:
            # Nobody need wait for the alarm that is set; where none is, the model is weighed late, which shows.
            if signal.getitimer(signal.ITIMER_REAL)[0] > 0:
                signal.setitimer(signal.ITIMER_REAL, 0.2)
            threading.Event().wait(30)
        return super().open(model, settings, input_shapes)


@pytest.fixture
def listening_agent() -> Iterator[None]:
    """Standard input stays open, as a worker's does while its agent listens."""
    kept, (receiving, sending) = os.dup(0), os.pipe()
    os.dup2(receiving, 0)
    yield
    os.dup2(kept, 0)
    for descriptor in (kept, receiving, sending):
        os.close(descriptor)


@pytest.mark.usefixtures("listening_agent")
def test_a_model_that_dies_while_it_is_weighed_costs_itself_alone(tmp_path: Path) -> None:
    blocks = [
        block_of(tmp_path / name, text)
        for name, text in (
            ("a", "fake\n1\n"),
            ("b", "fake crash"),
            ("c", "fake\n1\nhang"),
            ("d", "?"),
            ("e", "fake\n1\n"),
        )
    ]
    order = WorkOrder("fake", replace(QUICK, timeout_s=120.0), tuple(blocks), task=MEMORY)
    weighed = [one for one in weigh(order, DyingRuntime(FakeClock())) if isinstance(one, Weighed)]
    assert [one.block_id for one in weighed] == ["a", "b", "c", "d", "e"]
    assert [one.peak_memory_bytes is None for one in weighed] == [False, True, True, True, False]


def test_files_beside_a_model_belong_to_its_size(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "whole.onnx", 64)
    apart = tmp_path / "apart.onnx"
    onnx.save_model(onnx.load(path), apart, save_as_external_data=True, location="apart.data", size_threshold=0)
    assert file_bytes(path) == path.stat().st_size
    assert file_bytes(apart) == apart.stat().st_size + (tmp_path / "apart.data").stat().st_size > 64 * 64 * 4
    other = tmp_path / "m.tflite"
    other.write_bytes(b"garbage")
    assert file_bytes(other) == 7
    odd = tmp_path / "odd.onnx"
    odd.write_bytes(b"garbage")
    assert file_bytes(odd) == 7


def test_costs_are_told_once_for_each_block_after_the_latencies(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a", "b"), QUICK)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), sensors=SENSORS))
    kinds = [type(event) for event in events]
    assert kinds.index(Costs) > max(index for index, kind in enumerate(kinds) if kind is Measured)
    assert of_kind(Costs, events) == [Costs("job", name, file_bytes=10, peak_memory_bytes=1000) for name in ("a", "b")]
    assert isinstance(events[-1], Done)


def test_costs_can_be_left_out_and_failed_blocks_have_none(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path, "a", "b")
    launch = fake_launch(lambda block, _p: -1 if block == "a" else 1000)
    events = list(measure(Job("job", blocks, QUICK), launch=launch, sensors=SENSORS))
    assert [event.block_id for event in of_kind(Costs, events)] == ["b"]
    without = Job("job", blocks, replace(QUICK, costs=False))
    assert not of_kind(Costs, list(measure(without, launch=fake_launch(lambda _b, _p: 1), sensors=SENSORS)))


def test_a_resumed_job_measures_no_costs_twice(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a", "b", "c"), QUICK)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), sensors=SENSORS))
    first = next(index for index, event in enumerate(events) if isinstance(event, Costs))
    orders: list[WorkOrder] = []
    resumed = list(measure(job, events[: first + 1], fake_launch(lambda _b, _p: 1000, orders=orders), sensors=SENSORS))
    assert [event.block_id for event in of_kind(Costs, resumed)] == ["b", "c"]
    assert not of_kind(Measured, resumed)
    assert [order.task for order in orders] == ["probe", "memory"]


def test_a_resumed_job_asks_for_the_operators_that_its_first_round_did_not_tell(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a", "b"), QUICK)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), sensors=SENSORS))
    first = next(index for index, event in enumerate(events) if isinstance(event, Measured))
    resumed = list(measure(job, events[: first + 1], fake_launch(lambda _b, _p: 1000), sensors=SENSORS))
    (measurement, other) = measurements_of([*events[: first + 1], *resumed])
    assert measurement.operations == other.operations == ("Fake",)


def test_a_worker_that_crashes_costs_the_memory_and_not_the_block(tmp_path: Path) -> None:
    normal = fake_launch(lambda _b, _p: 1000)

    def launch(order: WorkOrder) -> Iterator[Reply]:
        if order.task == MEMORY:
            raise WorkerCrash("the worker was killed by signal 9")
        yield from normal(order)

    events = list(measure(Job("job", blocks_of(tmp_path, "a", "b"), QUICK), launch=launch, sensors=SENSORS))
    assert [event.peak_memory_bytes for event in of_kind(Costs, events)] == [None, None]
    (warning,) = [event for event in of_kind(Warned, events) if event.code == "no_memory"]
    assert warning.sentence == "the memory is not known of a: the worker was killed by signal 9 (and of 1 more)"
    assert not of_kind(Failed, events)


class Bench:
    """A machine whose clock a worker moves, and whose power follows from what the worker does."""

    def __init__(self, idle_mw: float, busy_mw: float) -> None:
        self.now_s = 0.0
        self.busy = False
        self._levels = {False: idle_mw, True: busy_mw}
        self._turn = 0
        self.meter = Meter("fake rail", self.read_mw)

    def clock_s(self) -> float:
        return self.now_s

    def read_mw(self, _now_s: float) -> float:
        self._turn += 1
        return self._levels[self.busy] + (1 if self._turn % 2 else -1)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, in each of which the agent's thread reads the meter anew."""
        for _ in range(20):
            turn = self._turn
            self.now_s += seconds / 20
            while self._turn == turn:
                time.sleep(0.001)

    def launch(self, crash: str, broken: str) -> Callable[[WorkOrder], Iterator[Reply]]:
        def run(order: WorkOrder) -> Iterator[Reply]:
            assert order.task == ENERGY
            for block in order.blocks:
                yield Started(block.block_id)
                if block.block_id == crash:
                    raise WorkerCrash("the worker was killed by signal 11")
                if block.block_id == broken:
                    yield BlockFailed(block.block_id, "runtime_error", "it fails")
                    continue
                yield Resting(block.block_id)
                self.pass_time(REST_S)
                self.busy = True
                yield Running(block.block_id)
                self.pass_time(SETTLE_S + RUN_S)
                self.busy = False
                yield Ran(block.block_id, 900, 1_800_000_000)

        return run


def costs_on(bench: Bench, job: Job, crash: str = "", broken: str = "") -> list[Event]:
    energy, memory = bench.launch(crash, broken), fake_launch(lambda _b, _p: 1000)

    def launch(order: WorkOrder) -> Iterator[Reply]:
        return energy(order) if order.task == ENERGY else memory(order)

    return list(measure_costs(job, job.blocks, "fake", launch, bench.meter, bench.clock_s))


def test_energy_is_told_with_what_it_rests_on(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a"), QUICK)
    (told,) = costs_on(Bench(1500, 4000), job)
    assert isinstance(told, Costs)
    assert told.energy_mj == pytest.approx(2500 * 0.002, rel=0.01)
    assert told.idle_power_mw == pytest.approx(1500, abs=2)
    assert told.power_mw == pytest.approx(4000, abs=2)
    assert told.energy_half_width_mj is not None
    assert told.power_hz is not None
    assert (told.power_samples or 0) >= 10
    assert told.rails == "fake rail"
    assert told.peak_memory_bytes == 1000


def test_what_gives_no_energy_is_none_and_a_warning(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a", "b", "c"), QUICK)
    told = costs_on(Bench(1500, 4000), job, crash="a", broken="b")
    costs = of_kind(Costs, told)
    assert [one.block_id for one in costs] == ["a", "b", "c"]
    assert [one.energy_mj is None for one in costs] == [True, True, False]
    (warning,) = of_kind(Warned, told)
    assert warning.code == "no_energy"
    assert "of a: the worker was killed by signal 11 (and of 1 more)" in warning.sentence
    (quiet, doubt) = costs_on(Bench(1500, 1500.1), Job("job", blocks_of(tmp_path, "a"), QUICK))
    assert isinstance(quiet, Costs)
    assert quiet.energy_mj is None
    assert isinstance(doubt, Warned)
    assert "no more certain than" in doubt.sentence


def test_energy_keeps_to_the_budget(tmp_path: Path) -> None:
    job = Job("job", blocks_of(tmp_path, "a", "b"), QUICK, budget_s=3.0)
    sensors = replace(SENSORS, meter=lambda: Bench(1, 2).meter)
    clocks = Clocks(monotonic_s=lambda: 0.0)
    events = list(measure(job, launch=fake_launch(lambda _b, _p: 1000), clocks=clocks, sensors=sensors))
    assert "the budget of 3 s leaves no time" in next(
        event.sentence for event in of_kind(Warned, events) if event.code == "no_energy"
    )
    assert all(event.energy_mj is None for event in of_kind(Costs, events))


def test_a_worker_rests_and_runs_each_block_and_says_when(tmp_path: Path) -> None:
    clock = FakeClock()
    slept: list[float] = []
    blocks = (block_of(tmp_path / "a", "fake\n500000\n"), block_of(tmp_path / "b", "?"))
    order = WorkOrder("fake", QUICK, blocks, task=ENERGY)
    replies = list(exercise(order, FakeRuntime(clock), clock, slept.append))
    assert [type(one) for one in replies] == [Started, Resting, Running, Ran, Started, BlockFailed]
    assert slept == [SETTLE_S, REST_S]
    ran = replies[3]
    assert isinstance(ran, Ran)
    assert ran.duration_ns == 500_000 * ran.inferences >= (SETTLE_S + RUN_S) * 1e9


def test_the_table_for_people_shows_the_costs_that_are_known() -> None:
    batch = Measured("job", "a", 0, 0, (1_000_000,), 1, 0, 0.0, True, False)
    measurements = measurements_of([batch, replace(batch, block_id="b")])
    assert "peak" not in measurement_table(measurements, 1.0)
    told = Costs("job", "a", 1500, 2_500_000, energy_mj=3.14159, energy_half_width_mj=0.02)
    text = measurement_table(measurements, 1.0, [told, Costs("job", "b", 2500)])
    assert [text.splitlines()[0].split()[-2:], text.splitlines()[1].split()[-5:]] == [
        ["energy", "mJ"],
        ["2.50", "1.5", "3.14", "±", "0.02"],
    ]
    assert text.splitlines()[2].split()[-1] == "2.5"
