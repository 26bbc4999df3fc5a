"""The runtimes as packages: what has to be on `PYTHONPATH` that the agent can measure with one, and no more.

The agent imports a runtime's interpreter and numpy. What else a distribution declares is for its tools; it stays at
home, as every megabyte goes through a board's radio.
"""

from __future__ import annotations

from dataclasses import dataclass

from searcher.errors import BadInputError


@dataclass(frozen=True)
class RuntimePackages:
    """What one runtime consists of.

    Attributes:
        runtime: identifier.
        family: of runtimes that read the same files.
        distribution: name of the package that has it.
        others: requirements of what it imports.
        module: top-level module of it.
    """

    runtime: str
    family: str
    distribution: str
    others: tuple[str, ...]
    module: str

    def requirements(self, version: str | None) -> tuple[str, ...]:
        """Return what pip is asked for: the newest, or one version."""
        return (self.distribution if version is None else f"{self.distribution}=={version}", *self.others)


NUMPY = "numpy"

# Within a family the newest first.
_RUNTIMES = (
    RuntimePackages("onnxruntime", "onnx", "onnxruntime", (NUMPY,), "onnxruntime"),
    RuntimePackages("litert", "tflite", "ai-edge-litert", (NUMPY,), "ai_edge_litert"),
    # With numpy 2 it imports, and then no interpreter can be made.
    RuntimePackages("tflite-runtime", "tflite", "tflite-runtime", ("numpy<2",), "tflite_runtime"),
)

MODULES = (NUMPY, *(one.module for one in _RUNTIMES))


def packages_of(runtime: str) -> tuple[RuntimePackages, ...]:
    """Return the runtimes to try for an identifier or a family, best first.

    Raises:
        BadInputError: the name is neither.
    """
    matches = tuple(one for one in _RUNTIMES if runtime in (one.runtime, one.family))
    if not matches:
        known = sorted({name for one in _RUNTIMES for name in (one.runtime, one.family)})
        raise BadInputError(f"unknown runtime {runtime!r}: choose from {', '.join(known)}")
    return matches
