"""Records survive the wire, and what is no record is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.decoding import decode, encode
from profiler_agent.environment import read_environment
from profiler_agent.records import (
    Costs,
    Done,
    Event,
    Failed,
    Hello,
    Job,
    JobBlock,
    Measured,
    Measurement,
    RecordError,
    Rejected,
    Sentinel,
    Settings,
    TableKey,
    Warned,
    format_event,
    format_job,
    measurements_of,
    parse_event,
    parse_job,
)

KEY = TableKey("x86_64-0", "onnxruntime", "1.31", "extended", "CPU", "fp32", 1, "any", False, "hot")
MEASURED = Measured("job", "block", 0, 1, (2_000_000, 4_000_000, 3_000_000), 2, 0, 1.5, True, False, None, ("Conv",))


@pytest.mark.parametrize(
    "event",
    [
        Hello("job", "0.1", KEY, read_environment(), "boot", Settings(affinity=(0, 1))),
        MEASURED,
        Warned("code", "a sentence"),
        Failed("job", "block", "crashed", "sentence with \n newline"),
        Sentinel("job", 0, 3, (1, 2), 4, 1.0),
        Rejected("job", "block", 3, "the sentinel beside it was +9.0% off"),
        Done("job", 1, 0, 9, 1.5, 1000.0, None, read_environment().state),
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


def test_keys_and_jobs_of_before_tuning_are_untuned() -> None:
    plain = encode(KEY)
    del plain["tuning"]
    assert decode(TableKey, plain) == KEY
    document = json.loads(format_job(Job("id", (JobBlock("b", "b.onnx", "00"),), Settings())))
    del document["settings"]["tune"]
    assert parse_job(json.dumps(document)).settings.tune is False


def test_jobs_of_before_providers_and_costs_ask_for_neither() -> None:
    document = json.loads(format_job(Job("id", (JobBlock("b", "b.onnx", "00"),), Settings())))
    for name in ("provider", "provider_options", "require", "costs"):
        del document["settings"][name]
    settings = parse_job(json.dumps(document)).settings
    assert settings == Settings()
    assert (settings.asked_provider, settings.costs) == (None, False)


def test_costs_survive_the_wire_and_lack_what_is_not_known() -> None:
    full = Costs("job", "b", 10, 20, 1.5, 0.1, 4000.0, 1500.0, 30, 50.0, "VDD_IN")
    assert parse_event(format_event(full)) == full
    assert parse_event('{"event": "costs", "job_id": "j", "block_id": "b", "file_bytes": 3}') == Costs("j", "b", 3)


def test_a_job_survives_its_document() -> None:
    job = Job("id", (JobBlock("b", "b.onnx", "00", {"x": (1, 3)}),), Settings(runtime="onnxruntime"), budget_s=2.0)
    assert parse_job(format_job(job)) == job


def test_a_job_without_a_field_or_of_another_version_is_refused() -> None:
    document = json.loads(format_job(Job("id", (JobBlock("b", "b.onnx", "00"),), Settings())))
    with pytest.raises(RecordError, match="lacks the field 'blocks'"):
        parse_job(json.dumps({name: value for name, value in document.items() if name != "blocks"}))
    with pytest.raises(RecordError, match="schema version"):
        parse_job(json.dumps({**document, "schema_version": 2}))


def test_a_measurement_speaks_of_one_inference_in_ms() -> None:
    slower = Measured("job", "block", 1, 2, (6_000_000,), 2, 0, 2.5, True, False)
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
        Measurement("block", (Measured("job", "block", 0, 0, (), 1, 0, 0.0, True, False),))


def batch(process: int, ms: float, rejected: str | None = None) -> Measured:
    return Measured("job", "block", process, process, (round(ms * 1e6),), 1, 0, 0.0, True, False, rejected)


def test_rejected_batches_do_not_count_whenever_they_were_rejected() -> None:
    events: list[Event] = [
        batch(0, 9.0, "off"),
        batch(1, 1.0),
        batch(2, 5.0),
        Rejected("job", "block", 2, "off"),
        batch(3, 1.0),
    ]
    (measurement,) = measurements_of(events)
    assert [one.process_index for one in measurement.rounds] == [1, 3]
    assert measurement.median_ms == 1.0
    assert not measurement.unstable


def test_a_block_of_rejected_batches_alone_is_unstable_and_never_converged() -> None:
    (measurement,) = measurements_of([batch(index, 1.0, "off") for index in range(12)])
    assert measurement.unstable
    assert not measurement.converged(50.0)


def test_a_failed_block_has_no_measurement() -> None:
    assert measurements_of([batch(0, 1.0), Failed("job", "block", "crashed", "why")]) == ()


def test_convergence_needs_the_interval_of_the_sequential_rule() -> None:
    def of(count: int) -> Measurement:
        return Measurement("block", tuple(batch(index, 1.0) for index in range(count)))

    assert not of(5).converged(1.0)
    assert of(8).converged(1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 0},
        {"samples": -3},
        {"threads": 0},
        {"seed": -1},
        {"affinity": [99999999999999999999]},
        {"affinity": []},
        {"timeout_s": 0.0},
        {"target_half_width_pct": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    document = json.loads(format_job(Job("id", (JobBlock("b", "b.onnx", "00"),), Settings())))
    document["settings"].update(change)
    with pytest.raises(RecordError, match=next(iter(change))):
        parse_job(json.dumps(document))


def test_a_job_without_blocks_or_with_one_twice_is_refused() -> None:
    block = JobBlock("b", "b.onnx", "00")
    with pytest.raises(RecordError, match="no blocks"):
        Job("id", (), Settings())
    with pytest.raises(RecordError, match="names one block twice"):
        Job("id", (block, block), Settings())
