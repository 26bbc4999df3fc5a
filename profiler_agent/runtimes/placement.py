"""Which provider or delegate computes each operator of a model, and the refusal of a model that fell back."""

from __future__ import annotations

from collections import Counter
from typing import Iterable, List, NamedTuple, Sequence, Tuple

from profiler_agent.errors import SessionError
from profiler_agent.records import short_provider

_NAMED = 5
_BOOKKEEPING_TYPES = ("bool", "int32", "int64")


class PlacedOperator(NamedTuple):
    """One operator of a graph as it is executed.

    Attributes:
        name: of its kind, such as `Conv`.
        provider: full name of what runs it.
        computes: whether it works on data; shapes and indices are worked out on the processor by every runtime.
    """

    name: str
    provider: str
    computes: bool = True


def works_on_data(outputs: Iterable[Tuple[str, int]]) -> bool:
    """Tell whether an operator computes on data, by the type and the rank of each of its outputs.

    One that makes nothing but integers or booleans, single or in one row, works out a shape or an index. A copy
    between memories is not told apart: it costs the time of a fall-back.
    """
    return not all(kind in _BOOKKEEPING_TYPES and rank <= 1 for kind, rank in outputs)


def operation_texts(placed: Sequence[PlacedOperator], own: str) -> Tuple[str, ...]:
    """Return the operators' names, with `@` and the provider behind those that run elsewhere than on `own`."""
    return tuple(one.name if one.provider == own else f"{one.name}@{short_provider(one.provider)}" for one in placed)


def require_placed(placed: Sequence[PlacedOperator], provider: str, model: str) -> None:
    """Refuse a model of which the provider does not compute everything.

    Args:
        placed: its operators.
        provider: full name of the one that must.
        model: its name, for the message.

    Raises:
        SessionError: it does not; the message counts and names what ran elsewhere. A model without operators passes.
    """
    elsewhere = [one for one in placed if one.provider != provider and one.computes]
    name = short_provider(provider)
    if placed and not any(one.provider == provider for one in placed):
        raise SessionError(
            "not_placed", f"{name} runs nothing of {model}: all of its {len(placed)} operators ran {_where(placed)}"
        )
    if elsewhere:
        raise SessionError(
            "not_placed",
            f"{name} does not run all of {model}: {len(elsewhere)} of its {len(placed)} operators ran "
            f"{_where(elsewhere)}",
        )


def _where(placed: Sequence[PlacedOperator]) -> str:
    """Return where operators ran, and which they are, the most frequent first."""
    counts = Counter(one.name for one in placed).most_common()
    names: List[str] = [name if count == 1 else f"{name} ×{count}" for name, count in counts[:_NAMED]]
    if len(counts) > _NAMED:
        names.append(f"{len(counts) - _NAMED} more kinds")
    providers = " and ".join(sorted({short_provider(one.provider) for one in placed}))
    return f"on {providers} ({', '.join(names)})"
