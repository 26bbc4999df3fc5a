"""What one differentiable search has found: the different architectures of its control, priced, judged and ranked.

Members are ranked by the loss that `supernet_judge` tells.

History of the schema of family.json:
2: `likeliest`; before, a point gave one member.
1: the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from searcher.cost_models.cost_model import BoundedCostModel, CostModel, ImpossibleLimitError, LatencyRange
from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.documents import Document
from searcher.search.candidate import Candidate
from searcher.search.differentiable.search import DifferentiableSearch
from searcher.search.differentiable.supernet_judge import SupernetJudge
from searcher.search.limits import Cost, Limit, violation
from searcher.search.pareto import pareto_front
from searcher.spaces.architecture import Architecture
from searcher.spaces.space import SearchSpace
from searcher.training.halves import Halves

SCHEMA_VERSION = 2
_LATENCY = "latency"


@dataclass(frozen=True, eq=False)
class PricedDevice:
    """What is known of the latencies on one device.

    Attributes:
        name: of the device's prices.
        expected: the edge-additive prices that the search itself used.
        model: what predicts an architecture's latency best.
        bounded: the same model, where it knows by how much it may be wrong; else None.
        confidence: the probability with which measured latencies stay below bounds; None where there are none.
        range: of the connected architectures' bounds, or of their predictions where there are no bounds.
        limit_ms: what an architecture may take at most; None for no limit.
    """

    name: str
    expected: EdgeAdditive
    model: CostModel
    bounded: BoundedCostModel | None
    confidence: float | None
    range: LatencyRange
    limit_ms: float | None = None

    @property
    def target_ms(self) -> float | None:
        """The limit on predictions that a search aims at: the limit over what bounds add, as of the slowest network."""
        if self.limit_ms is None or self.bounded is None or self.confidence is None:
            return self.limit_ms
        slowest = self.range.slowest
        return self.limit_ms * self.model.latency_ms(slowest) / self.bounded.upper_ms(slowest, self.confidence)

    def require_possible(self) -> None:
        """Raise ImpossibleLimitError, with the minimum possible, for a limit that nothing can keep."""
        if self.limit_ms is None:
            return
        try:
            self.range.require_possible(self.limit_ms)
        except ImpossibleLimitError as e:
            raise ImpossibleLimitError(f"{self.name}: {e}") from e

    def latency(self, architecture: Architecture) -> MemberLatency:
        """Return what an architecture takes on the device."""
        predicted_ms = self.model.latency_ms(architecture)
        bound_ms = None
        if self.bounded is not None and self.confidence is not None:
            bound_ms = self.bounded.upper_ms(architecture, self.confidence)
        held_ms = predicted_ms if bound_ms is None else bound_ms
        kept = None if self.limit_ms is None else held_ms <= self.limit_ms
        return MemberLatency(self.name, self.expected.latency_ms(architecture), predicted_ms, bound_ms, kept)


@dataclass(frozen=True)
class MemberLatency:
    """What a member takes on one device.

    Attributes:
        device: name of its prices.
        expected_ms: by the edge-additive prices of the search.
        predicted_ms: by the model that predicts best.
        bound_ms: what the measured latency stays below with the family's confidence; None where nothing is known of
            how wrong the model may be.
        within_limit: whether the bound, or else the prediction, keeps the device's limit; None without one.
    """

    device: str
    expected_ms: float
    predicted_ms: float
    bound_ms: float | None
    within_limit: bool | None


@dataclass(frozen=True)
class FamilyMember:
    """One architecture of a family.

    Attributes:
        architecture: its text.
        points: all points of the control's grid that have it among their likeliest.
        latencies: one for each device, in the family's order.
        parameters: trainable parameters.
        macs: multiply-accumulates of one image.
        validation_accuracy: of the supernet's weights under this architecture on the validation half, in percent.
        validation_loss: mean cross-entropy there, in nats.
        within_limits: whether it keeps the limits of all devices.
        pareto: whether no other member has a validation loss as low, or lower, with latencies as low, or lower, on all
            devices, and less of one of these.
    """

    architecture: str
    points: tuple[tuple[float, ...], ...]
    latencies: tuple[MemberLatency, ...]
    parameters: int
    macs: int
    validation_accuracy: float
    validation_loss: float
    within_limits: bool
    pareto: bool


@dataclass(frozen=True)
class FamilyDevice:
    """A device that a family is priced for.

    Attributes:
        name: of its prices.
        limit_ms: what members may take there at most; None for no limit.
        confidence: of the bounds there; None where there are none.
    """

    name: str
    limit_ms: float | None
    confidence: float | None


@dataclass(frozen=True)
class Family:
    """The architectures of one search, in the order of preference.

    Attributes:
        space: name of the search space.
        control: what a point means: prices, operations or scalar.
        coordinates: what each coordinate of a point is.
        divisions: of the grid that members are from.
        likeliest: how many members each point of it gives, the most probable ones.
        epoch: how many epochs the search had done.
        state_sha256: hash of the state that the members were derived from; None where it was not written.
        devices: what members are priced for.
        members: those within the limits first, the lower validation loss first, of equals the faster one.
        picked: text of the first member, if it is within the limits; else None.
        reason: why none is picked; None if one is.
    """

    space: str
    control: str
    coordinates: tuple[str, ...]
    divisions: int
    likeliest: int
    epoch: int
    state_sha256: str | None
    devices: tuple[FamilyDevice, ...]
    members: tuple[FamilyMember, ...]
    picked: str | None
    reason: str | None
    schema_version: int = SCHEMA_VERSION


FAMILY_DOCUMENT = Document(Family, "family of architectures", SCHEMA_VERSION, "searcher darts family makes it anew")


def judged_members(
    search: DifferentiableSearch,
    space: SearchSpace,
    devices: Sequence[PricedDevice],
    halves: Halves,
    divisions: int,
    likeliest: int,
) -> Iterator[tuple[int, FamilyMember]]:
    """Derive, price and score the different architectures of a control's grid.

    What the supernet's score is worth it tells of members that are near to each other in probability, too; so a point
    may give more of them than the one that is derived from it.

    Args:
        search: the state of a search; it is not changed.
        space: with the sizes of the networks that latencies are of.
        devices: what members are priced for.
        halves: of the search.
        divisions: of the grid.
        likeliest: how many architectures each of its points gives, the most probable ones.

    Yields:
        How many members there are in all, and the next one; whether it is on the Pareto front is not known yet.
    """
    judge = SupernetJudge(search.supernet, halves)
    points: dict[Architecture, list[tuple[float, ...]]] = {}
    for point in search.control.grid(divisions):
        for architecture in search.likeliest(point, likeliest):
            points.setdefault(architecture, []).append(tuple(point.tolist()))
    for architecture, found in points.items():
        latencies = tuple(device.latency(architecture) for device in devices)
        accuracy, loss = judge.score(architecture)
        yield (
            len(points),
            FamilyMember(
                architecture=space.format(architecture),
                points=tuple(found),
                latencies=latencies,
                parameters=space.parameters(architecture),
                macs=space.macs(architecture),
                validation_accuracy=accuracy,
                validation_loss=loss,
                within_limits=all(one.within_limit is not False for one in latencies),
                pareto=False,
            ),
        )


def ranked(members: Sequence[FamilyMember], devices: Sequence[PricedDevice]) -> tuple[FamilyMember, ...]:
    """Mark the members that no other beats, and return all in the order of preference.

    Those within all limits come first: the lower validation loss first, of equals the faster, by their latencies
    relative to the limits' or, without one, to the greatest of the space. The others follow, the nearer first.
    """
    front = {one.architecture for one in pareto_front([_candidate(member, devices) for member in members])}
    marked = [replace(member, pareto=member.architecture in front) for member in members]
    scales = [device.limit_ms or device.range.high_ms for device in devices]

    def preference(member: FamilyMember) -> tuple[bool, float, float, float, str]:
        time = sum(one.predicted_ms / scale for one, scale in zip(member.latencies, scales, strict=True))
        above = _candidate(member, devices).violation
        return not member.within_limits, above, member.validation_loss, time, member.architecture

    return tuple(sorted(marked, key=preference))


def no_member_within_limits(members: Sequence[FamilyMember], devices: Sequence[PricedDevice]) -> str | None:
    """Say why none of the ranked members is picked; None where the first one is within all limits."""
    if members[0].within_limits:
        return None
    limits = " and ".join(
        f"{one.name} of {one.limit_ms:g} ms (the nearest member takes {_held_ms(member):.4f} ms, "
        f"the least possible is {one.range.low_ms:.4f} ms)"
        for one, member in zip(devices, members[0].latencies, strict=True)
        if one.limit_ms is not None
    )
    return f"none of {len(members)} members keeps the limits of {limits}: search with that limit, or loosen it"


def _held_ms(latency: MemberLatency) -> float:
    return latency.predicted_ms if latency.bound_ms is None else latency.bound_ms


def _candidate(member: FamilyMember, devices: Sequence[PricedDevice]) -> Candidate:
    """Return a member as searches know it: what is limited are its latencies, without a limit by any."""
    costs = tuple(Cost(_LATENCY, one.predicted_ms, _held_ms(one)) for one in member.latencies)
    limited = [(cost, device.limit_ms) for cost, device in zip(costs, devices, strict=True) if device.limit_ms]
    return Candidate(
        architecture=member.architecture,
        score_key=member.architecture,
        score=-member.validation_loss,
        measured={"validation_accuracy": member.validation_accuracy, "validation_loss": member.validation_loss},
        rung=0,
        costs=costs,
        violation=violation([cost for cost, _ in limited], [Limit(_LATENCY, at_most) for _, at_most in limited]),
        feasible=member.within_limits,
        parameters=member.parameters,
        macs=member.macs,
    )
