"""`--limit QUANTITY[:FILE]=NUMBER`: what it says, and the files that it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from searcher.cost_models.calibration import CALIBRATION_DOCUMENT
from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT
from searcher.cost_models.prices import ENERGY
from searcher.documents import field_names_in
from searcher.errors import BadInputError
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.network_models import is_network_model
from searcher.workflows.price_limits import NEEDS_PRICES, Prices, WantedLimit


def load_prices(path: Path) -> Prices:
    """Read a lookup table, a calibration or a model of whole networks, whichever the file is.

    Raises:
        BadInputError: it is none of them.
    """
    if is_network_model(path):
        return NETWORK_MODEL_DOCUMENT.load(path)
    # What only calibrations have; what cannot be read at all is left to the reader of tables to refuse.
    return CALIBRATION_DOCUMENT.load(path) if "held_out" in field_names_in(path) else TABLE_DOCUMENT.load(path)


def wanted_limits(options: Sequence[str], lut: Path | None) -> tuple[WantedLimit, ...]:
    """Return the limits that options ask for.

    Args:
        options: such as `latency:pi.json=12.5`, `energy=3.2` or `parameters=0.8`.
        lut: the search's own table, which prices energy where no file is named; None if it has none.

    Raises:
        BadInputError: an option is of another form, or a file cannot be used.
    """
    return tuple(_wanted_limit(option, lut) for option in options)


def _wanted_limit(option: str, lut: Path | None) -> WantedLimit:
    # A file's name may hold both signs; a quantity and a number hold neither.
    left, _, number = option.rpartition("=")
    quantity, colon, named = left.partition(":")
    try:
        at_most = float(number)
    except ValueError:
        at_most = None
    if not quantity or at_most is None or (colon and not named):
        raise BadInputError(f"--limit takes QUANTITY=NUMBER or QUANTITY:FILE=NUMBER, not {option!r}")
    source = Path(named) if named else None
    if source is None and quantity == ENERGY:
        source = lut
    if source is None:
        return WantedLimit(quantity, at_most)
    if quantity not in NEEDS_PRICES:
        WantedLimit(quantity, at_most)  # an unknown quantity is refused by its own words
        raise BadInputError(f"a limit on {quantity} is of the space alone: it takes no file")
    return WantedLimit(quantity, at_most, load_prices(source), str(source))
