"""What every runtime offers the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Protocol, Tuple

from profiler_agent.records import Settings


class Session(Protocol):
    """A model that is loaded, with inputs and outputs bound, ready to run again and again."""

    @property
    def provider(self) -> str:
        """The provider or delegate actually engaged."""

    def run(self) -> None:
        """Run one inference on the bound inputs.

        Raises:
            Exception: the runtime's own, unchanged: a wrapper would be timed with the run.
        """

    def close(self) -> None:
        """Free what the session holds; it runs no more."""


class Runtime(Protocol):
    """A family of sessions: one module of this package each."""

    @property
    def version(self) -> str:
        """Version of the installed runtime."""

    @property
    def sentinel_model(self) -> bytes:
        """A small model that never changes: it proves that sessions work here, and tells when the machine shifts."""

    def effective(self, settings: Settings) -> Settings:
        """Return the settings that are in effect: what this runtime has no notion of has one fixed value."""

    def open(self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]) -> Session:
        """Load a model and bind random inputs.

        Args:
            model: the file.
            settings: threads, optimisation level, spinning and the seed of the inputs.
            input_shapes: shapes of dynamic inputs, by input name.

        Raises:
            SessionError: the file is no model, or an input's shape is dynamic and none is given.
        """

    def operations(self, model: Path, settings: Settings) -> Tuple[str, ...]:
        """Return the operators of the graph as the runtime executes it, in order."""
