"""What a measurement was taken on, in which state, and under which key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

UNTUNED = "none"


@dataclass(frozen=True)
class Machine:
    """What the device is: facts that do not change between runs and that its fingerprint is made of.

    Attributes:
        clusters: processors of each frequency domain, such as `0 1 2 3`.
    """

    architecture: str
    cpu_model: str
    cpu_count: int
    cpu_features_sha256: str
    clusters: Tuple[str, ...]
    board: Optional[str]


@dataclass(frozen=True)
class MachineState:
    """What state the device is in; None or empty where it does not say. Frequencies are one a cluster."""

    load_1m: Optional[float]
    governors: Tuple[str, ...]
    frequencies_mhz: Tuple[float, ...]
    max_frequencies_mhz: Tuple[float, ...]
    temperature_c: Optional[float]
    memory_available_bytes: Optional[int]


@dataclass(frozen=True)
class Environment:
    """The circumstances of a measurement that are no part of a table's key."""

    machine: Machine
    state: MachineState
    system: str
    kernel: str
    libc: str
    python: str
    numpy: str
    memory_bytes: Optional[int]
    virtual_machine: Optional[bool]


@dataclass(frozen=True)
class TableKey:
    """Everything beside the block that changes its latency; tables of different keys never mix.

    Attributes:
        provider: the provider or delegate actually engaged, and its options; see `provider_text`.
        affinity: `any`, or the processors read back after pinning, such as `0,1`.
        cache: the cache protocol; `hot` means back to back.
        tuning: what tuning really set, such as `governor,turbo`; `none` where it was not asked for or nothing took.
    """

    device_fingerprint: str
    runtime: str
    runtime_version: str
    optimization: str
    provider: str
    precision: str
    threads: int
    affinity: str
    spinning: bool
    cache: str
    tuning: str = UNTUNED

    @property
    def tuned(self) -> bool:
        """Whether tuning set anything."""
        return self.tuning != UNTUNED
