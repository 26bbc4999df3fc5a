"""A stand-in for the Python of a board: it answers as the agent does, with made-up samples, at a pace of its own.

`benchmarks.fleet` gives it to `searcher profile` as `--python`, so that fifty boards behind real SSH servers can be
profiled at once on one machine. Only the agent's commands about jobs are played; what a host brings is really unpacked.
How many seconds a job takes stands in the file `seconds` in the working root.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

# The package lies beside this file's own folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler_agent.records import (
    Done,
    Environment,
    Event,
    Hello,
    Job,
    Machine,
    MachineState,
    Measured,
    Sentinel,
    TableKey,
    format_event,
    parse_job,
)

_STATE = MachineState(None, (), (), (), None, None)
_MACHINE = Machine("aarch64", "a simulated board", 4, "00", (), None)
_ENVIRONMENT = Environment(_MACHINE, _STATE, "Linux", "6", "glibc", "3.11", "2", None, None)
_SENTINEL_NS = 80_000


def main() -> None:
    """Play one program of a board."""
    arguments = sys.argv[1:]
    if arguments[0] == "-":
        os.execv(sys.executable, [sys.executable, *arguments])
    _, _, command, action, folder, *options = arguments
    if command != "job":
        sys.exit(f"agent: a simulated board has no command {command!r}")
    play(action, Path(folder), options)


def play(action: str, folder: Path, options: list[str]) -> None:
    """Answer one action of `agent job`."""
    if action == "start":
        job = parse_job(sys.stdin.read())
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "started").exists():
            (folder / "started").write_text(json.dumps({"unix_s": time.time()}))
        (folder / "job.json").write_text(job.job_id)
        (folder / "events").write_text("".join(format_event(event) + "\n" for event in events_of(job)))
    if action != "follow":
        print(json.dumps({"state": "running", "status": None, "boot_id": "boot", "events": 0}))
        return
    started_s = json.loads((folder / "started").read_text())["unix_s"]
    seconds = float(Path("seconds").read_text())
    lines = (folder / "events").read_text().splitlines(keepends=True)
    for index, line in enumerate(lines):
        time.sleep(max(0.0, started_s + seconds * index / len(lines) - time.time()))
        if index >= int(options[1]):
            sys.stdout.write(line)
            sys.stdout.flush()


def events_of(job: Job) -> list[Event]:
    """Return what a steady board tells of a job."""
    settings = job.settings
    key = TableKey(
        "aarch64-simulated", "onnxruntime", "1.31.1", settings.optimization, "CPUExecutionProvider",
        settings.precision, settings.threads, "any", settings.spinning, "hot",
    )  # fmt: skip
    events: list[Event] = [Hello(job.job_id, "0.1.0", key, _ENVIRONMENT, "boot", settings)]
    for index in range(settings.rounds):
        events.append(Sentinel(job.job_id, index, 0, (_SENTINEL_NS,) * 5, 10, 0.0))
        for position, block in enumerate(job.blocks):
            # Blocks differ, processes hardly do.
            latency_ns = 100_000 + 1_000 * position + index
            samples = (latency_ns,) * settings.samples
            operations = ("Simulated",) if index == 0 else None
            events.append(
                Measured(
                    job_id=job.job_id,
                    block_id=block.block_id,
                    process_index=index,
                    round=index,
                    samples_ns=samples,
                    inner_loops=1,
                    position=position,
                    unix_s=0.0,
                    warmed_up=True,
                    converged=index == settings.rounds - 1,
                    operations=operations,
                )
            )
    measured = len(job.blocks)
    return [*events, Done(job.job_id, measured, 0, settings.rounds, 1.0, float(_SENTINEL_NS), 0.5, _STATE)]


if __name__ == "__main__":
    main()
