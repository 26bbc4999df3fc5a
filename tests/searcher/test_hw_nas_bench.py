"""HW-NAS-Bench's pickle: read in its layout, and nothing in it is ever run."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from searcher.errors import BadInputError
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.foreign import pickled
from searcher.tables.foreign.importing import ImportRequest, import_file
from searcher.tables.foreign.pickled import PickledArray, read_pickle
from searcher.tables.foreign.reading import ForeignFile
from searcher.tables.lookup_table import LookupTable
from searcher.tables.network_latencies import NetworkLatencies

NOW = "2026-11-21T00:00:00+00:00"
SPACE = NasBench201()
CELLS = [SPACE.format(architecture) for architecture, _ in zip(SPACE.architectures(), range(5), strict=False)]
CONV = "ConvBlock_H32_W32_Cin16_Cout16_exp1_kernel3_stride1_group1"
SKIP = "Skip_H32_W32_Cin16_Cout16_stride1"
STEEP_SKIP = "Skip_H32_W32_Cin16_Cout24_stride2"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RAN = "it-ran"


def benchmark(latencies: Any = (1.0, 2.0, 3.0, 4.0, 5.0)) -> dict[str, Any]:
    """The benchmark's layout with five cells and three blocks."""
    config = [{"name": "infer.tiny", "C": 16, "N": 5, "arch_str": cell, "num_classes": 10} for cell in CELLS]
    cells = {"config": config, "raspi4_latency": latencies, "eyeriss_arithmetic_intensity": [0.0] * 5}
    blocks = {
        "raspi4_latency": {CONV: 1.5, SKIP: 0.0, "FC_Cin1504_Cout100": np.float64(0.25)},
        "raspi4_energy": {CONV: 2.5, SKIP: 0},
        "edgetpu_energy": {},
    }
    return {"nasbench201": {"cifar10": cells, "cifar100": cells}, "fbnet": blocks}


def file_of(content: bytes) -> ForeignFile:
    return ForeignFile(Path("bench.pickle"), "ab" * 32, content)


def imported(tmp_path: Path, content: bytes, **choices: str) -> LookupTable | NetworkLatencies:
    path = tmp_path / "bench.pickle"
    path.write_bytes(content)
    return import_file(ImportRequest(path, "hw-nas-bench", NOW, **choices))


def refused(content: bytes) -> str:
    with pytest.raises(BadInputError) as caught:
        read_pickle(file_of(content))
    said = str(caught.value)
    assert said.startswith("bench.pickle is refused: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        lambda values: np.array(values),
        lambda values: np.array(values, dtype=">f4"),
        lambda values: np.array(values, dtype=np.int64),
        lambda values: [np.float64(value) for value in values],
        lambda values: [np.float32(value) for value in values],
        lambda values: [np.array(value) for value in values],
        lambda values: np.array([values, values]).T[:, 0],
    ],
)
def test_cells_are_read_however_their_figures_are_written(
    tmp_path: Path, protocol: int, form: Callable[[list[float]], Any]
) -> None:
    content = pickle.dumps(benchmark(form([1.0, 2.0, 3.0, 4.0, 5.0])), protocol)
    made = imported(tmp_path, content, column="raspi4")
    assert isinstance(made, NetworkLatencies)
    assert {text: one.median_ms for text, one in made.networks.items()} == dict(zip(CELLS, range(1, 6), strict=True))
    assert (made.space, made.device, made.key) == ("nasbench201", "raspi4", None)
    assert "bench.pickle (sha256 " in made.source
    assert made.source.endswith("nasbench201, cifar10, raspi4_latency")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_blocks_become_a_table_with_their_energies(tmp_path: Path, protocol: int) -> None:
    made = imported(tmp_path, pickle.dumps(benchmark(), protocol), space="fbnet", column="raspi4_latency")
    assert isinstance(made, LookupTable)
    assert made.space == "imported-hw-nas-bench-fbnet"
    told = {block: (entry.median_ms, entry.energy_mj) for block, entry in made.entries.items()}
    assert told == {CONV: (1.5, 2.5), SKIP: (1e-6, None), "FC_Cin1504_Cout100": (0.25, None)}
    assert made.key.device_fingerprint.endswith("-raspi4_latency")
    assert made.provenance.device == "raspi4"


def test_what_only_looks_like_plain_data_is_read_as_such() -> None:
    content = collections.OrderedDict(
        a=np.array([[1, 2], [3, 4]], order="F"), b=(b"x" * 300, bytearray(b"y"), -(2**40))
    )
    read = read_pickle(file_of(pickle.dumps(content, 5)))
    assert isinstance(read["a"], PickledArray)
    assert read["a"].values is not None
    assert read["a"].values.tolist() == [[1, 2], [3, 4]]
    assert read["b"][0] == b"x" * 300
    assert read["b"][2] == -(2**40)


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(min_size=1),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=20) | st.integers(-(2**60), 2**60), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(plain_data, st.sampled_from(PROTOCOLS))
def test_plain_data_is_read_as_python_reads_it(content: Any, protocol: int) -> None:
    written = pickle.dumps(content, protocol)
    assert read_pickle(file_of(written)) == pickle.loads(written) == content


@given(
    arrays(
        st.sampled_from([">f8", "<f4", "<f2", ">i4", "<u2", "i1", "?"]),
        array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements=st.integers(0, 1),
    ),
    st.sampled_from(PROTOCOLS),
    st.sampled_from("CF"),
)
def test_arrays_are_read_as_numpy_reads_them(array: np.ndarray, protocol: int, order: Any) -> None:
    read = read_pickle(file_of(pickle.dumps(np.array(array, order=order), protocol)))
    assert isinstance(read, PickledArray)
    assert read.values is not None
    assert (read.values.dtype, read.values.shape) == (array.dtype, array.shape)
    assert read.values.tolist() == array.tolist()


class Calls:
    """A pickle of this calls something when Python's own unpickler reads it."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self._reduced = (called, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


EVIL: tuple[tuple[Any, str], ...] = (
    (Calls(os.system, f"touch {RAN}"), "posix.system"),
    (Calls(builtins.eval, f"open('{RAN}', 'w')"), "builtins.eval"),
    (Calls(builtins.exec, f"open('{RAN}', 'w')"), "builtins.exec"),
    (Calls(builtins.getattr, "os", "system"), "builtins.getattr"),
    (Calls(subprocess.run, ["touch", RAN]), ".run"),
    (Calls(np.load, RAN, None, True), "numpy.load"),
    (Calls(np.save, RAN, 1), "numpy.save"),
    (Calls(np.fromfile, RAN), "numpy.fromfile"),
    (Calls(np.memmap, RAN, "float64", "w+", 0, (1,)), "numpy.memmap"),
    (Calls(np.zeros, 10**12), "numpy.zeros"),
    (Calls(np.testing.assert_equal, 1, 1), "numpy.testing"),
    (Calls(io.open, RAN, "w"), "open"),
    (Calls(Path, RAN), "Path"),
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("evil", "name"), EVIL, ids=[name for _, name in EVIL])
def test_every_other_callable_is_refused_by_name_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, evil: Calls, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"nasbench201": [evil]}, protocol)
    said = refused(content)
    assert name in said.replace("__builtin__", "builtins")
    assert "only numpy's arrays and plain containers are read" in said
    assert not (tmp_path / RAN).exists()


NAMED = (
    b"cnumpy.testing._private.utils\nrunstring\n(S'import os'\n}tR.",
    b"cnumpy.f2py\ncompile\n(tR.",
    b"cnumpy.core.multiarray\nfromfile\n(S'/dev/zero'\ntR.",
    b"cnumpy.core.multiarray\nscalar.__class__\n.",
    b"cnumpy.dtype\n__reduce__\n.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    b"(S'touch it-ran'\nios\nsystem\n.",
    b"(cos\nsystem\nS'touch it-ran'\no.",
    b"\x80\x02cos\nsystem\n(S'a'\nt\x81.",
    b"\x80\x02\x82\x01.",
    b"Ppersistent\n.",
    b"\x80\x05\x97.",
    b"\x80\x04\x8f.",
    b"K\x012.",
    b"K\x01K\x020.",
)


@pytest.mark.parametrize("content", NAMED)
def test_names_and_instructions_that_no_plain_data_needs_are_refused(content: bytes) -> None:
    assert "refused" in refused(content)


SCALAR = b"cnumpy.core.multiarray\nscalar\n"
DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b".", "finds nothing to work on"),
        (b"N", "pickle exhausted"),
        (b"\xff.", "unknown"),
        (b"0.", "POP"),
        (b"t.", "lacks its mark"),
        (b"(.", "finds nothing"),
        (b"K\x01N\x86e.", "lacks its mark"),
        (b"K\x01N\x86a.", "finds nothing"),
        (b"K\x01Na.", "something is added to 'int', not to a list"),
        (b"]N]s.", "something is added to 'list', not to a dict"),
        (b"}]Ns.", "a dictionary's key is 'list'"),
        (b"})Ns.", "a dictionary's key is 'tuple'"),
        (b"}(NNNu.", "a key without a value"),
        (b"h\x05.", "something that it never told"),
        (b"\x8b" + struct.pack("<i", 2**31 - 1), "not enough data in stream to read long4"),
        (b"B" + struct.pack("<I", 2**32 - 1) + b"abc.", "expected 4294967295 bytes"),
        (b"\x8e" + struct.pack("<Q", 2**62) + b"abc.", "expected 4611686018427387904 bytes"),
        (b"\x96" + struct.pack("<Q", 2**62) + b"abc.", "expected 4611686018427387904 bytes"),
        (b"\x8d" + struct.pack("<Q", 2**64 - 1) + b"abc.", ""),
        (b"I" + b"9" * 100_000 + b"\n.", "limit"),
        (b"(" * 100_000, "nested more than 1000 deep"),
        (b"F1e5x\n.", "could not convert"),
        (DTYPE % b"O8" + b".", "of 'O8', not of numbers"),
        (DTYPE % b"V16" + b".", "of 'V16', not of numbers"),
        (DTYPE % b"f4,(1000000000,)f8" + b".", "not of numbers"),
        (SCALAR + b"(" + DTYPE % b"f8" + b"S'abc'\ntR.", "more or less bytes than its shape says"),
        (SCALAR + b"(tR.", "with something else than data"),
        (
            RECONSTRUCT + b"(I1\n(I1000000000000\nt" + DTYPE % b"f8" + b"I00\nS'abcdefgh'\ntb.",
            "shape of an array is none",
        ),
        (RECONSTRUCT + b"(I1\n(I-1\nt" + DTYPE % b"f8" + b"I00\nS'abcdefgh'\ntb.", "shape of an array is none"),
        (RECONSTRUCT + b"(I1\n(I2\nt" + DTYPE % b"f8" + b"I00\nS'abcdefgh'\ntb.", "more or less bytes"),
        (RECONSTRUCT + b"(I1\n(I1\nt" + DTYPE % b"f8" + b"I00\n(lp0\ntb.", "holds objects, not numbers"),
        (RECONSTRUCT + b"}b.", "sets the state of 'PickledArray'"),
        (b"}}b.", "sets the state of 'dict'"),
        (b"](I1\ntR.", "it calls 'list'"),
        (b"ccollections\nOrderedDict\n(NtR.", "with something else than data"),
        (b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "with something else than data"),
    ],
)
def test_damaged_and_absurd_pickles_are_one_sentence(content: bytes, sentence: str) -> None:
    assert sentence in refused(content)


def test_the_number_of_instructions_containers_and_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_INSTRUCTIONS", 1000)
    monkeypatch.setattr(pickled, "MOST_CONTAINERS", 100)
    monkeypatch.setattr(pickled, "MOST_MEMOS", 50)
    assert "more than 1,000 instructions" in refused(b"N" * 2000 + b".")
    assert "more than 100 lists" in refused(b"}" * 200 + b".")
    assert "more than 50 values" in refused(b"\x80\x04N" + b"\x94" * 60 + b".")


def test_one_long_text_cannot_be_copied_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_BYTES", 1000)
    text = b"X" + struct.pack("<I", 900) + b"x" * 900 + b"q\x00"
    call = b"c_codecs\nencode\nh\x00Vlatin1\n\x86R"
    assert "uses its bytes again and again" in refused(text + call * 3 + b".")


def test_keys_that_take_for_ever_to_hash_are_refused() -> None:
    nested = b")" + b"q\x00h\x00\x86" * 60
    assert "a dictionary's key is 'tuple'" in refused(b"}" + nested + b"Ns.")
    assert "neither a short text nor a number" in refused(b"}\x8b" + struct.pack("<i", 9) + b"\x01" * 9 + b"Ns.")
    assert "neither a short text nor a number" in refused(b"}X" + struct.pack("<I", 1001) + b"x" * 1001 + b"Ns.")


def test_a_list_within_itself_is_no_figure(tmp_path: Path) -> None:
    cells: list[Any] = []
    cells.append(cells)
    with pytest.raises(BadInputError, match="raspi4_latency of cell 0: 'list' is no number"):
        imported(tmp_path, pickle.dumps(benchmark(cells)), column="raspi4")


def without(name: str) -> dict[str, Any]:
    content = benchmark()
    del content["nasbench201"]["cifar10"][name]
    return content


def with_config(config: Any) -> dict[str, Any]:
    content = benchmark()
    content["nasbench201"]["cifar10"] = {**content["nasbench201"]["cifar10"], "config": config}
    return content


def with_blocks(blocks: Any) -> dict[str, Any]:
    return {"fbnet": {"raspi4_latency": blocks}}


@pytest.mark.parametrize(
    ("content", "choices", "sentence"),
    [
        ([], {}, "it is no dictionary"),
        ({}, {}, "nasbench201 is no dictionary"),
        (benchmark(), {"data_set": "mnist"}, "has no data set 'mnist'; it has 'cifar10', 'cifar100'"),
        (benchmark(), {"space": "mine"}, "has the spaces nasbench201 and fbnet, not 'mine'"),
        (benchmark(), {"space": "fbnet", "data_set": "cifar10"}, "--data-set is not for fbnet"),
        (benchmark(), {}, "say with --column which latencies to take; it has 'raspi4_latency'"),
        (benchmark(), {"column": "pi"}, "there is no column 'pi_latency'; it has 'raspi4_latency'"),
        (without("config"), {"column": "raspi4"}, "config is no list"),
        (with_config([1, 2]), {"column": "raspi4"}, "cell 0: it has no arch_str"),
        (with_config([{"arch_str": "x"}] * 5), {"column": "raspi4"}, "cell 0: 'x' is not a NAS-Bench-201 cell"),
        (with_config([{"arch_str": CELLS[0]}] * 5), {"column": "raspi4"}, "cell 1: it is told a second time"),
        (benchmark([1.0, 2.0]), {"column": "raspi4"}, "there are 5 cells but 2 figures"),
        (benchmark([1.0, 2.0, 0.0, 4.0, 5.0]), {"column": "raspi4"}, "cell 2: a latency is positive, not 0 ms"),
        (benchmark([1.0, 2.0, float("nan"), 4.0, 5.0]), {"column": "raspi4"}, "cell 2: nan is no latency"),
        (
            benchmark(np.array([1.0, 2.0, -3.0, 4.0, 5.0])),
            {"column": "raspi4"},
            "cell 2: a latency is positive, not -3",
        ),
        (benchmark([1.0, 2.0, "3", 4.0, 5.0]), {"column": "raspi4"}, "cell 2: '3' is no number"),
        (benchmark([1.0, 2.0, True, 4.0, 5.0]), {"column": "raspi4"}, "cell 2: 'bool' is no number"),
        (benchmark([1.0, 2.0, 10**400, 4.0, 5.0]), {"column": "raspi4"}, "cell 2: 'int' is no number"),
        (benchmark(np.ones((5, 2))), {"column": "raspi4"}, "raspi4_latency is no list of numbers"),
        (benchmark("12345"), {"column": "raspi4"}, "raspi4_latency is no list of numbers"),
        (with_blocks({}), {"space": "fbnet", "column": "raspi4"}, "holds no latencies"),
        (with_blocks([]), {"space": "fbnet", "column": "raspi4"}, "raspi4_latency is no dictionary"),
        (with_blocks({"x y": 1.0}), {"space": "fbnet", "column": "raspi4"}, "'x y' is no block of raspi4_latency"),
        (with_blocks({1: 1.0}), {"space": "fbnet", "column": "raspi4"}, "'int' is no block of raspi4_latency"),
        (with_blocks({CONV: 0.0}), {"space": "fbnet", "column": "raspi4"}, "a latency is positive, not 0 ms"),
        (with_blocks({STEEP_SKIP: 0.0}), {"space": "fbnet", "column": "raspi4"}, "a latency is positive, not 0 ms"),
        (with_blocks({CONV: []}), {"space": "fbnet", "column": "raspi4"}, "'list' is no number"),
        (
            {"fbnet": {"raspi4_latency": {CONV: 1.0}, "raspi4_energy": {CONV: -1.0}}},
            {"space": "fbnet", "column": "raspi4"},
            "an energy is positive, not -1 mJ",
        ),
    ],
)
def test_another_layout_is_told_with_the_cell_or_block(
    tmp_path: Path, content: Any, choices: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        imported(tmp_path, pickle.dumps(content, 4), **choices)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_pickle_as_large_as_the_benchmark_is_read(tmp_path: Path) -> None:
    cells = [SPACE.format(architecture) for architecture in SPACE.architectures()]
    config = [{"name": "infer.tiny", "C": 16, "N": 5, "arch_str": cell, "num_classes": 10} for cell in cells]
    metrics = {f"{device}_latency": [np.float64(n + 1) for n in range(len(cells))] for device in "abcdefghij"}
    content = {"nasbench201": {data: {"config": config, **metrics} for data in ("cifar10", "cifar100", "imagenet")}}
    made = imported(tmp_path, pickle.dumps(content, 3), column="j")
    assert isinstance(made, NetworkLatencies)
    assert len(made.networks) == 15_625
    assert made.networks[cells[-1]].median_ms == 15_625
