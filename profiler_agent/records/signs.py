"""What the machine itself told while a batch was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Signs:
    """Signs of disturbance in the time of one batch, warm-up included; None where the machine tells nothing.

    Attributes:
        lost_pct: share of the time in which the process wanted to run and did not: it waited for a processor, or
            the hypervisor had it, in percent.
        others_pct: processor time that other processes used meanwhile, in percent of one processor.
        preemptions: involuntary context switches of the process.
        throttlings: how often the processors slowed themselves down because of their heat.
        quota_stops: how often the process's group was stopped because its quota of processor time was used up.
        frequency_mhz: of the cluster that the process ran on, at the batch's end.
        temperature_c: of the hottest sensor, at the batch's end.
        heat_margin_c: how far the sensor that is nearest to the temperature where the kernel slows the machine was
            below it.
    """

    lost_pct: Optional[float] = None
    others_pct: Optional[float] = None
    preemptions: Optional[int] = None
    throttlings: Optional[int] = None
    quota_stops: Optional[int] = None
    frequency_mhz: Optional[float] = None
    temperature_c: Optional[float] = None
    heat_margin_c: Optional[float] = None


NO_SIGNS = Signs()
