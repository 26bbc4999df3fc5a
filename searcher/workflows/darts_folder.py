"""The folder of a differentiable search: what it was begun with, its prices, its epochs as they come, its state.

`run.json` and the copies of the prices are written once, when the search begins. After each epoch its line is appended
to `journal.jsonl`, then `state.pt` is replaced: where a kill comes between the two, the line is cut off again when the
search goes on, and the epoch is repeated.

History of the schemas of run.json and state.pt: 1, the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from searcher.artifacts import replacing
from searcher.documents import Document
from searcher.errors import BadInputError, SearcherError
from searcher.search.differentiable.report import EpochReport
from searcher.search.differentiable.settings import DartsSettings
from searcher.search.run_lines import first_difference, whole_lines
from searcher.tables.journal import keep_others_out, write_to_disk
from searcher.training.tensor_files import parse_tensors, tensor_bytes

SCHEMA_VERSION = 1
RUN, JOURNAL, STATE, FAMILY, VERIFICATION = "run.json", "journal.jsonl", "state.pt", "family.json", "verification.json"
PRICES = "prices"


@dataclass(frozen=True)
class ControlChoice:
    """What a point of a search means.

    Attributes:
        name: prices, operations or scalar.
        most_complexity: dearest price of the complexity ratio; of `operations` its one price.
        most_latency: dearest price of each device's latency term; of `operations` its one price, of `scalar` the
            dearest λ, the cheapest being a thousandth of it.
    """

    name: str = "prices"
    most_complexity: float = 0.05
    most_latency: float = 0.2


@dataclass(frozen=True)
class RunDevice:
    """The prices of one device.

    Attributes:
        name: what the device is called in this run.
        file: the copy of its prices, below the run's folder.
        sha256: of that file.
        source: the file that was given.
        limit_ms: what architectures may take there at most; None for no limit.
    """

    name: str
    file: str
    sha256: str
    source: str
    limit_ms: float | None


@dataclass(frozen=True)
class DartsRun:
    """All that the result of a differentiable search depends on.

    Attributes:
        space: name of the search space.
        cells: of the networks whose latencies count, as `searcher blocks --cells` has them; None for the space's own.
        channels: of the first cells of those networks; None for the space's own.
        supernet_cells: of the supernet: per stage of nasbench201, in all of darts; None for a space of one depth.
        supernet_channels: of the supernet's first cells; None for a space of one width.
        image_size: side of the images that the supernet sees, in pixels; None for the data's own.
        partial_channels: 1/k of the channels of each edge is mixed.
        control: what a point means.
        settings: of the search.
        data: name of the data set, its place as it was then.
        data_fingerprint: of its training split.
        device: that trains, as torch names it.
        threads: of torch on a CPU, which the last bits of what it computes depend on.
        confidence: of bounds, where prices tell by how much they may be wrong.
        devices: with their prices.
        versions: of the packages that compute.
    """

    space: str
    cells: int | None
    channels: int | None
    supernet_cells: int | None
    supernet_channels: int | None
    image_size: int | None
    partial_channels: int
    control: ControlChoice
    settings: DartsSettings
    data: str
    data_fingerprint: str
    device: str
    threads: int
    confidence: float
    devices: tuple[RunDevice, ...]
    versions: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION


RUN_DOCUMENT = Document(DartsRun, "differentiable search", SCHEMA_VERSION)


class RunFolder:
    """A run's folder, for a search that goes on; a context manager that keeps other processes out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> RunFolder:
        """Make the folder if need be, and keep others out.

        Raises:
            JournalInUseError: another process searches there.
            BadInputError: nothing can be written there.
        """
        journal = self.path / JOURNAL
        try:
            (self.path / PRICES).mkdir(parents=True, exist_ok=True)
            self._file = journal.open("a+b")
        except OSError as e:
            raise BadInputError(f"cannot write the run {self.path}: {e.strerror or e}") from e
        keep_others_out(self._file, journal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, BadInputError) and (self.path / STATE).exists():
            error.add_note(f"the epochs until then are kept in {self.path}: --resume goes on with them")
        if self._file is not None:
            # What could not be flushed has been reported when it was written.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def settle(self, run: DartsRun, prices: Mapping[str, bytes], resume: bool) -> None:
        """Begin a search here, or make sure that the one that is here is the same.

        Args:
            run: what is searched now.
            prices: content of each file of `run.devices`.
            resume: go on with what is here.

        Raises:
            BadInputError: a search is here that is not to go on, or that is another; the folder cannot be written.
        """
        description = self.path / RUN
        if description.exists():
            if not resume:
                raise BadInputError(f"{self.path} holds a search: go on with --resume, or give another --output")
            before, now = _identity(RUN_DOCUMENT.load(description)), _identity(run)
            difference = first_difference(before, now)
            if difference is not None:
                raise BadInputError(
                    f"{self.path} holds another search: {difference}; give the same options as then, or another "
                    "--output"
                )
            return
        if (self.path / STATE).exists() or read_epochs(self.path):
            raise BadInputError(f"{self.path} holds a part of a search that lacks its {RUN}: give another --output")
        try:
            for name, content in prices.items():
                with replacing(self.path / name) as temporary:
                    temporary.write_bytes(content)
        except OSError as e:
            raise BadInputError(f"cannot write the run {self.path}: {e.strerror or e}") from e
        RUN_DOCUMENT.save(run, description)

    def begin(self, epochs: int) -> None:
        """Keep the journal's lines of the epochs that the state has seen, and cut off what follows.

        Raises:
            BadInputError: the journal is damaged, or cannot be written.
        """
        kept = read_epochs(self.path)[:epochs]
        if [line["epoch"] for line in kept] != list(range(1, epochs + 1)):
            raise BadInputError(
                f"the journal {self.path / JOURNAL} does not tell of the {epochs} epochs of the state beside it"
            )
        content = (self.path / JOURNAL).read_bytes()
        # Nothing is written anew: what a kill here left would have to be trusted.
        self._write(b"", after_bytes=sum(map(len, content.splitlines(keepends=True)[:epochs])))

    def keep(self, report: EpochReport, seconds: float, state: Mapping[str, Any]) -> None:
        """Write an epoch and the state after it, and wait until both are on the disk.

        Raises:
            BadInputError: they cannot be written.
            SearcherError: a number of the report is not finite.
        """
        plain = {"event": "epoch", **dataclasses.asdict(report), "seconds": round(seconds, 3)}
        try:
            line = _line(plain)
        except ValueError as e:
            raise SearcherError(f"epoch {report.epoch} has a number that is not finite: lower learning rates") from e
        self._write(line.encode())
        content = tensor_bytes({"schema_version": SCHEMA_VERSION, "state": dict(state)})
        path = self.path / STATE
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as e:
            raise BadInputError(f"cannot write the state {path}: {e.strerror or e}") from e

    def _write(self, content: bytes, after_bytes: int | None = None) -> None:
        if self._file is None:
            raise SearcherError("the run's folder is not open")
        try:
            write_to_disk(self._file, content, after_bytes)
        except OSError as e:
            raise BadInputError(f"cannot write the journal {self.path / JOURNAL}: {e.strerror or e}") from e


def read_run(folder: Path) -> tuple[DartsRun, dict[str, bytes]]:
    """Read what a search was begun with, and the prices that it has by the names of its devices.

    Raises:
        BadInputError: the folder holds no search, or its prices are not those that it was begun with.
    """
    if not (folder / RUN).is_file():
        raise BadInputError(f"{folder} holds no differentiable search: there is no {RUN} in it")
    run = RUN_DOCUMENT.load(folder / RUN)
    prices = {}
    for device in run.devices:
        path = folder / device.file
        try:
            content = path.read_bytes()
        except OSError as e:
            raise BadInputError(f"cannot read the prices {path}: {e.strerror or e}") from e
        if hashlib.sha256(content).hexdigest() != device.sha256:
            raise BadInputError(f"the prices {path} are not those that the search was begun with")
        prices[device.name] = content
    return run, prices


def read_state(folder: Path) -> tuple[dict[str, Any], str] | None:
    """Read the state after the last whole epoch, and the hash of its file; None where no epoch is done.

    Raises:
        BadInputError: the file cannot be read, or is no state of this version.
    """
    path = folder / STATE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise BadInputError(f"cannot read the state {path}: {e.strerror or e}") from e
    try:
        stored = parse_tensors(content)
    except ValueError as e:
        raise BadInputError(f"{path} is not a state of a search: torch cannot read it") from e
    if not isinstance(stored, dict) or not isinstance(stored.get("state"), dict):
        raise BadInputError(f"{path} is not a state of a search")
    if stored.get("schema_version") != SCHEMA_VERSION:
        raise BadInputError(
            f"{path} is no state that this version reads: its schema version is "
            f"{str(stored.get('schema_version'))[:20]!r}, not {SCHEMA_VERSION}"
        )
    return stored["state"], hashlib.sha256(content).hexdigest()


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Read the journal's whole lines, one an epoch.

    Raises:
        BadInputError: it cannot be read, or a line is none.
    """
    path = folder / JOURNAL
    try:
        content = path.read_bytes()
    except OSError as e:
        raise BadInputError(f"cannot read the journal {path}: {e.strerror or e}") from e
    lines = []
    for number, text in enumerate(whole_lines(content).splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or line.get("event") != "epoch" or not isinstance(line.get("epoch"), int):
            raise BadInputError(f"the journal {path} is damaged in line {number}")
        lines.append(line)
    return lines


def _line(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _identity(run: DartsRun) -> dict[str, Any]:
    """Return what must be equal where a search goes on: files count by their content, wherever they lie."""
    plain = RUN_DOCUMENT.dump(run)
    plain["data"] = run.data.partition(":")[0]
    plain["devices"] = [{name: value for name, value in one.items() if name != "source"} for one in plain["devices"]]
    return plain
