"""`agent info`: what this machine is, and which runtimes work here."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Dict, Optional

from profiler_agent.decoding import encode
from profiler_agent.environment import fingerprint, read_boot_id, read_environment
from profiler_agent.errors import AgentError
from profiler_agent.opening import probe
from profiler_agent.power import find_meter
from profiler_agent.records import MachineState, Settings
from profiler_agent.report import machine_table
from profiler_agent.runtimes import known_runtimes
from profiler_agent.system_files import ROOT, firmware_throttle_bits, read_heat, throttle_count

_REFUSAL = "does not work here: "


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--no-runtimes", action="store_true", help="do not try the runtimes, which takes a while")
    parser.add_argument("--runtime", help="fail unless this runtime, or one of this family, works here")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Tell, and return the exit status.

    Raises:
        AgentError: the runtime that is asked for does not work here.
    """
    if options.runtime is not None:
        probe(Settings(runtime=options.runtime))
    environment = read_environment()
    name = fingerprint(environment.machine)
    tried = () if options.no_runtimes else known_runtimes()
    runtimes = [(identifier, _probe_sentence(identifier)) for identifier in tried]
    if options.json:
        document = {
            "device_fingerprint": name,
            "boot_id": read_boot_id(),
            "environment": encode(environment),
            "runtimes": dict(runtimes),
            "working_runtimes": [identifier for identifier, told in runtimes if not told.startswith(_REFUSAL)],
            "sensors": _sensors(environment.state),
            "disk_free_bytes": _free_bytes(),
        }
        print(json.dumps(document, indent=2))
    else:
        print(machine_table(environment, name, runtimes))
    return 0


def _probe_sentence(identifier: str) -> str:
    try:
        ready = probe(Settings(runtime=identifier))
    except AgentError as e:
        return f"{_REFUSAL}{e}"
    return f"{ready.runtime_version}, {ready.provider}"


def _sensors(state: MachineState) -> Dict[str, Optional[str]]:
    """Return what each sensor reads; None for one that tells nothing."""
    meter = find_meter()
    frequencies = ", ".join(f"{mhz:.0f} MHz" for mhz in state.frequencies_mhz)
    return {
        "temperature": None if state.temperature_c is None else f"{state.temperature_c:.1f} °C",
        "frequency": frequencies or None,
        "throttling": _throttling(),
        "power": None if meter is None else meter.rails,
    }


def _throttling() -> Optional[str]:
    """Return by what throttling would be noticed."""
    bits, count, margin_c = firmware_throttle_bits(), throttle_count(ROOT), read_heat().margin_c
    if bits is not None:
        return f"the firmware's bits are {bits:#x}"
    if count is not None:
        return f"throttled {count} times since boot"
    return None if margin_c is None else f"{margin_c:.0f} °C below the kernel's limit"


def _free_bytes() -> Optional[int]:
    try:
        return shutil.disk_usage(".").free
    except OSError:
        return None
