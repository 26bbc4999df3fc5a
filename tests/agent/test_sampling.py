"""Warm-up, calibration and samples, on a fake clock."""

from __future__ import annotations

import gc

import pytest

from profiler_agent.sampling import calibrate, take_batch, warm_up
from tests.agent.fakes import FakeClock, FakeSession


@pytest.mark.parametrize(
    ("latency_ns", "loops"), [(1_000, 1_000), (999_999, 2), (1_000_000, 1), (5_000_000, 1), (70_000, 15)]
)
def test_a_sample_lasts_at_least_the_bound(latency_ns: int, loops: int) -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda _run: latency_ns)
    batch = take_batch(session.run, clock, samples=7, min_sample_ns=1_000_000)
    assert batch.samples_ns == (latency_ns * batch.inner_loops,) * 7
    assert batch.samples_ns[0] >= 1_000_000
    assert loops <= batch.inner_loops <= 1.2 * loops + 1


def test_a_slow_first_run_does_not_shorten_the_samples() -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda run: 50_000_000 if run < 2 else 10_000)
    batch = take_batch(session.run, clock, samples=3, min_sample_ns=1_000_000)
    assert batch.samples_ns == (10_000 * batch.inner_loops,) * 3
    assert batch.samples_ns[0] >= 1_000_000


def test_a_clock_that_stands_still_ends_at_the_bound() -> None:
    assert calibrate(lambda: None, lambda: 0, 1_000_000) == 1_000_000


def test_warm_up_waits_for_windows_that_agree() -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda run: max(1_000_000, 6_000_000 - 300_000 * run))
    assert warm_up(session.run, clock, 1).settled
    assert session.runs >= 20


def test_warm_up_that_never_settles_says_so() -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda run: 1_000_000 * (1 + (run // 5) % 2))
    assert not warm_up(session.run, clock, 1).settled


def test_a_slow_model_warms_up_too_and_takes_fewer_samples() -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda _run: 300_000_000)
    batch = take_batch(session.run, clock, samples=20, min_sample_ns=1_000_000)
    assert batch.warmed_up
    assert batch.inner_loops == 1
    assert len(batch.samples_ns) == 6  # what 2 s hold
    session = FakeSession(clock, lambda _run: 10_000_000_000)
    assert len(take_batch(session.run, clock, samples=20, min_sample_ns=1).samples_ns) == 5


def test_garbage_collection_is_restored_after_an_error() -> None:
    clock = FakeClock()
    session = FakeSession(clock, lambda _run: 1_000_000)
    runs = 0

    def run() -> None:
        nonlocal runs
        runs += 1
        if runs > 15:
            raise RuntimeError("broken")
        session.run()

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="broken"):
        take_batch(run, clock, samples=10, min_sample_ns=1_000_000)
    assert gc.isenabled()
