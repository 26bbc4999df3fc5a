"""What every runtime offers the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Protocol, Tuple

from profiler_agent.records import Settings
from profiler_agent.runtimes.placement import PlacedOperator


class Session(Protocol):
    """A model that is loaded, with inputs and outputs bound, ready to run again and again."""

    def run(self) -> None:
        """Run one inference on the bound inputs, and return when it is done on whatever device computes it.

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

    @property
    def own_provider(self) -> str:
        """What computes where nothing else does: the runtime's own operators on the processor."""

    def effective(self, settings: Settings) -> Settings:
        """Return the settings that are in effect: what this runtime has no notion of has one fixed value.

        Raises:
            BadInputError: this build has no such provider; the message says what it offers.
        """

    def provider(self, settings: Settings) -> str:
        """Return the full name of the provider that the settings ask for."""

    def open(self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]) -> Session:
        """Load a model and bind random inputs.

        Args:
            model: the file.
            settings: threads, optimisation level, spinning and the seed of the inputs.
            input_shapes: shapes of dynamic inputs, by input name.

        Raises:
            SessionError: the file is no model, an input's shape is dynamic and none is given, or the provider that
                was asked for by name is not there.
        """

    def placement(
        self, model: Path, settings: Settings, input_shapes: Dict[str, Tuple[int, ...]]
    ) -> Tuple[PlacedOperator, ...]:
        """Return the operators of the graph as the runtime executes it, in order, and what computes each.

        Raises:
            SessionError: as `open`.
        """
