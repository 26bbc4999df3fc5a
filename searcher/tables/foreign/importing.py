"""Which of the foreign formats a file is in, what must be known to read it, and what document comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searcher.errors import BadInputError
from searcher.tables.foreign import hw_nas_bench, mobile_yaml, network_csv, table_csv
from searcher.tables.foreign.reading import read_foreign
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatencies

FORMATS = (table_csv.FORMAT, network_csv.FORMAT, mobile_yaml.FORMAT, hw_nas_bench.FORMAT)
_DEFAULT_SPACE = "nasbench201"
_DEFAULT_DATA_SET = "cifar10"
# Options that say what to take of a file, and the formats that have something to choose.
_CHOICES = {
    "--space": (network_csv.FORMAT, hw_nas_bench.FORMAT),
    "--column": (network_csv.FORMAT, hw_nas_bench.FORMAT),
    "--data-set": (hw_nas_bench.FORMAT,),
    "--device": (network_csv.FORMAT, mobile_yaml.FORMAT, hw_nas_bench.FORMAT),
}
_PICKLES = (".pickle", ".pkl")


@dataclass(frozen=True)
class ImportRequest:
    """What to import.

    Attributes:
        path: the file.
        format: one of FORMATS.
        created: UTC date and time of the import, ISO 8601.
        space: whose networks or blocks; None for NAS-Bench-201.
        column: which of several latencies, such as `raspi4_ms`.
        data_set: of HW-NAS-Bench's cells; None for CIFAR-10.
        device: what the device is called; None to go by column or file.

    Raises:
        BadInputError: there is no such format, or it has no use for one of the rest.
    """

    path: Path
    format: str
    created: str
    space: str | None = None
    column: str | None = None
    data_set: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadInputError(f"--format takes {', '.join(FORMATS)}, not {self.format!r}")
        given = {
            "--space": self.space,
            "--column": self.column,
            "--data-set": self.data_set,
            "--device": self.device,
        }
        for option, value in given.items():
            if value is not None and self.format not in _CHOICES[option]:
                raise BadInputError(f"{option} is not for the format {self.format}")


def import_file(request: ImportRequest) -> LookupTable | NetworkLatencies:
    """Read a foreign file: block tables become lookup tables, latencies of whole networks their own document.

    Raises:
        BadInputError: the file cannot be read, is not of that format, or a figure in it is none.
    """
    if request.format == hw_nas_bench.FORMAT and request.path.suffix.lower() not in _PICKLES:
        raise BadInputError(
            f"{request.path} is refused: the format {request.format} is that of FILE.pickle or FILE.pkl"
        )
    file = read_foreign(request.path)
    space, created = request.space or _DEFAULT_SPACE, request.created
    if request.format == table_csv.FORMAT:
        return table_csv.read_table_csv(file)
    if request.format == network_csv.FORMAT:
        return network_csv.read_network_csv(file, space, request.column, request.device, created)
    if request.format == mobile_yaml.FORMAT:
        return mobile_yaml.read_mobile_yaml(file, request.device or request.path.stem, created)
    if space not in hw_nas_bench.SPACES:
        raise BadInputError(f"HW-NAS-Bench has the spaces {' and '.join(hw_nas_bench.SPACES)}, not {space!r}")
    if space == hw_nas_bench.FBNET:
        if request.data_set is not None:
            raise BadInputError("--data-set is not for fbnet: its blocks of all data sets lie in one dictionary")
        return hw_nas_bench.read_blocks(file, request.column, request.device, created)
    data_set = request.data_set or _DEFAULT_DATA_SET
    return hw_nas_bench.read_networks(file, data_set, request.column, request.device, created)
