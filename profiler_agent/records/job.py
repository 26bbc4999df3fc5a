"""The job: what the host, or the user of `agent measure`, asks for."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

from profiler_agent.decoding import decode, encode, parse_object
from profiler_agent.errors import RecordError
from profiler_agent.records.provider import same_provider
from profiler_agent.records.version import SCHEMA_VERSION, check_version


@dataclass(frozen=True)
class JobBlock:
    """One model to measure: its identity in the job, its file and, for dynamic inputs, their shapes."""

    block_id: str
    file: str
    sha256: str
    input_shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How a job is measured.

    Attributes:
        runtime: identifier or family (`onnx`).
        optimization: graph optimisation level: `disabled`, `basic`, `extended` or `all`.
        precision: number type of the models; declared by whoever makes the job, and part of the table key.
        provider: execution provider or delegate that shall compute, such as `cuda`; None for the runtime's usual one.
        provider_options: of that provider, by name.
        require: provider that must compute everything of a model, or the model is refused; asked for too.
        threads: threads inside one operator; clamped to the processors that the worker may use.
        affinity: processors to pin the worker to; None leaves the choice to the system.
        spinning: whether idle threads of the runtime spin.
        tune: whether to set the machine to a steady speed while it is measured, as far as it lets itself be set.
        costs: whether to measure memory, size and energy too, after the latencies.
        rounds: the most fresh processes that measure a block; a block that converges earlier needs fewer.
        samples: raw samples per block and round; slow models take fewer, at least five.
        min_sample_ns: the least duration of a raw sample; short models are repeated inside one.
        target_half_width_pct: half-width of the interval, relative to the median, at which a block has converged.
        drift_tolerance_pct: shift of the sentinel that rejects what was measured beside it.
        sentinel_ns: the sentinel's latency in an earlier job that this one is to be compared with, in ns: batches
            taken while the machine is slower than then are rejected. None where there was none.
        max_temperature_c: above it batches do not count and measuring waits; None goes by the kernel's own limits.
        timeout_s: silence of a worker after which its block counts as hanging.
        seed: of the orders and of the random inputs.

    Raises:
        RecordError: a value is out of its range.
    """

    runtime: str = "onnx"
    optimization: str = "extended"
    precision: str = "fp32"
    provider: Optional[str] = None
    provider_options: Dict[str, str] = field(default_factory=dict)
    require: Optional[str] = None
    threads: int = 1
    affinity: Optional[Tuple[int, ...]] = None
    spinning: bool = False
    tune: bool = False
    costs: bool = False
    rounds: int = 90
    samples: int = 20
    min_sample_ns: int = 1_000_000
    target_half_width_pct: float = 1.0
    drift_tolerance_pct: float = 2.0
    sentinel_ns: Optional[float] = None
    max_temperature_c: Optional[float] = None
    timeout_s: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "samples", "min_sample_ns"):
            if getattr(self, name) < 1:
                raise RecordError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("target_half_width_pct", "drift_tolerance_pct", "timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecordError(f"{name} must be positive, not {getattr(self, name)}")
        if self.sentinel_ns is not None and not 0 < self.sentinel_ns < math.inf:
            raise RecordError(f"sentinel_ns must be positive, not {self.sentinel_ns}")
        if self.max_temperature_c is not None and not 0 < self.max_temperature_c < math.inf:
            raise RecordError(f"max_temperature_c must be positive, not {self.max_temperature_c}")
        if self.seed < 0:
            raise RecordError(f"seed must not be negative, not {self.seed}")
        if self.affinity is not None and (not self.affinity or not all(0 <= cpu < 2**16 for cpu in self.affinity)):
            raise RecordError(f"affinity must name processors, not {list(self.affinity)}")
        if self.provider is not None and self.require is not None and not same_provider(self.provider, self.require):
            raise RecordError(f"provider {self.provider} is asked for, but {self.require} is required")
        if self.provider_options and self.asked_provider is None:
            raise RecordError("provider_options need a provider")

    @property
    def asked_provider(self) -> Optional[str]:
        """The provider that shall compute, as the user wrote it; None for the runtime's usual one."""
        return self.require if self.provider is None else self.provider


@dataclass(frozen=True)
class Job:
    """What the host asks of the agent, in one JSON document. `budget_s`: no new round starts past it."""

    job_id: str
    blocks: Tuple[JobBlock, ...]
    settings: Settings
    budget_s: Optional[float] = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        names = [block.block_id for block in self.blocks]
        if not names:
            raise RecordError("the job has no blocks")
        if len(set(names)) != len(names):
            raise RecordError("the job names one block twice")
        if self.budget_s is not None and not 0 < self.budget_s < math.inf:
            raise RecordError(f"budget_s must be positive, not {self.budget_s}")


def format_job(job: Job) -> str:
    """Return a job as a JSON document."""
    return json.dumps(encode(job), indent=2) + "\n"


def parse_job(text: str) -> Job:
    """Parse a job document.

    Raises:
        RecordError: no JSON, an unknown schema version, or a field missing, out of range or of the wrong type.
    """
    data = parse_object(text)
    check_version(data.get("schema_version"), "job")
    return decode(Job, data, "job")
