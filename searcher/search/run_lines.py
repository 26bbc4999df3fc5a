"""The lines of a search's journal: how each is written and read, and what they say together.

History of the schema: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from searcher.errors import BadInputError
from searcher.search.accounting import Session
from searcher.search.scores.measuring import Measured

SCHEMA_VERSION = 1
_LONGEST_QUOTE = 60


@dataclass(frozen=True)
class SearchLine:
    """The first line: all that the result depends on, as JSON has it."""

    request: Mapping[str, Any]
    schema_version: int = SCHEMA_VERSION
    event: Literal["search"] = "search"


@dataclass(frozen=True)
class MeasuredLine:
    """What a measurer found out about one architecture.

    Attributes:
        measurer: hash of the measurer's identity.
        score_key: of the architecture.
        values: by name; empty where there is a problem.
        problem: why there are none, or null.
        seconds: that it took: an equal share of those measured together.
    """

    measurer: str
    score_key: str
    values: Mapping[str, float]
    problem: str | None
    seconds: float
    event: Literal["measured"] = "measured"


@dataclass(frozen=True)
class BegunLine:
    """The search decided to begin a generation, after that many wall seconds of all sessions."""

    generation: int
    elapsed_s: float
    event: Literal["begun"] = "begun"


@dataclass(frozen=True)
class GenerationLine:
    """A generation is evaluated.

    Attributes:
        members: their texts, in order.
        best: the text of the one that is preferred.
        elapsed_s: wall seconds of all sessions until then.
    """

    generation: int
    members: tuple[str, ...]
    best: str
    elapsed_s: float
    event: Literal["generation"] = "generation"


@dataclass(frozen=True)
class SpentLine:
    """What a session has spent until now; the last line of a session counts."""

    session: int
    wall_s: float
    processor_s: float
    energy_j: float | None
    cached: int = 0
    event: Literal["spent"] = "spent"


@dataclass(frozen=True)
class StoppedLine:
    """The time budget ended the search after so many generations."""

    generations: int
    event: Literal["stopped"] = "stopped"


Line = SearchLine | MeasuredLine | BegunLine | GenerationLine | SpentLine | StoppedLine


class Record:
    """What the lines of a journal say together.

    Attributes:
        request: of the search; None before the first line.
        measured: by the hash of the measurer's identity and the architecture's `score_key`.
        generations: that are evaluated.
        sessions: what each spent until its last line.
        begun: the generations that were begun.
        stopped_after: after how many the time budget ended the search; None where it did not.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.request: Mapping[str, Any] | None = None
        self.measured: dict[tuple[str, str], Measured] = {}
        self.generations: list[GenerationLine] = []
        self.sessions: dict[int, Session] = {}
        self.begun: list[BegunLine] = []
        self.stopped_after: int | None = None
        for line in lines:
            self.take(line)

    def take(self, line: Line) -> None:
        """Add what a line says."""
        if isinstance(line, MeasuredLine):
            self.measured[line.measurer, line.score_key] = Measured(dict(line.values), line.problem)
        elif isinstance(line, GenerationLine):
            self.generations.append(line)
        elif isinstance(line, BegunLine):
            self.begun.append(line)
        elif isinstance(line, SpentLine):
            self.sessions[line.session] = Session(line.wall_s, line.processor_s, line.energy_j, line.cached)
        elif isinstance(line, StoppedLine):
            self.stopped_after = line.generations
        else:
            self.request = line.request


_LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="event")])


def format_line(line: Line) -> str:
    """Return a line without its end; numbers are written with every digit, so that they are read back as they were.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    plain = {field.name: getattr(line, field.name) for field in dataclasses.fields(line)}
    ordered = {"event": plain.pop("event"), **plain}
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def parse_line(text: str) -> Line:
    """Read a line back.

    Raises:
        ValueError: it is no line of a journal; the message says why, in a few words.
    """
    plain = json.loads(text, parse_float=_finite, parse_constant=_finite)
    if not isinstance(plain, dict):
        raise ValueError("it holds no JSON object")
    if plain.get("event") == "search" and plain.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"its schema version is {str(plain.get('schema_version'))[:20]!r}, not {SCHEMA_VERSION}")
    try:
        return _LINES.validate_python(plain)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise ValueError(f"{place}: {first['msg'].lower()}") from e


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number of JSON")
    return number


def whole_lines(content: bytes) -> bytes:
    """Leave out a last line without its end, which was torn by a crash."""
    return content[: content.rfind(b"\n") + 1]


def parse_lines(content: bytes, path: Path) -> list[Line]:
    """Read all lines of a journal; `path` says in messages where they are from.

    Raises:
        BadInputError: one is no line of a journal of this version, or the first is not the request.
    """
    lines: list[Line] = []
    for number, text in enumerate(content.splitlines(), start=1):
        try:
            line = parse_line(text.decode())
            if isinstance(line, SearchLine) != (number == 1):
                raise ValueError("only the first line is a search's request")
        except ValueError as e:
            raise BadInputError(f"the journal {path} is damaged in line {number}: {e}; remove it to begin anew") from e
        lines.append(line)
    return lines


def first_difference(before: Any, now: Any, name: str = "") -> str | None:
    """Return where two requests differ first, in the order of the earlier one, as `NAME was X, is Y`."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            difference = first_difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)
            if difference is not None:
                return difference
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        differences = (first_difference(*pair, f"{name}[{index}]") for index, pair in pairs)
        return next((difference for difference in differences if difference is not None), None)
    return None if before == now else f"{name} was {_quoted(before)}, is {_quoted(now)}"


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
