"""LiteRT, the successor of TensorFlow Lite, from the package ai-edge-litert."""

from __future__ import annotations

from importlib.metadata import version

from ai_edge_litert import interpreter

from profiler_agent.runtimes.session import Runtime
from profiler_agent.runtimes.tflite import TfliteRuntime

RUNTIME: Runtime = TfliteRuntime("litert", version("ai-edge-litert"), interpreter)
