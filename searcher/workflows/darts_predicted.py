"""The prices of a differentiable search, completed by a predictor before it begins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from searcher.errors import BadInputError
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.tables.merge import TableFile
from searcher.workflows.complete_table import CompletionRequest, complete_table, read_predictor
from searcher.workflows.darts_prices import read_file, read_prices
from searcher.workflows.network_models import is_network_model
from searcher.workflows.progress import Work


def read_luts(space: SearchSpace, luts: Sequence[Path], predictor: Path | None) -> Work[dict[Path, bytes]]:
    """Return the contents of all prices, by the files that they are called by.

    What a predictor completes is a table whose content is as it would be written; a search that goes on makes the same
    again. A model of whole networks prices everything by itself.

    Args:
        space: with the sizes of the networks that are priced.
        luts: files of prices.
        predictor: of kernels, for the blocks that the one table lacks, or for all blocks without a table; or a model of
            whole networks, for which there is no table. None for no predictor.

    Raises:
        KeyMismatchError: the table was measured under other conditions than those of the predictor.
        MissingBlockError: the predictor does not know a block; the message says why.
        BadInputError: a file cannot be read, or predictor and prices do not go together.
    """
    if predictor is None:
        return {file: read_file(file) for file in luts}
    if is_network_model(predictor):
        if luts:
            raise BadInputError(f"{predictor} prices whole networks: it takes no --lut beside it")
        return {predictor: read_file(predictor)}
    if len(luts) > 1:
        raise BadInputError("a predictor is of one device: complete tables of several by searcher lut complete first")
    source = None
    for file in luts:
        content = read_file(file)
        table = read_prices(content, str(file))
        if not isinstance(table, LookupTable):
            raise BadInputError(f"{file} is no lookup table: --predictor completes nothing else")
        source = TableFile(file, hashlib.sha256(content).hexdigest(), table)
    completed = yield from complete_table(CompletionRequest(space, read_predictor(predictor), source))
    return {predictor if source is None else source.path: TABLE_DOCUMENT.text(completed).encode()}
