"""What is believed of a search's candidates, the more of them have been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profiler_agent.records import Measurement
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.cost_model import LinearCostModel
from searcher.cost_models.prices import LATENCY
from searcher.cost_models.recalibration import Prior, RecalibratedModel, recalibrated
from searcher.search.archive import Archive, Standing
from searcher.search.candidate import Candidate, SearchResult
from searcher.search.limits import Constraint, Limit
from searcher.search.possible import connected_encodings
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatency
from searcher.verification.verification import Round, Verdict, judge


class Beliefs:
    """The ranking of a search's candidates, and the cost model behind it, corrected by what was measured.

    Attributes:
        limit: that is measured: the search's first on latency.
        verdicts: on what was measured, by the architecture's text, in the order of measuring.
    """

    def __init__(
        self,
        space: SearchSpace,
        search: SearchResult,
        constraints: Sequence[Constraint],
        table: LookupTable | Calibration,
    ) -> None:
        """Begin with what the search believed.

        Args:
            space: with the depth of the networks whose costs are limited.
            search: what it found.
            constraints: its limits in their order, with what prices architectures for them.
            table: behind the prices of the first limit on latency, or its calibration.

        Raises:
            BadInputError: an architecture is none of the space.
        """
        self._space = space
        self._place = next(index for index, one in enumerate(search.limits) if one.quantity == LATENCY)
        self.limit: Limit = search.limits[self._place]
        self.verdicts: dict[str, Verdict] = {}
        self._model, self._prior = _model_of(space, table)
        self._archive = Archive(space, search, constraints)
        self._networks: dict[str, NetworkLatency] = {}
        self._corrected, self._standing = self._believe()

    @property
    def within(self) -> tuple[Candidate, ...]:
        """Those believed to keep all limits, one for each `score_key`, best first."""
        return self._standing.within

    @property
    def above(self) -> tuple[Candidate, ...]:
        """Those of `within` that stand above the first measured one; all if none of them was measured."""
        places = (index for index, one in enumerate(self.within) if one.architecture in self.verdicts)
        return self.within[: next(places, len(self.within))]

    @property
    def winner(self) -> Verdict | None:
        """The verdict on the first measured one of `within`; None if there is none."""
        return next((self.verdicts[one.architecture] for one in self.within if one.architecture in self.verdicts), None)

    @property
    def bound_over_prediction(self) -> float:
        """What is held against the limit over what is predicted, of an architecture that was not measured."""
        return 1.0 if self.limit.confidence is None else self._corrected.upper_ratio(self.limit.confidence)

    def learn(
        self,
        chosen: Sequence[Candidate],
        measurements: Mapping[str, Measurement],
        latencies: Mapping[str, NetworkLatency],
        seconds: float,
    ) -> Round:
        """Judge candidates by their measurements, and correct by these what is believed of all others.

        Args:
            chosen: of `within`.
            measurements: by the architecture's text.
            latencies: the same, as cost models take them.
            seconds: since the loop began.
        """
        verdicts = tuple(
            judge(one.architecture, one.costs[self._place].value, measurements[one.architecture], self.limit.at_most)
            for one in chosen
        )
        self.verdicts.update((one.architecture, one) for one in verdicts)
        self._networks.update(latencies)
        self._corrected, self._standing = self._believe()
        return Round(
            candidates=verdicts,
            correction=self._corrected.correction,
            bound_over_prediction=self.bound_over_prediction,
            within=len(self.within),
            unscored=self._standing.unscored,
            first=self.within[0].architecture if self.within else None,
            seconds=round(seconds, 3),
        )

    def reason(self) -> str:
        """Return why there is no winner."""
        fastest_ms, at_most = min(one.measured_ms for one in self.verdicts.values()), self.limit.at_most
        if self.within:
            left = (
                f"{len(self.within)} more, not measured, are believed to keep it: more rounds, or more time, would tell"
            )
        else:
            left = f"by what they tell, no candidate keeps all limits, {self._hope()}"
        return (
            f"none of {len(self.verdicts)} measured candidates keeps {at_most:.4f} ms; "
            f"the fastest takes {fastest_ms:.4f} ms; {left}"
        )

    def _hope(self) -> str:
        """Return whether another search could find what keeps the limit."""
        least_ms = float(self._corrected.latencies_ms(connected_encodings(self._space)).min())
        if least_ms * self.bound_over_prediction > self.limit.at_most:
            return f"nor does any architecture: the least possible is {least_ms:.4f} ms"
        return f"but others of the space may, down to {least_ms:.4f} ms: search with a calibration or a lower limit"

    def _believe(self) -> tuple[RecalibratedModel, Standing]:
        model = recalibrated(self._model, self._networks, self._prior)
        genotypes, confidence = self._archive.genotypes, self.limit.confidence
        values = model.latencies_ms(genotypes)
        bounds = values if confidence is None else model.uppers_ms(genotypes, confidence)
        return model, self._archive.standing(self._place, values, bounds, self.verdicts)


def _model_of(space: SearchSpace, table: LookupTable | Calibration) -> tuple[LinearCostModel, Prior]:
    if isinstance(table, Calibration):
        return CalibratedModel(space, table), Prior.of(space, table)
    return BlockSum(space, table), Prior()
