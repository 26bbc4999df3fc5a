"""The folder of a training: a journal of its epochs and the state after the last, so that a killed one goes on.

The first line of the journal is the request, with all that the result depends on. An epoch is written there before the
state replaces the one before it: what a crash leaves is a line too many, which the training writes again, the same but
for its seconds.

Aware of requests, epochs, states and what they cost; not of networks or of how they are trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import Field, TypeAdapter, ValidationError

from searcher.errors import BadInputError, SearcherError
from searcher.search.accounting import Session
from searcher.search.run_lines import SpentLine, first_difference, whole_lines
from searcher.tables.journal import keep_others_out, write_to_disk
from searcher.training.tensor_files import parse_tensors, save_tensors

# 1, the first: of the journal and of the state.
SCHEMA_VERSION = 1
JOURNAL, STATE = "journal.jsonl", "state.pt"
_NOTHING = Session(wall_s=0.0, processor_s=0.0, energy_j=None)


@dataclass(frozen=True)
class TrainingLine:
    """The first line: all that the result depends on, as JSON has it."""

    request: Mapping[str, Any]
    schema_version: Literal[1] = 1
    event: Literal["training"] = "training"


@dataclass(frozen=True)
class EpochLine:
    """An epoch is done.

    Attributes:
        epoch: counted from 1.
        loss: mean over its steps, in nats.
        train_accuracy: of varied training images while training, in percent.
        validation_accuracy: after it, in percent; None where nothing is held back.
        learning_rate: of its last step.
        seconds: that it took, with its validation.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    event: Literal["epoch"] = "epoch"


Line = TrainingLine | EpochLine | SpentLine
_LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="event")])


class TrainingFolder:
    """The folder of one training; a context manager that keeps other processes out of it.

    Args:
        folder: made if missing.
        resume: go on with what is there; else a training that has done an epoch is refused.
        others: files that a finished training leaves there, which nothing else may stand in for.
    """

    def __init__(self, folder: Path, resume: bool, others: Sequence[str] = ()) -> None:
        self._folder, self._resume, self._others = folder, resume, others
        self._file: BinaryIO | None = None
        self._lines: list[Line] = []
        self._session = 1
        self._request_sha256 = ""
        self._state: Mapping[str, Any] | None = None

    @property
    def epochs(self) -> list[EpochLine]:
        """The epochs that are done."""
        return [line for line in self._lines if isinstance(line, EpochLine)]

    @property
    def state(self) -> Mapping[str, Any] | None:
        """The state after the last epoch of earlier sessions; None where there was none."""
        return self._state

    @property
    def earlier(self) -> tuple[Session, ...]:
        """What each session before this one spent, as far as it told."""
        told = {line.session: line for line in self._lines if isinstance(line, SpentLine)}
        return tuple(
            Session(line.wall_s, line.processor_s, line.energy_j, line.cached)
            for session, line in told.items()
            if session != self._session
        )

    @property
    def known_request(self) -> Mapping[str, Any] | None:
        """The request of the training that is there to go on; None where there is none."""
        return next((line.request for line in self._lines if isinstance(line, TrainingLine)), None)

    def __enter__(self) -> TrainingFolder:
        """Look at what is there, and keep others out.

        Raises:
            BadInputError: the folder cannot be written, is in use, or holds what would be lost.
        """
        journal = self._folder / JOURNAL
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            strange = [name for name in (STATE, *self._others) if (self._folder / name).exists()]
            if strange and not journal.exists():
                raise BadInputError(f"{self._folder} holds {strange[0]}, but no journal of a training: choose another")
            self._file = _locked(journal)
            self._look(self._file, journal)
        except OSError as e:
            self._close()
            raise BadInputError(f"cannot write the training {self._folder}: {e.strerror or e}") from e
        except BadInputError:
            self._close()
            raise
        return self

    def _look(self, file: BinaryIO, journal: Path) -> None:
        file.seek(0)
        self._lines = _parsed(whole_lines(file.read()), journal)
        known = self.known_request
        if self._resume or known is None:
            return
        if self.epochs:
            raise BadInputError(
                f"{self._folder} holds a training already (epochs: {len(self.epochs)} of {_epochs_of(known)}): "
                "go on with --resume, or choose another folder"
            )
        self._lines = []

    def begin(self, request: Mapping[str, Any]) -> str:
        """Begin a session, on what is there or anew.

        Args:
            request: all that the result depends on, as JSON has it.

        Returns:
            A sentence about what becomes of a wish to resume; empty where there was none.

        Raises:
            BadInputError: the training that is there is another, or damaged; the message says in what.
        """
        # What a tuple becomes when it is read back must not look like a difference.
        wanted = json.loads(json.dumps(request))
        self._request_sha256 = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        known = self.known_request
        if known is None:
            self._lines = [TrainingLine(wanted)]
            note = f"no training in {self._folder} is to go on: training from the beginning" if self._resume else ""
        else:
            difference = first_difference(known, wanted)
            if difference is not None:
                raise BadInputError(
                    f"{self._folder} holds a training for something else: {difference}; give the same options as then, "
                    "or choose another folder"
                )
            self._state = self._read_state()
            done = 0 if self._state is None else self._state["epoch"]
            self._lines = [line for line in self._lines if not isinstance(line, EpochLine) or line.epoch <= done]
            note = f"going on with the training of {self._folder} (epochs: {done} of {_epochs_of(known)})"
        self._session = 1 + max((line.session for line in self._lines if isinstance(line, SpentLine)), default=0)
        self._rewrite()
        self.spend(_NOTHING)
        return note

    def keep(self, epoch: EpochLine, state: Mapping[str, Any], spent: Session) -> None:
        """Write an epoch, the state after it and what this session has spent, and wait until they are on the disk.

        Raises:
            BadInputError: the journal cannot be written.
            SearcherError: the state cannot be written.
        """
        self._append(epoch)
        content = {"schema_version": SCHEMA_VERSION, "request_sha256": self._request_sha256, **state}
        save_tensors(content, self._folder / STATE, "state of the training")
        self.spend(spent)

    def spend(self, spent: Session) -> None:
        """Write what this session has spent until now."""
        self._append(SpentLine(self._session, spent.wall_s, spent.processor_s, spent.energy_j, spent.cached))

    @property
    def state_problem(self) -> str:
        """What to say where the state is not one of this training."""
        return f"{self._folder / STATE} is no state of the training beside it, or damaged: remove it to begin anew"

    def _read_state(self) -> Mapping[str, Any] | None:
        path = self._folder / STATE
        if not path.exists():
            return None
        try:
            content = parse_tensors(path.read_bytes())
        except (OSError, ValueError) as e:
            raise BadInputError(self.state_problem) from e
        if not isinstance(content, dict):
            raise BadInputError(self.state_problem)
        epoch, known = content.get("epoch"), (content.get("schema_version"), content.get("request_sha256"))
        is_told = isinstance(epoch, int) and 1 <= epoch <= len(self.epochs)
        if not is_told or known != (SCHEMA_VERSION, self._request_sha256):
            raise BadInputError(self.state_problem)
        return content

    def _rewrite(self) -> None:
        """Bring the file to the lines that are kept."""
        if self._file is None:
            raise SearcherError("the folder of a training is used before it is entered")
        # Appended to what is left, nothing is lost if this is killed between: only lines that are written anew go.
        kept, self._lines = self._lines, []
        content = "".join(_formatted(line) for line in kept).encode()
        self._file.seek(0)
        found = self._file.read()
        begins = 0 if not found.startswith(content) else len(content)
        try:
            self._file.truncate(begins)
        except OSError as e:
            raise BadInputError(f"cannot write the training {self._folder}: {e.strerror or e}") from e
        if begins == len(content) and content:
            self._lines = kept
        else:
            self._append(*kept)

    def _append(self, *lines: Line) -> None:
        if self._file is None:
            raise SearcherError("the folder of a training is used before it is entered")
        try:
            write_to_disk(self._file, "".join(_formatted(line) for line in lines).encode())
        except OSError as e:
            raise BadInputError(f"cannot write the training {self._folder}: {e.strerror or e}") from e
        self._lines.extend(lines)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.epochs:
            error.add_note(f"what was trained until then is kept in {self._folder}: --resume goes on with it")
        self._close()

    def _close(self) -> None:
        if self._file is None:
            return
        # What could not be flushed has been reported when it was written.
        with contextlib.suppress(OSError):
            journal = self._folder / JOURNAL
            if journal.stat().st_size == 0:
                journal.unlink()
            self._file.close()
        self._file = None


def _epochs_of(request: Mapping[str, Any]) -> Any:
    recipe = request.get("recipe")
    return recipe.get("epochs") if isinstance(recipe, Mapping) else None


def _formatted(line: Line) -> str:
    plain = {field.name: getattr(line, field.name) for field in dataclasses.fields(line)}
    ordered = {"event": plain.pop("event"), **plain}
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _parsed(content: bytes, path: Path) -> list[Line]:
    lines: list[Line] = []
    for number, text in enumerate(content.splitlines(), start=1):
        try:
            line = _LINES.validate_json(text)
        except ValidationError as e:
            first = e.errors()[0]["msg"].lower()
            raise BadInputError(f"the journal {path} is damaged in line {number}: {first}") from e
        known = len([one for one in lines if isinstance(one, EpochLine)])
        if isinstance(line, TrainingLine) != (number == 1):
            raise BadInputError(f"the journal {path} is damaged in line {number}: only the first line is a request")
        if isinstance(line, EpochLine) and line.epoch != known + 1:
            raise BadInputError(f"the journal {path} is damaged in line {number}: epoch {line.epoch} is out of order")
        lines.append(line)
    return lines


def _locked(journal: Path) -> BinaryIO:
    file = journal.open("a+b")
    keep_others_out(file, journal)
    return file
