"""Records survive the wire, and what is no record is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.environment import read_environment
from profiler_agent.records import (
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Measurement,
    RecordError,
    Settings,
    TableKey,
    Warned,
    format_event,
    format_job,
    parse_event,
    parse_job,
)

KEY = TableKey("x86_64-0", "onnxruntime", "1.31", "extended", "CPU", "fp32", 1, "any", False, "hot")
MEASURED = Measured("job", "block", 0, 1, (2_000_000, 4_000_000, 3_000_000), 2, True, False, None, ("Conv",))


@pytest.mark.parametrize(
    "event",
    [
        Hello("job", "0.1", KEY, read_environment(), "boot", Settings(affinity=(0, 1))),
        MEASURED,
        Warned("code", "a sentence"),
        Failed("job", "block", "crashed", "sentence with \n newline"),
        Done("job", 1, 0, 9, 1.5, read_environment().state),
    ],
)
def test_events_survive_the_wire(event: Event) -> None:
    line = format_event(event)
    assert "\n" not in line
    assert parse_event(line) == event


def test_unknown_fields_are_ignored() -> None:
    data = json.loads(format_event(MEASURED))
    assert parse_event(json.dumps({**data, "from_the_future": [1]})) == MEASURED


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"event": "gossip"}, "unknown event"),
        ({"schema_version": 99}, "schema version '99'"),
        ({"samples_ns": [1.5]}, r"samples_ns\[0\] must be of type int"),
        ({"samples_ns": "12"}, "samples_ns must be a list"),
        ({"inner_loops": True}, "inner_loops must be of type int"),
        ({"block_id": None}, "block_id must be of type str"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(change: dict[str, object], complaint: str) -> None:
    data = json.loads(format_event(MEASURED))
    with pytest.raises(RecordError, match=complaint):
        parse_event(json.dumps({**data, **change}))


@given(st.text() | st.recursive(st.integers() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_refused_and_quoted_briefly(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_event(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["NaN", '{"event": NaN}', "[" * 100_000, "{}"])
def test_odd_json_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        parse_event(text)


def test_a_job_survives_its_document() -> None:
    job = Job("id", (JobBlock("b", "b.onnx", "00", {"x": (1, 3)}),), Settings(runtime="onnxruntime"), budget_s=2.0)
    assert parse_job(format_job(job)) == job


def test_a_job_without_a_field_or_of_another_version_is_refused() -> None:
    document = json.loads(format_job(Job("id", (), Settings())))
    with pytest.raises(RecordError, match="lacks the field 'blocks'"):
        parse_job(json.dumps({name: value for name, value in document.items() if name != "blocks"}))
    with pytest.raises(RecordError, match="schema version"):
        parse_job(json.dumps({**document, "schema_version": 2}))


def test_a_measurement_speaks_of_one_inference_in_ms() -> None:
    slower = Measured("job", "block", 1, 2, (6_000_000,), 2, True, False)
    measurement = Measurement("block", (MEASURED, slower))
    assert MEASURED.median_ms == 1.5
    assert measurement.median_ms == 2.25
    assert measurement.interval_ms[:2] == (1.5, 3.0)
    assert measurement.half_width_pct == pytest.approx(100 * 0.75 / 2.25)
    assert measurement.sample_count == 4
    assert measurement.operations == ("Conv",)
    assert not measurement.converged(1000)  # two rounds give no 95% interval, however close they are


def test_a_measurement_without_samples_is_refused() -> None:
    with pytest.raises(RecordError, match="no samples"):
        Measurement("block", ())
    with pytest.raises(RecordError, match="no samples"):
        Measurement("block", (Measured("job", "block", 0, 0, (), 1, True, False),))
