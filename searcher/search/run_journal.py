"""The journal of a search: every measurement on the disk as it comes, so that a killed search goes on where it was.

Its first line is the request, with all that the result depends on. A search that goes on evolves again from its seed;
whatever the journal holds is answered from it, so that the result is that of a search that was never broken. Until
the search is finished the file is called `*.partial`, and a finished one of its name stays as it was.

Aware of requests, measurements, generations and what they cost; not of spaces, scores or how architectures evolve.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from searcher.errors import BadInputError, SearcherError
from searcher.search.accounting import Session
from searcher.search.run_lines import (
    BegunLine,
    GenerationLine,
    Line,
    MeasuredLine,
    Record,
    SearchLine,
    SpentLine,
    StoppedLine,
    first_difference,
    format_line,
    parse_lines,
    whole_lines,
)
from searcher.search.scores.measuring import Measured
from searcher.tables.journal import keep_others_out, partial_path, write_to_disk

_NOTHING = Session(wall_s=0.0, processor_s=0.0, energy_j=None)


class OtherSearchError(BadInputError):
    """The journal is of a search for something else than what is asked for now."""


class RunJournal:
    """The journal of one search; a context manager that keeps other processes out of it.

    An error that leaves the context while there is an unfinished journal gets a note that says where it lies.

    Args:
        path: its name when the search is finished; None keeps nothing on the disk.
        resume: go on with what is there; else an unfinished search that measured anything is refused.
    """

    def __init__(self, path: Path | None, resume: bool = False) -> None:
        self._path = path
        self._resume = resume
        self._file: BinaryIO | None = None
        # The lines that are there and, taken together, what they say; from the unfinished journal, else the finished.
        self._found = b""
        self._record = Record()
        self._is_unfinished = False
        self._session = 1

    def __enter__(self) -> RunJournal:
        """Look at what is there, and keep others out.

        Raises:
            JournalInUseError: another process is writing it.
            BadInputError: it cannot be written, is damaged, or holds what would be lost.
        """
        if self._path is None:
            return self
        partial = partial_path(self._path)
        try:
            self._file = _locked(partial)
            self._look(self._path, partial, self._file)
        except OSError as e:
            self._close()
            raise BadInputError(f"cannot write the journal {partial}: {e.strerror or e}") from e
        except BadInputError:
            self._close()
            raise
        return self

    def _look(self, path: Path, partial: Path, file: BinaryIO) -> None:
        file.seek(0)
        found = whole_lines(file.read())
        record = Record(parse_lines(found, partial))
        if record.measured and not self._resume:
            raise BadInputError(
                f"{partial} holds an unfinished search (measurements: {len(record.measured)}): "
                "go on with --resume, or remove it"
            )
        self._is_unfinished = bool(found)
        if self._resume and not found and path.exists():
            found = whole_lines(path.read_bytes())
            record = Record(parse_lines(found, path))
        if self._resume:
            self._found, self._record = found, record

    def begin(self, request: Mapping[str, Any], spent: Session = _NOTHING) -> str:
        """Begin a session, on what is there or anew.

        Args:
            request: all that the result depends on, as JSON has it.
            spent: what the session has spent already, as on a reference.

        Returns:
            A sentence about what becomes of a wish to resume; empty where there was none.

        Raises:
            OtherSearchError: the unfinished search is another; the message names the first difference.
            BadInputError: the journal cannot be written.
        """
        # What a tuple becomes when it is read back must not look like a difference.
        wanted = json.loads(json.dumps(request))
        note = self._settle(wanted)
        self._session = len(self._record.sessions) + 1
        self._lay_down()
        if self._record.request is None:
            self._append(SearchLine(wanted))
        self.checkpoint(spent)
        return note

    def _settle(self, request: Mapping[str, Any]) -> str:
        """Keep what is there if it is of this request; drop it if that loses nothing."""
        known = self._record
        difference = None if known.request is None else first_difference(known.request, request)
        if difference is not None and self._is_unfinished:
            raise OtherSearchError(
                f"{self._partial} holds a search for something else: {difference}; "
                "give the same options as then, or remove it"
            )
        if known.request is not None and difference is None:
            counts = f"generations: {len(known.generations)}, measurements: {len(known.measured)}"
            return f"going on with the search of {self._path} ({counts})"
        self._found, self._record = b"", Record()
        return f"no search of {self._path} is to go on: searching from the beginning" if self._resume else ""

    @property
    def _partial(self) -> Path | None:
        return None if self._path is None else partial_path(self._path)

    @property
    def earlier(self) -> tuple[Session, ...]:
        """What each session before this one spent, as far as it told."""
        return tuple(spent for session, spent in self._record.sessions.items() if session != self._session)

    @property
    def begun_s(self) -> tuple[float, ...]:
        """Wall seconds of all sessions when each generation was begun first.

        A search that goes on evaluates at least as many generations.
        """
        return tuple(line.elapsed_s for line in self._record.begun)

    @property
    def stopped_after(self) -> int | None:
        """After how many generations the time budget ended the search; None where it did not."""
        return self._record.stopped_after

    @property
    def generation_s(self) -> tuple[float, ...]:
        """Wall seconds of all sessions when each generation was evaluated first."""
        return tuple(line.elapsed_s for line in self._record.generations)

    def answer(self, measurer: str, score_key: str) -> Measured | None:
        """Return what was measured in any session; None where nothing was.

        Args:
            measurer: hash of the measurer's identity.
            score_key: of the architecture.
        """
        return self._record.measured.get((measurer, score_key))

    def keep(self, measurer: str, found: Mapping[str, Measured], seconds: float) -> None:
        """Write what was measured together, and wait until it is on the disk.

        Args:
            measurer: hash of the measurer's identity.
            found: by `score_key`.
            seconds: that it took in all.

        Raises:
            SearcherError: a value is not finite.
            BadInputError: the journal cannot be written.
        """
        share = seconds / max(1, len(found))
        lines = []
        for key, one in found.items():
            # Another kind of float would be another value when it is read back.
            values = {name: float(value) for name, value in one.values.items()}
            lines.append(MeasuredLine(measurer, key, values, one.problem, share))
        self._append(*lines)

    def begin_generation(self, number: int, elapsed_s: float) -> None:
        """Write that a generation is begun, unless that is known."""
        if number >= len(self._record.begun):
            self._append(BegunLine(number, elapsed_s))

    def finish_generation(self, number: int, members: Sequence[str], best: str, elapsed_s: float) -> None:
        """Write that a generation is evaluated, or compare it with the one that is known.

        Raises:
            SearcherError: the search did not repeat itself, as after a change of the program.
        """
        if number >= len(self._record.generations):
            self._append(GenerationLine(number, tuple(members), best, elapsed_s))
            return
        known = self._record.generations[number]
        if (known.members, known.best) != (tuple(members), best):
            raise SearcherError(
                f"generation {number} is another one now than {self._path} tells, as if this program had changed: "
                "begin anew, without --resume"
            )

    def stop(self, generations: int) -> None:
        """Write that the time budget ended the search after so many generations, unless that is known."""
        if self._record.stopped_after is None:
            self._append(StoppedLine(generations))

    def checkpoint(self, spent: Session) -> None:
        """Write what this session has spent until now."""
        self._append(SpentLine(self._session, spent.wall_s, spent.processor_s, spent.energy_j, spent.cached))

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            BadInputError: the name cannot be given.
        """
        if self._path is None or self._file is None:
            return
        try:
            partial_path(self._path).replace(self._path)
        except OSError as e:
            raise BadInputError(f"cannot finish the journal {self._path}: {e.strerror or e}") from e
        self._close()

    def _append(self, *lines: Line) -> None:
        try:
            text = "".join(f"{format_line(line)}\n" for line in lines)
        except ValueError as e:
            raise SearcherError("a measurement of the search is not finite, which no journal can hold") from e
        self._write(text.encode())
        for line in lines:
            self._record.take(line)

    def _lay_down(self) -> None:
        """Bring the file to what goes on: a torn last line is cut off, a finished one copied, any other gone."""
        if self._file is not None:
            self._file.seek(0)
            is_there = self._file.read(len(self._found)) == self._found
            self._write(b"" if is_there else self._found, len(self._found) if is_there else 0)

    def _write(self, content: bytes, after_bytes: int | None = None) -> None:
        """Write at the end, or after that many bytes, and wait until it is on the disk."""
        if self._file is None:
            return
        try:
            write_to_disk(self._file, content, after_bytes)
        except OSError as e:
            raise BadInputError(f"cannot write the journal {self._partial}: {e.strerror or e}") from e

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._partial is not None:
            if self._partial.stat().st_size == 0:
                self._partial.unlink()
            elif error is not None and self._record.measured:
                error.add_note(f"what was measured until then is kept in {self._partial}: --resume goes on with it")
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            # What could not be flushed has been reported when it was written.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _locked(partial: Path) -> BinaryIO:
    file = partial.open("a+b")
    keep_others_out(file, partial)
    return file
