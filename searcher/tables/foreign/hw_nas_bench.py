"""HW-NAS-Bench (Li et al., "HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark", ICLR 2021), its pickle.

The layout, as the benchmark's own code reads it:

    nasbench201 → data set → config: one dictionary with `arch_str` for each cell
                             raspi4_latency, edgegpu_energy, …: one number for each cell, in the same order
    fbnet       → raspi4_latency, edgegpu_energy, …: a dictionary from a block's text to a number

Latencies are in ms, energies in mJ. The cells' are those of whole networks; the blocks' texts are such as
`ConvBlock_H32_W32_Cin16_Cout16_exp1_kernel3_stride1_group1`, for CIFAR-100 and ImageNet in one dictionary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from searcher.errors import BadInputError
from searcher.spaces.catalogue import space_named
from searcher.tables.foreign.imported import ONE_NS_MS, Figure, imported_table, latency_problem
from searcher.tables.foreign.pickled import PickledArray, read_pickle
from searcher.tables.foreign.reading import ForeignFile, quote
from searcher.tables.lookup_table import ImportedFile, LookupTable
from searcher.tables.network_latencies import NetworkLatencies, NetworkLatency

FORMAT = "hw-nas-bench"
NASBENCH201, FBNET = "nasbench201", "fbnet"
SPACES = (NASBENCH201, FBNET)
_LATENCY, _ENERGY = "_latency", "_energy"
_BLOCK = re.compile(r"[A-Za-z]+(_[A-Za-z]+[0-9]+)+")
_NOTHING = re.compile(r"Skip_H\d+_W\d+_Cin(\d+)_Cout\1_stride1")
_LONGEST_BLOCK = 300


def read_networks(
    file: ForeignFile, data_set: str, column: str | None, device: str | None, created: str
) -> NetworkLatencies:
    """Read what the cells of NAS-Bench-201 take on one device.

    Args:
        file: the pickle.
        data_set: whose images and classes the networks have, such as `cifar10`.
        column: such as `raspi4_latency`.
        device: what the device is called; the column's name without its unit where it is None.
        created: UTC date and time of the import, ISO 8601.

    Raises:
        BadInputError: the file is refused or not laid out like this, or there is no such data set or column.
    """
    known = space_named(NASBENCH201)
    sets = _mapping(file, _mapping(file, read_pickle(file), "it").get(NASBENCH201), NASBENCH201)
    if data_set not in sets:
        raise BadInputError(f"{file.path} has no data set {quote(data_set)}; it has {_told(sets)}")
    figures = _mapping(file, sets[data_set], data_set)
    chosen = _column(file, figures, column)
    cells = list(_cells(file, figures.get("config")))
    latencies = _numbers(file, figures[chosen], chosen)
    if len(cells) != len(latencies):
        raise BadInputError(f"{file.path}: there are {len(cells)} cells but {len(latencies)} figures of {chosen}")
    networks: dict[str, NetworkLatency] = {}
    for number, (cell, latency_ms) in enumerate(zip(cells, latencies, strict=True)):
        _require_latency(file, f"cell {number}", latency_ms)
        try:
            text = known.format(known.parse(cell))
        except BadInputError as e:
            raise BadInputError(f"{file.path}, cell {number}: {e}") from e
        if text in networks:
            raise BadInputError(f"{file.path}, cell {number}: it is told a second time")
        networks[text] = NetworkLatency(latency_ms)
    if not networks:
        raise BadInputError(f"{file.path} holds no latencies of {data_set}")
    name = device or chosen.removesuffix(_LATENCY)
    source = f"{file.source}, {NASBENCH201}, {data_set}, {chosen}"
    return NetworkLatencies(known.name, name, created, source, None, networks)


def read_blocks(file: ForeignFile, column: str | None, device: str | None, created: str) -> LookupTable:
    """Read what the blocks of FBNet take on one device, and their energies where these were told.

    A skip that changes no shape computes nothing; where it is told to take no time it gets 1 ns, since no entry of a
    table is zero. Any other zero is refused.

    Raises:
        BadInputError: the file is refused or not laid out like this, or there is no such column.
    """
    metrics = _mapping(file, _mapping(file, read_pickle(file), "it").get(FBNET), FBNET)
    chosen = _column(file, metrics, column)
    latencies = _mapping(file, metrics[chosen], chosen)
    energies = metrics.get(f"{chosen.removesuffix(_LATENCY)}{_ENERGY}", {})
    told_mj = _mapping(file, energies, "its energies")
    figures: dict[str, Figure] = {}
    for block, told in latencies.items():
        if not isinstance(block, str) or len(block) > _LONGEST_BLOCK or not _BLOCK.fullmatch(block):
            raise BadInputError(f"{file.path}: {quote(block)} is no block of {chosen}")
        latency_ms = _number(file, told, block)
        if latency_ms == 0 and _NOTHING.fullmatch(block):
            latency_ms = ONE_NS_MS
        _require_latency(file, block, latency_ms)
        figures[block] = Figure(latency_ms, energy_mj=_energy(file, told_mj, block))
    origin = ImportedFile(file.path.name, file.sha256, FORMAT, chosen, "latency, as published")
    return imported_table(
        file, origin, f"hw-nas-bench-{FBNET}", device or chosen.removesuffix(_LATENCY), created, figures
    )


def _energy(file: ForeignFile, told_mj: Mapping[Any, Any], block: str) -> float | None:
    if block not in told_mj:
        return None
    energy_mj = _number(file, told_mj[block], block)
    if not 0 <= energy_mj < math.inf:
        raise BadInputError(f"{file.path}, {block}: an energy is positive, not {energy_mj:g} mJ")
    # What computes nothing takes none, and an entry tells only what is positive.
    return energy_mj or None


def _mapping(file: ForeignFile, value: object, name: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise BadInputError(f"{file.path} is not laid out like HW-NAS-Bench: {name} is no dictionary")
    return value


def _column(file: ForeignFile, metrics: Mapping[Any, Any], column: str | None) -> str:
    offered = [name for name in metrics if isinstance(name, str) and name.endswith(_LATENCY)]
    wanted = column if column is None or column.endswith(_LATENCY) else f"{column}{_LATENCY}"
    if wanted is not None and wanted in offered:
        return wanted
    asked = "say with --column which latencies to take" if wanted is None else f"there is no column {quote(wanted)}"
    raise BadInputError(f"{file.path}: {asked}; it has {_told(offered)}")


def _told(names: Mapping[Any, Any] | list[str]) -> str:
    return ", ".join(quote(name) for name in list(names)[:20]) or "none"


def _cells(file: ForeignFile, config: object) -> Iterator[str]:
    if not isinstance(config, list):
        raise BadInputError(f"{file.path} is not laid out like HW-NAS-Bench: config is no list")
    for number, cell in enumerate(config):
        text = cell.get("arch_str") if isinstance(cell, dict) else None
        if not isinstance(text, str):
            raise BadInputError(f"{file.path}, cell {number}: it has no arch_str")
        yield text


def _numbers(file: ForeignFile, values: object, name: str) -> list[float]:
    if isinstance(values, PickledArray) and values.values is not None and values.values.ndim == 1:
        return [float(value) for value in values.values.astype(np.float64)]
    if isinstance(values, list | tuple):
        return [_number(file, value, f"{name} of cell {number}") for number, value in enumerate(values)]
    raise BadInputError(f"{file.path} is not laid out like HW-NAS-Bench: {name} is no list of numbers")


def _number(file: ForeignFile, value: object, name: str) -> float:
    if isinstance(value, PickledArray) and value.values is not None and value.values.ndim == 0:
        value = value.values.item()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise BadInputError(f"{file.path}, {name}: {quote(value)} is no number")


def _require_latency(file: ForeignFile, name: str, latency_ms: float) -> None:
    problem = latency_problem(latency_ms)
    if problem is not None:
        raise BadInputError(f"{file.path}, {name}: {problem}")
