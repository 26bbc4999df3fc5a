"""A search's best candidates measured, its cost model corrected by them, its ranking redone, until the first one holds.

In each round the best candidates that stand above the first measured one are measured, the model is corrected by all
that was measured so far, and every candidate is held against its limits anew. The loop ends when the first in the
ranking is one that was measured: no other is believed both better and within the limits, and none that broke the limit
by measurement stands in the ranking at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from profiler_agent.records import Settings, TableKey
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.cost_model import LinearCostModel
from searcher.cost_models.prices import LATENCY
from searcher.cost_models.recalibration import Prior, RecalibratedModel, recalibrated
from searcher.devices.device import Connect, Device, connect
from searcher.errors import BadInputError
from searcher.search.archive import Archive, Standing
from searcher.search.candidate import Candidate, SearchResult
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import connected_encodings
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable, require_same_key
from searcher.tables.network_latencies import NetworkLatency
from searcher.verification.verification import (
    VERIFICATION_DOCUMENT,
    MeasuredDevice,
    Round,
    Verdict,
    Verification,
    judge,
)
from searcher.workflows.measure_networks import MeasuredNetworks, NetworksRequest, measure_networks
from searcher.workflows.prepare_device import ask_device, meet_device
from searcher.workflows.price_limits import constraints_of
from searcher.workflows.progress import Progress, Work
from searcher.workflows.search_space import SearchRequest

TOP, ROUNDS = 3, 5


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

    @property
    def place(self) -> int:
        """Which of the limits is measured: the first on latency."""
        return next(index for index, limit in enumerate(self.search.limits) if limit.quantity == LATENCY)

    @property
    def limit(self) -> Limit:
        """The limit that is measured."""
        return self.search.limits[self.place]


def loop_after(request: SearchRequest, search: SearchResult, measuring: LoopSettings) -> LoopRequest:
    """Return what is to verify after a search, with the prices that it had.

    Args:
        request: what was searched.
        search: what it found.
        measuring: where, and how much.

    Raises:
        BadInputError: prices do not fit the space.
    """
    wanted = [replace(one, at_most=limit.at_most) for one, limit in zip(request.wanted, search.limits, strict=True)]
    constraints = constraints_of(request.space, wanted, request.confidence, connected_encodings(request.space))
    return LoopRequest(request.space, search, constraints, request.table, measuring, request.data)


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
    loop = _Loop(request)
    while chosen := loop.wanted():
        spent_s = clock_s() - start
        left_s = None if measuring.budget_s is None else measuring.budget_s - spent_s
        if len(loop.rounds) >= measuring.most_rounds or (loop.rounds and left_s is not None and left_s <= 0):
            break
        measured = yield from measure_networks(_networks(request, chosen, left_s), connect)
        loop.take(chosen, measured, clock_s() - start)
        VERIFICATION_DOCUMENT.save(loop.verification(), measuring.out)
        yield Progress("rounds of measuring", len(loop.rounds), measuring.most_rounds, loop.note())
    yield Progress("rounds of measuring", measuring.most_rounds, measuring.most_rounds)
    return loop.verification()


def require_device(key: TableKey, device: Device, connect: Connect = connect) -> Work[None]:
    """Find out before a long search whether a device can be reached, and is that of a table.

    Raises:
        TransportError: the device cannot be reached, or the agent does not run there.
        KeyMismatchError: it is another device.
    """
    yield from meet_device(device)
    told = ask_device(device, connect)
    require_same_key(key, replace(key, device_fingerprint=told.device_fingerprint))


def _networks(request: LoopRequest, chosen: Sequence[Candidate], budget_s: float | None) -> NetworksRequest:
    table = request.table
    return NetworksRequest(
        space=request.space,
        architectures=[request.space.parse(one.architecture) for one in chosen],
        key=request.measuring.key,
        device=request.measuring.device,
        settings=request.measuring.settings,
        budget_s=budget_s,
        data=request.data,
        calibrated_on=table.provenance.calibration if isinstance(table, LookupTable) else None,
    )


def _model_of(space: SearchSpace, table: LookupTable | Calibration) -> tuple[LinearCostModel, Prior]:
    if isinstance(table, Calibration):
        return CalibratedModel(space, table), Prior.of(space, table)
    return BlockSum(space, table), Prior()


@dataclass
class _Loop:
    """What was measured so far, and what is believed."""

    request: LoopRequest
    rounds: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        request = self.request
        self._model, self._prior = _model_of(request.space, request.table)
        self._archive = Archive(request.space, request.search, request.constraints)
        self._networks: dict[str, NetworkLatency] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._measured_on: tuple[MeasuredDevice, str] | None = None
        self._corrected, self._standing = self._believe()
        if not self._standing.within:
            raise BadInputError("the search holds no candidate within its limits")

    def wanted(self) -> list[Candidate]:
        """Return the best candidates that stand above the first measured one; none if that is the first of all."""
        above = _above(self._standing.within, self._verdicts)
        return above[: self.request.measuring.top]

    def take(self, chosen: Sequence[Candidate], measured: MeasuredNetworks, seconds: float) -> None:
        """Judge what was measured, and correct what is believed."""
        result, limit = measured.result, self.request.limit
        self._measured_on = (
            MeasuredDevice(self.request.measuring.device.name, result.hello.key.device_fingerprint),
            result.hello.key.runtime,
        )
        by_name = {one.block_id: one for one in result.measurements}
        place = self.request.place
        verdicts = [
            judge(one.architecture, one.costs[place].value, by_name[one.architecture], limit.at_most) for one in chosen
        ]
        self._verdicts.update((one.architecture, one) for one in verdicts)
        self._networks.update(measured.latencies())
        self._corrected, self._standing = self._believe()
        within = self._standing.within
        self.rounds.append(
            Round(
                candidates=tuple(verdicts),
                correction=self._corrected.correction,
                bound_over_prediction=self._ratio(self._corrected),
                within=len(within),
                unscored=self._standing.unscored,
                first=within[0].architecture if within else None,
                seconds=round(seconds, 3),
            )
        )

    def note(self) -> str:
        """Return what the last round has shown, in a sentence."""
        last, limit = self.rounds[-1], self.request.limit
        kept = sum(one.feasible for one in last.candidates)
        return (
            f"round {len(self.rounds)}: {kept} of {len(last.candidates)} measured within {limit.at_most:g} ms; "
            f"predictions are corrected by {100 * (last.correction.common - 1):+.1f}%; "
            f"{last.within} candidates are believed to be within the limits"
        )

    def verification(self) -> Verification:
        """Return what was found so far."""
        if self._measured_on is None:
            raise BadInputError("nothing was measured")
        device, runtime = self._measured_on
        within, verdicts = self._standing.within, tuple(self._verdicts.values())
        winner = next((self._verdicts[one.architecture] for one in within if one.architecture in self._verdicts), None)
        untested = len(_above(within, self._verdicts))
        return Verification(
            device=device,
            runtime=runtime,
            max_latency_ms=self.request.limit.at_most,
            candidates=verdicts,
            first=verdicts[0],
            winner=winner,
            reason=None if winner is not None else self._reason(verdicts, untested),
            rounds=tuple(self.rounds),
            untested=untested,
        )

    def _reason(self, verdicts: Sequence[Verdict], untested: int) -> str:
        fastest = min(one.measured_ms for one in verdicts)
        left = (
            f"{untested} more are believed to keep it and were not measured: more rounds, or more time, would tell"
            if untested
            else "by what they tell of the others no candidate keeps all limits"
        )
        return (
            f"none of {len(verdicts)} measured candidates keeps {self.request.limit.at_most:.4f} ms; "
            f"the fastest takes {fastest:.4f} ms; {left}"
        )

    def _believe(self) -> tuple[RecalibratedModel, Standing]:
        model = recalibrated(self._model, self._networks, self._prior)
        confidence = self.request.limit.confidence
        values = model.latencies_ms(self._archive.genotypes)
        bounds = values if confidence is None else model.uppers_ms(self._archive.genotypes, confidence)
        return model, self._archive.standing(self.request.place, values, bounds, self._verdicts)

    def _ratio(self, model: RecalibratedModel) -> float:
        confidence = self.request.limit.confidence
        return 1.0 if confidence is None else model.upper_ratio(confidence)


def _above(within: Sequence[Candidate], measured: Collection[str]) -> list[Candidate]:
    """Return the candidates that stand above the first measured one; all if none was measured."""
    place = next((index for index, one in enumerate(within) if one.architecture in measured), len(within))
    return list(within[:place])
