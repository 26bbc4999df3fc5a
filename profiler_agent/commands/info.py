"""`agent info`: what this machine is, and which runtimes work here."""

from __future__ import annotations

import argparse
import json

from profiler_agent.decoding import encode
from profiler_agent.environment import fingerprint, read_boot_id, read_environment
from profiler_agent.errors import AgentError
from profiler_agent.opening import probe
from profiler_agent.records import Settings
from profiler_agent.report import machine_table
from profiler_agent.runtimes import known_runtimes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
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
    runtimes = [(identifier, _probe_sentence(identifier)) for identifier in known_runtimes()]
    if options.json:
        document = {
            "device_fingerprint": name,
            "boot_id": read_boot_id(),
            "environment": encode(environment),
            "runtimes": dict(runtimes),
        }
        print(json.dumps(document, indent=2))
    else:
        print(machine_table(environment, name, runtimes))
    return 0


def _probe_sentence(identifier: str) -> str:
    try:
        ready = probe(Settings(runtime=identifier))
    except AgentError as e:
        return f"does not work here: {e}"
    return f"{ready.runtime_version}, {ready.provider}"
