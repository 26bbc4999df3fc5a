"""Latency tables of ProxylessNAS and once-for-all: a YAML mapping from a block's text to its figures in ms.

A key is such as `expanded_conv-input:112x112x16-output:112x112x24-expand:3-kernel:3-stride:1-idskip:0`, in once-for-all
with `-se:0-hs:0` behind it; shapes are H×W×C. Only YAML's events are read: no object is ever made of a tag, nothing is
merged, and aliases, of which a few bytes can make gigabytes, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from searcher.tables.foreign.imported import Figure, foreign_latency_ms, imported_table
from searcher.tables.foreign.reading import ForeignFile, quote
from searcher.tables.lookup_table import ImportedFile, LookupTable

FORMAT = "mobile-yaml"
PROXYLESSNAS, ONCE_FOR_ALL = "proxylessnas", "once-for-all"
_BLOCK = re.compile(r"[A-Za-z][A-Za-z0-9_]*(-[a-z]+:[0-9]+(x[0-9]+)*)+")
_SQUEEZED = re.compile(r"-se:[01]-hs:[01]$")
_LONGEST_BLOCK = 300
_STATISTICS = ("median", "mean")
_COUNT = "count"
# The C parser where PyYAML has it: large tables take minutes without.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mobile_yaml(file: ForeignFile, device: str, created: str) -> LookupTable:
    """Read a block table; of a median and a mean the median counts.

    Raises:
        BadInputError: the file is no such table; the message names the line.
    """
    events = _events(file)
    _expect(file, next(events, None), yaml.MappingStartEvent, "it is no mapping from blocks to latencies")
    figures: dict[str, Figure] = {}
    statistics: set[str] = set()
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        block = _scalar(file, event, "a block's text")
        line = _line(event)
        if len(block) > _LONGEST_BLOCK or not _BLOCK.fullmatch(block):
            raise file.problem(line, f"{quote(block)} is no block such as Conv-input:224x224x3-output:112x112x32")
        if block in figures:
            raise file.problem(line, f"it tells {quote(block)} a second time")
        told = _told(file, events, block)
        statistic = next((name for name in _STATISTICS if name in told), None)
        if statistic is None:
            raise file.problem(line, f"{quote(block)} has neither median nor mean")
        statistics.add(statistic)
        figures[block] = _figure(file, told, statistic)
    if next(events, None) is not None:
        raise file.problem(1, "it holds more than one mapping")
    space = ONCE_FOR_ALL if any(_SQUEEZED.search(block) for block in figures) else PROXYLESSNAS
    statistic = " or ".join(sorted(statistics))
    origin = ImportedFile(file.path.name, file.sha256, FORMAT, None, statistic)
    return imported_table(file, origin, space, device, created, figures)


def _told(file: ForeignFile, events: Iterator[yaml.Event], block: str) -> dict[str, tuple[str, int]]:
    """Return what a block's mapping tells: text and line of each value."""
    start = next(events, None)
    _expect(file, start, yaml.MappingStartEvent, f"what {quote(block)} takes is no mapping such as mean: 1.5")
    told: dict[str, tuple[str, int]] = {}
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        name = _scalar(file, event, "the name of a figure")
        value = next(events, None)
        if name in told:
            raise file.problem(_line(event), f"it tells {quote(name)} of {quote(block)} a second time")
        told[name] = (_scalar(file, value, "a number"), _line(value))
    return told


def _figure(file: ForeignFile, told: dict[str, tuple[str, int]], statistic: str) -> Figure:
    text, line = told[statistic]
    latency_ms = foreign_latency_ms(file, line, text)
    return Figure(latency_ms, None if _COUNT not in told else _count(file, *told[_COUNT]))


def _count(file: ForeignFile, text: str, line: int) -> int:
    try:
        count = float(text)
    except ValueError as e:
        raise file.problem(line, f"{quote(text)} is no count") from e
    if not (count.is_integer() and 1 <= count < 2**53):
        raise file.problem(line, f"{quote(text)} is no count")
    return int(count)


def _events(file: ForeignFile) -> Iterator[yaml.Event]:
    """Yield what a file's only document holds, without the events around it.

    Raises:
        BadInputError: it is not YAML, or uses aliases, anchors or tags.
    """
    text = file.text
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise file.problem(_line(event), "aliases, anchors and tags of YAML are refused")
            around = yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent
            if not isinstance(event, around):
                yield event
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise file.problem(mark.line + 1 if mark else 1, f"it is not YAML: {e.problem or e.context}") from e
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        raise file.problem(1, f"it is not YAML: {' '.join(str(e).split())[:100]}") from e


def _expect(file: ForeignFile, event: yaml.Event | None, kind: type[yaml.Event], sentence: str) -> None:
    if not isinstance(event, kind):
        raise file.problem(_line(event), sentence)


def _scalar(file: ForeignFile, event: yaml.Event | None, what: str) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise file.problem(_line(event), f"{what} is expected here")
    text: str = event.value
    return text


def _line(event: yaml.Event | None) -> int:
    return event.start_mark.line + 1 if event is not None and event.start_mark is not None else 1
