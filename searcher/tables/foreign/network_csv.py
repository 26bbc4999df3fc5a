"""CSV files with latencies of whole networks: a column `architecture`, and one in ms for each device."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from searcher.errors import BadInputError
from searcher.spaces.catalogue import space_named
from searcher.tables.foreign.imported import foreign_latency_ms
from searcher.tables.foreign.reading import ForeignFile, quote
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

FORMAT = "networks-csv"
_ARCHITECTURE = "architecture"
_UNIT = "_ms"


def read_network_csv(
    file: ForeignFile, space: str, column: str | None, device: str | None, created: str
) -> NetworkLatencies:
    """Read one device's latencies.

    Args:
        file: CSV, its first line naming the columns.
        space: name of the space that reads the architectures.
        column: such as `raspi4_ms`; None where the file has one only.
        device: what the device is called; the column's name without its unit where it is None.
        created: UTC date and time of the import, ISO 8601.

    Raises:
        BadInputError: the file is no such table, or a line is: the message names it.
    """
    known = space_named(space)
    rows = _rows(file)
    _, header = next(rows, (0, ()))
    if _ARCHITECTURE not in header:
        raise file.problem(1, f"it has no column {_ARCHITECTURE!r}")
    if len(set(header)) != len(header):
        raise file.problem(1, "it names a column twice")
    chosen = _column(file, header, column)
    text_at, latency_at = header.index(_ARCHITECTURE), header.index(chosen)
    networks: dict[str, NetworkLatency] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise file.problem(line, f"it has {len(row)} columns, not {len(header)}")
        latency = NetworkLatency(foreign_latency_ms(file, line, row[latency_at]))
        try:
            architecture = known.format(known.parse(row[text_at]))
        except BadInputError as e:
            raise file.problem(line, str(e)) from e
        if architecture in networks:
            raise file.problem(line, f"it tells {quote(architecture)} a second time")
        networks[architecture] = latency
    if not networks:
        raise BadInputError(f"{file.path} holds no latencies")
    name = device or chosen.removesuffix(_UNIT)
    return NetworkLatencies(known.name, name, created, f"{file.source}, column {chosen}", None, networks)


def _rows(file: ForeignFile) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows with the numbers of their last lines; empty lines are none."""
    reader = csv.reader(io.StringIO(file.text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as e:
        raise file.problem(reader.line_num, f"it is not CSV: {e}") from e


def _column(file: ForeignFile, header: Sequence[str], column: str | None) -> str:
    offered = [name for name in header if name.endswith(_UNIT)]
    if column is not None and column in offered:
        return column
    if column is None and len(offered) == 1:
        return offered[0]
    told = ", ".join(name[:40] for name in offered[:20]) or f"none that ends in {_UNIT}"
    raise BadInputError(
        f"{file.path} has no column {quote(column)}; it has {told}"
        if column is not None
        else f"{file.path}: say with --column which latencies to take; it has {told}"
    )
