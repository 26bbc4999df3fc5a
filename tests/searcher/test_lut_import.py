"""What others published, read without trusting it: YAML block tables, CSV of whole networks, packed files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from searcher.artifacts import sha256_of
from searcher.cost_models.block_sum import BlockSum
from searcher.errors import BadInputError
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.foreign import reading
from searcher.tables.foreign.importing import FORMATS, ImportRequest, import_file
from searcher.tables.foreign.reading import read_foreign
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable, key_differences
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies
from searcher.tables.validate import validate_table

NOW = "2026-11-21T00:00:00+00:00"
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
OTHER = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
PROXYLESS = """\
Conv-input:224x224x3-output:112x112x32: {count: 51, mean: 1.25, std: 0.1}
expanded_conv-input:112x112x16-output:112x112x24-expand:3-kernel:3-stride:1-idskip:0:
  mean: 2.5
  median: 2.25
  count: 10
Logits-input:7x7x320-output:1000: {mean: 1.e-1}
"""
ONCE_FOR_ALL = (
    '"expanded_conv-input:40x40x32-output:40x40x32-expand:96-kernel:5-stride:1-idskip:1-se:0-hs:1": {mean: 0.5}\n'
)


def imported(path: Path, content: str | bytes, format_name: str, **choices: str) -> LookupTable | NetworkLatencies:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return import_file(ImportRequest(path, format_name, NOW, **choices))


def yaml_table(tmp_path: Path, content: str | bytes) -> LookupTable:
    made = imported(tmp_path / "pixel.yaml", content, "mobile-yaml")
    assert isinstance(made, LookupTable)
    return made


def networks(tmp_path: Path, content: str | bytes, **choices: str) -> NetworkLatencies:
    made = imported(tmp_path / "networks.csv", content, "networks-csv", **choices)
    assert isinstance(made, NetworkLatencies)
    return made


def test_a_block_table_says_how_little_is_known(tmp_path: Path) -> None:
    table = yaml_table(tmp_path, PROXYLESS)
    assert table.space == "imported-proxylessnas"
    assert [entry.median_ms for entry in table.entries.values()] == [1.25, 0.1, 2.25]
    entry = table.entry("Conv-input:224x224x3-output:112x112x32")
    assert (entry.interval_ms, entry.confidence, entry.converged) == ((1.25, 1.25), 0.0, False)
    assert (entry.rounds, entry.samples, table.entry("Logits-input:7x7x320-output:1000").samples) == (1, 51, 1)
    digest = sha256_of(tmp_path / "pixel.yaml")
    assert table.key.device_fingerprint == f"imported-{digest[:12]}"
    assert (table.key.runtime, table.key.precision, table.environment) == ("unknown", "unknown", None)
    origin = table.provenance.imported_from
    assert origin is not None
    assert (origin.file, origin.sha256, origin.statistic) == ("pixel.yaml", digest, "mean or median")
    assert table.provenance.device == "pixel"


def test_once_for_all_is_told_by_its_flags(tmp_path: Path) -> None:
    assert yaml_table(tmp_path, ONCE_FOR_ALL).space == "imported-once-for-all"
    assert yaml_table(tmp_path, "\ufeff" + ONCE_FOR_ALL).space == "imported-once-for-all"


def test_an_imported_table_survives_its_file_validates_and_prices_no_space(tmp_path: Path) -> None:
    table = yaml_table(tmp_path, PROXYLESS)
    path = tmp_path / "table.json"
    TABLE_DOCUMENT.save(table, path)
    assert TABLE_DOCUMENT.load(path) == table
    validation = validate_table(path)
    assert not validation.failed
    assert [finding.sentence for finding in validation.findings] == [
        "it was imported from pixel.yaml (mobile-yaml); of its conditions nothing is known"
    ]
    with pytest.raises(BadInputError, match="of the space 'imported-proxylessnas', not of 'nasbench201'"):
        BlockSum(NasBench201(), table)


def test_tables_of_two_files_never_mix(tmp_path: Path) -> None:
    one, other = yaml_table(tmp_path, PROXYLESS), yaml_table(tmp_path, PROXYLESS + "\n")
    assert key_differences(one.key, other.key)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1: it is no mapping"),
        ("- a\n", "line 1: it is no mapping"),
        ("42", "line 1: it is no mapping"),
        ("{}", "holds no latencies"),
        ("a: {mean: 1}\n", "line 1: 'a' is no block such as"),
        (PROXYLESS.replace("mean: 1.25", "mean: .nan"), "line 1: '.nan' is no latency in ms"),
        (PROXYLESS.replace("mean: 1.25", "mean: nan"), "line 1: nan is no latency"),
        (PROXYLESS.replace("mean: 1.25", "mean: 1e999"), "line 1: inf is no latency"),
        (PROXYLESS.replace("mean: 1.25", "mean: -1"), "line 1: a latency is positive, not -1 ms"),
        (PROXYLESS.replace("median: 2.25", "median: 0"), "line 4: a latency is positive, not 0 ms"),
        (PROXYLESS.replace("mean: 1.25", "mean: 1e10"), "line 1: nothing takes 1e+10 ms"),
        (PROXYLESS.replace("mean: 1.25", "mean: fast"), "line 1: 'fast' is no latency in ms"),
        (PROXYLESS.replace("mean: 1.25", "mean: [1]"), "line 1: a number is expected here"),
        (PROXYLESS.replace("mean: 1.25", "mean: {a: 1}"), "line 1: a number is expected here"),
        (
            PROXYLESS.replace("{mean: 1.e-1}", "1.5"),
            "line 6: what 'Logits-input:7x7x320-output:1000' takes is no mapping",
        ),
        (
            PROXYLESS.replace("{mean: 1.e-1}", "{std: 1}"),
            "line 6: 'Logits-input:7x7x320-output:1000' has neither median",
        ),
        (PROXYLESS.replace("count: 51", "count: 0"), "line 1: '0' is no count"),
        (PROXYLESS.replace("count: 51", "count: 1.5"), "line 1: '1.5' is no count"),
        (PROXYLESS.replace("count: 51", "count: 1e400"), "line 1: '1e400' is no count"),
        (PROXYLESS.replace("std: 0.1", "mean: 2"), "line 1: it tells 'mean' of"),
        (PROXYLESS + PROXYLESS, "line 7: it tells 'Conv-input:224x224x3-output:112x112x32' a second time"),
        (PROXYLESS + "---\n{}\n", "line 1: it holds more than one mapping"),
        (PROXYLESS + "Conv-a:1: {mean: 1\n", "is not YAML"),
        ("Conv-a:1: &x {mean: 1}\n", "line 1: aliases, anchors and tags of YAML are refused"),
        ("Conv-a:1: *x\n", "aliases, anchors and tags"),
        ("<<: {mean: 1}\n", "line 1: '<<' is no block"),
        ("!!python/object/apply:os.system ['touch ran']\n", "line 1: aliases, anchors and tags"),
        ("Conv-a:1: !!float 1\n", "line 1: aliases, anchors and tags"),
        ("? [a, b]\n: {mean: 1}\n", "line 1: a block's text is expected here"),
        ("[" * 100_000, "line 1: it is no mapping"),
        ("{" * 100_000, "line 1: a block's text is expected here"),
        ('"Conv', "it is not YAML: found unexpected end of stream"),
        (PROXYLESS.encode() + b"\xff", "line 7: it is not UTF-8 text"),
        ("a\x00b", "it is not YAML"),
        ("\t", "is not YAML"),
    ],
)
def test_what_is_no_such_yaml_is_told_with_its_line(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    with pytest.raises(BadInputError) as caught:
        yaml_table(tmp_path, content)
    assert sentence in str(caught.value)
    assert "pixel.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["pixel.yaml"]


def test_a_column_of_network_latencies_becomes_their_document(tmp_path: Path) -> None:
    content = f"architecture,raspi4_ms,pixel3_ms\n{CELL},10.5,3\n\n{OTHER},0.001,4\n"
    made = networks(tmp_path, content, column="raspi4_ms")
    assert {text: one.median_ms for text, one in made.networks.items()} == {CELL: 10.5, OTHER: 0.001}
    assert (made.space, made.device, made.key) == ("nasbench201", "raspi4", None)
    digest = sha256_of(tmp_path / "networks.csv")
    assert made.source == f"networks.csv (sha256 {digest}), column raspi4_ms"
    NETWORKS_DOCUMENT.save(made, tmp_path / "made.json")
    assert NETWORKS_DOCUMENT.load(tmp_path / "made.json") == made


def test_a_single_column_needs_no_choice(tmp_path: Path) -> None:
    made = networks(tmp_path, f"architecture,x_ms\n{CELL},1\n", device="mine")
    assert made.device == "mine"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1: it has no column 'architecture'"),
        ("a,b_ms\n", "line 1: it has no column 'architecture'"),
        ("architecture,a_ms,a_ms\n", "line 1: it names a column twice"),
        ("architecture,a_ms\n", "holds no latencies"),
        ("architecture,a_mj\n", "say with --column which latencies to take; it has none that ends in _ms"),
        ("architecture,a_ms,b_ms\n", "say with --column which latencies to take; it has a_ms, b_ms"),
        (f"architecture,a_ms\n{CELL},1\n{OTHER},nan\n", "line 3: nan is no latency"),
        (f"architecture,a_ms\n{CELL},1\n{OTHER},-2\n", "line 3: a latency is positive, not -2 ms"),
        (f"architecture,a_ms\n{CELL},1\n{OTHER},0\n", "line 3: a latency is positive, not 0 ms"),
        (f"architecture,a_ms\n{CELL},1\n{OTHER},1e99\n", "line 3: nothing takes 1e+99 ms"),
        (f"architecture,a_ms\n{CELL},\n", "line 2: '' is no latency in ms"),
        (f"architecture,a_ms\n{CELL},slow\n", "line 2: 'slow' is no latency in ms"),
        (f"architecture,a_ms\n{CELL}\n", "line 2: it has 1 columns, not 2"),
        (f"architecture,a_ms\n{CELL},1,2\n", "line 2: it has 3 columns, not 2"),
        (f"architecture,a_ms\n{CELL},1\n{CELL},2\n", "line 3: it tells '|nor_conv_3x3~0|"),
        ("architecture,a_ms\n|none~0|,1\n", "line 2: '|none~0|' is not a NAS-Bench-201 cell"),
        (f'architecture,a_ms\n{CELL},"1\n', "it is not CSV"),
        (b"architecture,a_ms\n\xff,1\n", "line 2: it is not UTF-8 text"),
        ("architecture,a_ms\n" + "x" * 200_000 + ",1\n", "it is not CSV: field larger than field limit"),
    ],
)
def test_what_is_no_such_csv_is_told_with_its_line(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    with pytest.raises(BadInputError) as caught:
        networks(tmp_path, content)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="has no column 'pi_ms'; it has a_ms"):
        networks(tmp_path, f"architecture,a_ms\n{CELL},1\n", column="pi_ms")


def test_packed_files_are_unpacked_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f"architecture,a_ms\n{CELL},1\n".encode()
    packed = gzip.compress(content[:10]) + gzip.compress(content[10:]) + b"\0" * 5
    assert len(networks(tmp_path, packed).networks) == 1
    monkeypatch.setattr(reading, "MOST_BYTES", 2**20)
    with pytest.raises(BadInputError, match="unpacked it is larger than 1 MB"):
        read_foreign(write(tmp_path, gzip.compress(b"0" * 50_000_000)), 2**20)
    with pytest.raises(BadInputError, match=r"networks\.csv is refused: it is larger than 1 MB"):
        read_foreign(write(tmp_path, b"0" * (2**20 + 1)), 2**20)
    with pytest.raises(BadInputError, match="packed in more than 100 parts"):
        read_foreign(write(tmp_path, gzip.compress(b"") * 200))


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "networks.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: packed[:20] + b"\xff" + packed[21:]])
def test_a_damaged_packed_file_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadInputError, match=r"networks\.csv is damaged: "):
        networks(tmp_path, damage(gzip.compress(f"architecture,a_ms\n{CELL},1\n".encode())))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for path, sentence in ((tmp_path / "none.csv", "it is not there"), (tmp_path, "it is no file")):
        with pytest.raises(BadInputError, match=sentence):
            read_foreign(path)
    with pytest.raises(BadInputError, match="it is no file"):
        read_foreign(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("format_name", "choices", "sentence"),
    [
        ("pickle", {}, f"--format takes {', '.join(FORMATS)}, not 'pickle'"),
        ("csv", {"space": "fbnet"}, "--space is not for the format csv"),
        ("csv", {"device": "pi"}, "--device is not for the format csv"),
        ("mobile-yaml", {"column": "a_ms"}, "--column is not for the format mobile-yaml"),
        ("networks-csv", {"data_set": "cifar10"}, "--data-set is not for the format networks-csv"),
        ("networks-csv", {"space": "mine"}, "unknown search space 'mine'"),
        ("hw-nas-bench", {}, "that of FILE.pickle or FILE.pkl"),
    ],
)
def test_choices_that_a_format_does_not_have_are_refused(
    tmp_path: Path, format_name: str, choices: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        imported(tmp_path / "file.bin", "", format_name, **choices)
    assert sentence in str(caught.value)


def test_the_public_nasbench201_latencies_are_imported_whole(data_file: Callable[[str], Path]) -> None:
    path = data_file("nasbench201_latency.csv.gz")
    made = import_file(ImportRequest(path, "networks-csv", NOW, column="raspi4_ms"))
    assert isinstance(made, NetworkLatencies)
    assert len(made.networks) == 15_625
    space = NasBench201()
    first = space.format(next(space.architectures()))
    assert made.networks[first].median_ms == pytest.approx(10.482, abs=5e-4)
    # Some disconnected cells take less than any network can: published is published.
    assert min(one.median_ms for one in made.networks.values()) < 0.1


def test_the_public_fbnet_latencies_are_imported_whole(data_file: Callable[[str], Path]) -> None:
    path = data_file("fbnet_latency.csv.gz")
    made = import_file(ImportRequest(path, "networks-csv", NOW, space="fbnet", column="pixel3_ms"))
    assert isinstance(made, NetworkLatencies)
    assert (made.space, made.device, len(made.networks)) == ("fbnet", "pixel3", 5000)
    assert made.networks["7-8-1-8-4-8-8-8-7-4-1-4-7-3-2-7-3-2-4-2-4-5"].median_ms == pytest.approx(17.558, abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["pixel3_ms", "eyeriss_ms", "samsung_a50_ms", "gold_6240_ms", "1080ti_1_ms"])
def test_every_public_column_is_imported_whole(data_file: Callable[[str], Path], column: str) -> None:
    path = data_file("nasbench201_latency.csv.gz")
    made = import_file(ImportRequest(path, "networks-csv", NOW, column=column))
    assert isinstance(made, NetworkLatencies)
    assert len(made.networks) == 15_625
