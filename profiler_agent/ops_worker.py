"""A fresh process that looks into one model: it reads one order on standard input and answers in one line.

It alone loads the runtime for that. Its wire stands in inspection.py; it measures no label.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiler_agent.errors import AgentError
from profiler_agent.inspection import (
    Finding,
    InspectionFailed,
    InspectionOrder,
    format_finding,
    parse_inspection,
)
from profiler_agent.runtimes import family_of_runtime, load_runtime
from profiler_agent.worker import end_with_standard_input, pin, private_output, usable_processors

# Each offers `inspect`; imported when it is needed, for it imports its runtime.
_INSPECTORS = {"onnx": "profiler_agent.runtimes.onnx_profile", "tflite": "profiler_agent.runtimes.tflite_parts"}


def inspected(order: InspectionOrder) -> Finding:
    """Carry out an order.

    Raises:
        AgentError: the runtime or the model does not work.
    """
    threads = max(1, min(order.settings.threads, len(usable_processors())))
    runtime = load_runtime(order.runtime)
    settings = runtime.effective(replace(order.settings, threads=threads))
    inspector: Any = importlib.import_module(_INSPECTORS[family_of_runtime(order.runtime)])
    found: Finding = inspector.inspect(runtime, Path(order.model), settings, order.input_shapes, Path(order.folder))
    return found


def main() -> None:
    """Read an order, answer on standard output, and end without the runtime's own clean-up, which may crash."""
    replies = private_output()
    finding: Finding
    try:
        order = parse_inspection(sys.stdin.readline())
        threading.Thread(target=end_with_standard_input, daemon=True).start()
        pin(order.settings.affinity)
        finding = inspected(order)
    except AgentError as e:
        finding = InspectionFailed(getattr(e, "code", "bad_order"), str(e))
    replies.write(format_finding(finding) + "\n")
    replies.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
