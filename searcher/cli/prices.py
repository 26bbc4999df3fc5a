"""What prices the first limit of `searcher search`: a table, a calibration, a predictor, or latencies of networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searcher.cli import show
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT
from searcher.errors import BadInputError
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.merge import read_tables
from searcher.workflows.complete_table import CompletionRequest, complete_table, read_predictor
from searcher.workflows.network_models import is_network_model, train_network_model
from searcher.workflows.price_limits import Prices


@dataclass(frozen=True)
class Sources:
    """The files that options name; one, or a table and the predictor that completes it."""

    lut: Path | None
    calibration: Path | None
    predictor: Path | None
    latencies: Path | None

    def __post_init__(self) -> None:
        """Refuse what is no source of prices.

        Raises:
            BadInputError: there is none, or several that exclude each other.
        """
        given = [one for one in (self.lut or self.predictor, self.calibration, self.latencies) if one is not None]
        if len(given) != 1:
            raise BadInputError(
                "prices come from one file: give --lut TABLE, --calibration FILE, --predictor FILE (alone, or with the "
                "--lut that it completes) or --latencies FILE"
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are given; the first is what the prices are called by."""
        return tuple(one for one in (self.lut, self.calibration, self.latencies, self.predictor) if one is not None)


def load(sources: Sources, space: SearchSpace, data: str) -> Prices:
    """Read the prices; those that no file holds are predicted or fitted, which shows its progress.

    Args:
        sources: of the prices.
        space: whose blocks are priced.
        data: images that blocks of other numbers than fp32 are calibrated on.

    Raises:
        BadInputError: a file cannot be used, or the files do not go together.
    """
    if sources.calibration is not None:
        return CALIBRATION_DOCUMENT.load(sources.calibration)
    if sources.latencies is not None:
        return train_network_model(sources.latencies)
    if sources.predictor is None:
        (only,) = sources.files
        return TABLE_DOCUMENT.load(only)
    if is_network_model(sources.predictor):
        if sources.lut is not None:
            raise BadInputError(f"{sources.predictor} prices whole networks: it takes no --lut beside it")
        return NETWORK_MODEL_DOCUMENT.load(sources.predictor)
    predictor = read_predictor(sources.predictor)
    source = None if sources.lut is None else read_tables([sources.lut])[0]
    return show.run(complete_table(CompletionRequest(space, predictor, source, data)))


def remark(prices: Prices, confidence: float | None) -> str | None:
    """Return what a user is to know of blocks that nobody measured; None where there are none.

    Args:
        prices: of a search.
        confidence: with which it kept limits on latency; None where it kept what is expected below them.
    """
    if not isinstance(prices, LookupTable) or not prices.predicted:
        return None
    told = f"{len(prices.predicted)} of {len(prices.entries)} blocks are predicted, not measured"
    return told if confidence is not None else f"{told}: --confidence keeps limits with their intervals"
