"""The records of the wire and of the files, and what they add up to: all that the host imports of the agent."""

from __future__ import annotations

from profiler_agent.errors import AgentError, RecordError
from profiler_agent.records.events import (
    Costs,
    Done,
    Event,
    Failed,
    Hello,
    Measured,
    Rejected,
    Sentinel,
    Warned,
    format_event,
    parse_event,
)
from profiler_agent.records.job import Job, JobBlock, Settings, format_job, parse_job
from profiler_agent.records.machine import Environment, Machine, MachineState, TableKey
from profiler_agent.records.measurement import Measurement, measurements_of
from profiler_agent.records.operators import (
    OperatorCost,
    OperatorReport,
    TensorType,
    format_operator_report,
    parse_operator_report,
)
from profiler_agent.records.provider import parse_provider, provider_text, same_provider, short_provider
from profiler_agent.records.signs import NO_SIGNS, Signs
from profiler_agent.records.version import SCHEMA_VERSION

__all__ = [
    "NO_SIGNS",
    "SCHEMA_VERSION",
    "AgentError",
    "Costs",
    "Done",
    "Environment",
    "Event",
    "Failed",
    "Hello",
    "Job",
    "JobBlock",
    "Machine",
    "MachineState",
    "Measured",
    "Measurement",
    "OperatorCost",
    "OperatorReport",
    "RecordError",
    "Rejected",
    "Sentinel",
    "Settings",
    "Signs",
    "TableKey",
    "TensorType",
    "Warned",
    "format_event",
    "format_job",
    "format_operator_report",
    "measurements_of",
    "parse_event",
    "parse_job",
    "parse_operator_report",
    "parse_provider",
    "provider_text",
    "same_provider",
    "short_provider",
]
