"""The document of `agent ops`: it survives its file, and what does not add up is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.records import RecordError, format_operator_report, parse_operator_report
from profiler_agent.report import operator_table
from tests.agent.reports import operator, report


def test_a_report_survives_its_file() -> None:
    text = format_operator_report(report())
    assert parse_operator_report(text) == report()
    assert text.index('"schema_version"') < text.index('"operators"')


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema_version": 2}, "schema version '2'"),
        ({"wall_ms": 11.0}, "sum to 10 ms, not to 11 ms"),
        ({"wall_ms": 0.0}, "a latency that is none"),
        ({"method": "guess"}, "must be one of profile, parts"),
        ({"operators": 3}, "must be a list"),
        ({"wall_interval_ms": [1.0]}, "must have 2 items"),
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, object], complaint: str) -> None:
    plain = json.loads(format_operator_report(report()))
    with pytest.raises(RecordError, match=complaint):
        parse_operator_report(json.dumps({**plain, **change}))


def test_an_operator_has_an_estimate_or_a_problem() -> None:
    with pytest.raises(RecordError, match="either an estimate or a problem"):
        operator("x", None)
    with pytest.raises(RecordError, match="cannot take -1"):
        operator("x", -1.0)


@given(st.text() | st.dictionaries(st.text(), st.integers()).map(json.dumps))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        parse_operator_report(text)


def test_the_table_is_sorted_by_cost_and_shows_the_sums() -> None:
    lines = operator_table(report()).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["50.0%", "30.0%", "10.0%", "10.0%"]
    assert "(call)" in operator_table(report())
    assert "2 operators 8.0000 ms + call 1.0000 ms + unattributed 1.0000 ms = 10.0000 ms" in lines
    assert any("1.50 times as long" in line for line in lines)


def test_an_operator_without_an_estimate_says_why() -> None:
    unknown = operator("y", None, problem="it cannot run alone")
    text = operator_table(report(operators=(operator("x", 5.0), unknown), unattributed_ms=4.0))
    (line,) = [line for line in text.splitlines() if "it cannot run alone" in line]
    assert line.split()[:2] == ["?", "?"]
