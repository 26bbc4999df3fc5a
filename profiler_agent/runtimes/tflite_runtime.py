"""The older TensorFlow Lite interpreter, from the package tflite-runtime; with numpy 2 it imports and then fails."""

from __future__ import annotations

from tflite_runtime import __version__, interpreter

from profiler_agent.runtimes.session import Runtime
from profiler_agent.runtimes.tflite import TfliteRuntime

RUNTIME: Runtime = TfliteRuntime("tflite-runtime", str(__version__), interpreter)
