"""A search's best candidates measured, its cost model corrected by them, its ranking redone, until the first one holds.

In each round the best candidates that stand above the first measured one are measured, the model is corrected by all
that was measured so far, and every candidate is held against its limits anew. The loop ends when the first in the
ranking is one that was measured: no other is believed both better and within the limits, and none that broke the limit
by measurement stands in the ranking at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler_agent.records import Settings, TableKey
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.network_model import NetworkModel
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.search.candidate import Candidate, SearchResult
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import connected_encodings
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable, require_same_key
from searcher.verification.beliefs import Beliefs
from searcher.verification.verification import (
    VERIFICATION_DOCUMENT,
    MeasuredDevice,
    Round,
    Verification,
)
from searcher.workflows.measure_networks import NetworksRequest, measure_networks
from searcher.workflows.prepare_device import ask_device, meet_device
from searcher.workflows.prepare_exporter import exporter_like
from searcher.workflows.price_limits import Prices, constraints_of
from searcher.workflows.progress import Progress, Work
from searcher.workflows.search_space import SearchRequest

TOP, ROUNDS = 3, 5
_STAGE = "rounds of measuring"


@dataclass(frozen=True)
class LoopSettings:
    """Where and how much to measure: what is known before the search.

    Attributes:
        key: of the table behind the search's first limit on latency.
        device: the very one of that table.
        settings: of the measuring; their conditions must be those of that table.
        out: file that the verification is written to after every round.
        top: how many candidates to measure in a round, at most.
        most_rounds: how many rounds, at most.
        budget_s: seconds after which no round starts but the first, nor a round of processes in it; None for no bound.
    """

    key: TableKey
    device: Device
    settings: Settings
    out: Path
    top: int = TOP
    most_rounds: int = ROUNDS
    budget_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a loop of nothing.

        Raises:
            BadInputError: there is nothing to measure.
        """
        if self.top < 1 or self.most_rounds < 1:
            raise BadInputError("a loop measures at least one candidate in at least one round")


@dataclass(frozen=True)
class LoopRequest:
    """What to verify, and what to correct.

    Attributes:
        space: with the depth of the networks whose costs are limited.
        search: what it found; its first limit on latency is that of the device.
        constraints: its limits in their order, with what prices architectures for them.
        table: behind the prices of that first limit, or its calibration.
        measuring: where, and how much.
        data: images that networks of other numbers than fp32 are calibrated on.
    """

    space: SearchSpace
    search: SearchResult
    constraints: Sequence[Constraint]
    table: LookupTable | Calibration
    measuring: LoopSettings
    data: str = "digits"

    def __post_init__(self) -> None:
        """Refuse prices of something else.

        Raises:
            BadInputError: the constraints are not those of the search.
        """
        if tuple(one.limit for one in self.constraints) != self.search.limits:
            raise BadInputError("the prices are not of the limits of this search")


def correctable(prices: Prices, confidence: float | None) -> LookupTable | Calibration:
    """Return the prices behind a search's first limit, if a closed loop can correct what they predict.

    Raises:
        BadInputError: they are a model of whole networks, which has no blocks to correct, or bounds of predicted
            entries were to be kept, which a correction by networks does not know.
    """
    if isinstance(prices, NetworkModel):
        raise BadInputError(
            "a model of whole networks has no blocks that --verify-top could correct: search without it, then verify"
        )
    if confidence is not None and isinstance(prices, LookupTable) and prices.predicted:
        raise BadInputError(
            "--verify-top with --confidence takes a calibration: it cannot correct the bounds of predicted blocks"
        )
    return prices


def loop_after(request: SearchRequest, search: SearchResult, measuring: LoopSettings) -> LoopRequest:
    """Return what is to verify after a search, with the prices that it had.

    Args:
        request: what was searched.
        search: what it found.
        measuring: where, and how much.

    Raises:
        BadInputError: prices do not fit the space, or are none that can be corrected.
    """
    wanted = [replace(one, at_most=limit.at_most) for one, limit in zip(request.wanted, search.limits, strict=True)]
    constraints = constraints_of(request.space, wanted, request.confidence, connected_encodings(request.space))
    prices = correctable(request.table, request.confidence)
    return LoopRequest(request.space, search, constraints, prices, measuring, request.data)


def closed_loop(
    request: LoopRequest, connect: Connect = connect, clock_s: Callable[[], float] = time.monotonic
) -> Work[Verification]:
    """Measure and correct until the first of the ranking holds its limit by measurement.

    Args:
        request: what to verify.
        connect: opens the way to the device.
        clock_s: a monotonic clock, in s.

    Returns:
        The verification; it has a winner if any measured candidate keeps the limit, also where rounds or time ended
        before the first of the ranking was measured.

    Raises:
        BadInputError: no candidate is within the limits to begin with.
        KeyMismatchError: the device or the settings are not those of the search's table.
        SearcherError: the device cannot be reached or a network cannot be measured; what rounds before it found is
            written.
    """
    start, measuring = clock_s(), request.measuring
    beliefs = Beliefs(request.space, request.search, request.constraints, request.table)
    rounds: list[Round] = []
    verification: Verification | None = None
    while beliefs.above:
        spent_s = clock_s() - start
        left_s = None if measuring.budget_s is None else measuring.budget_s - spent_s
        if len(rounds) >= measuring.most_rounds or (rounds and left_s is not None and left_s <= 0):
            break
        chosen = beliefs.above[: measuring.top]
        measured = yield from measure_networks(_networks(request, chosen, left_s), connect)
        by_name = {one.block_id: one for one in measured.result.measurements}
        rounds.append(beliefs.learn(chosen, by_name, measured.latencies(), clock_s() - start))
        verification = _concluded(beliefs, rounds, measuring.device, measured.result.hello.key)
        VERIFICATION_DOCUMENT.save(verification, measuring.out)
        yield Progress(_STAGE, len(rounds), measuring.most_rounds, _note(rounds, beliefs.limit))
    if verification is None:
        raise BadInputError("the search holds no candidate within its limits")
    yield Progress(_STAGE, measuring.most_rounds, measuring.most_rounds)
    return verification


def _concluded(beliefs: Beliefs, rounds: Sequence[Round], device: Device, key: TableKey) -> Verification:
    verdicts, winner = tuple(beliefs.verdicts.values()), beliefs.winner
    return Verification(
        device=MeasuredDevice(device.name, key.device_fingerprint),
        runtime=key.runtime,
        max_latency_ms=beliefs.limit.at_most,
        candidates=verdicts,
        first=verdicts[0],
        winner=winner,
        reason=beliefs.reason() if winner is None else None,
        rounds=tuple(rounds),
        untested=len(beliefs.above),
    )


def _note(rounds: Sequence[Round], limit: Limit) -> str:
    """Return what the last round has shown, in a sentence."""
    last = rounds[-1]
    kept = sum(one.feasible for one in last.candidates)
    return (
        f"round {len(rounds)}: {kept} of {len(last.candidates)} measured within {limit.at_most:g} ms; "
        f"predictions are corrected by {100 * (last.correction.common - 1):+.1f}%; "
        f"{last.within} candidates are believed to be within the limits"
    )


def require_device(key: TableKey, device: Device, connect: Connect = connect) -> Work[None]:
    """Find out before a long search whether a device can be reached, and is that of a table.

    Raises:
        TransportError: the device cannot be reached, or the agent does not run there.
        KeyMismatchError: it is another device.
    """
    yield from meet_device(device)
    told = ask_device(device, connect)
    require_same_key(key, replace(key, device_fingerprint=told.device_fingerprint))


def require_same_images(space: SearchSpace, table: LookupTable | Calibration, settings: Settings, data: str) -> None:
    """Find out before a long search whether networks will be calibrated on the images that a table's blocks were.

    Args:
        space: that is searched.
        table: behind the search's first limit, or its calibration.
        settings: of the measuring.
        data: images that networks of other numbers than fp32 are calibrated on.

    Raises:
        BadInputError: they will not, or cannot be exported at all.
    """
    exporter_like(space, settings.runtime, settings.precision, data, _calibrated_on(table))


def _calibrated_on(table: LookupTable | Calibration) -> str | None:
    return table.provenance.calibration if isinstance(table, LookupTable) else None


def _networks(request: LoopRequest, chosen: Sequence[Candidate], budget_s: float | None) -> NetworksRequest:
    return NetworksRequest(
        space=request.space,
        architectures=[request.space.parse(one.architecture) for one in chosen],
        key=request.measuring.key,
        device=request.measuring.device,
        settings=request.measuring.settings,
        budget_s=budget_s,
        data=request.data,
        calibrated_on=_calibrated_on(request.table),
    )
