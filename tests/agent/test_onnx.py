"""ONNX Runtime's side: shapes, types, optimisation levels and the graph reader."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes.inputs import random_array
from profiler_agent.runtimes.onnx import RUNTIME
from profiler_agent.runtimes.onnx_graph import operator_names
from tests.agent.models import write_convolution, write_identity


def test_a_dynamic_shape_must_be_given(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx", ("batch", 3))
    with pytest.raises(SessionError, match="give one with --shape x=") as caught:
        RUNTIME.open(model, Settings(), {})
    assert caught.value.code == "dynamic_shape"
    RUNTIME.open(model, Settings(), {"x": (2, 3)}).run()


@pytest.mark.parametrize(("shapes", "code"), [({"x": (1, 4)}, "wrong_shape"), ({"z": (1,)}, "unknown_input")])
def test_a_shape_must_fit_an_input(tmp_path: Path, shapes: dict[str, tuple[int, ...]], code: str) -> None:
    model = write_identity(tmp_path / "m.onnx", (1, 3))
    with pytest.raises(SessionError) as caught:
        RUNTIME.open(model, Settings(), shapes)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8]
)
def test_inputs_of_many_types_are_made(tmp_path: Path, dtype: int) -> None:
    RUNTIME.open(write_identity(tmp_path / "m.onnx", (2, 2), dtype), Settings(), {}).run()


def test_float_inputs_are_standard_normal_and_repeat_with_their_seed() -> None:
    drawn = random_array((3, 100, 101), numpy.float32, random.Random(1))
    assert drawn.shape == (3, 100, 101)
    assert drawn.dtype == numpy.float32
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert (numpy.abs(drawn) < 1).mean() == pytest.approx(0.683, abs=0.01)
    assert len(numpy.unique(drawn)) > 0.99 * drawn.size
    assert numpy.array_equal(drawn, random_array((3, 100, 101), numpy.float32, random.Random(1)))


@pytest.mark.parametrize(("dtype", "low", "high"), [(numpy.int8, -128, 127), (numpy.uint8, 0, 255)])
def test_quantised_inputs_use_the_whole_range(dtype: type, low: int, high: int) -> None:
    drawn = random_array((100, 101), dtype, random.Random(1))
    assert drawn.dtype == dtype
    values, counts = numpy.unique(drawn, return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    assert counts.max() < 2 * drawn.size / 256


@pytest.mark.parametrize("dtype", [numpy.int64, numpy.int32, numpy.int16, numpy.bool_])
def test_other_inputs_are_zeros_and_ones(dtype: type) -> None:
    drawn = random_array((50, 2), dtype, random.Random(1))
    assert drawn.dtype == dtype
    assert set(drawn.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_inputs_without_extent_are_made(shape: tuple[int, ...]) -> None:
    assert random_array(shape, numpy.float32, random.Random(1)).shape == shape


def modules_loaded_by(program: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())


def test_the_worker_loads_nothing_large_beside_its_runtime() -> None:
    """numpy.random and the OpenSSL behind it would cost 6.6 MB of a worker's 8."""
    opening = "\n".join(
        (
            "import tempfile, pathlib, profiler_agent.worker",
            "from profiler_agent.runtimes.onnx import RUNTIME",
            "from profiler_agent.records import Settings",
            "with tempfile.TemporaryDirectory() as folder:",
            "    model = pathlib.Path(folder, 'model')",
            "    model.write_bytes(RUNTIME.sentinel_model)",
            "    RUNTIME.open(model, Settings(), {}).run()",
        )
    )
    added = modules_loaded_by(opening) - modules_loaded_by("import numpy, onnxruntime")
    assert "profiler_agent.worker" in added
    assert not added & {"numpy.random", "hashlib", "_hashlib", "ssl", "secrets", "email", "asyncio", "argparse"}


def test_an_unsupported_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"tensor\(string\)"):
        RUNTIME.open(write_identity(tmp_path / "m.onnx", (1,), TensorProto.STRING), Settings(), {})


def test_a_truncated_model_is_one_sentence(tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "m.onnx")
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(SessionError, match="cannot load m"):
        RUNTIME.open(model, Settings(), {})


def test_an_unknown_optimisation_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="unknown optimisation level 'most'"):
        RUNTIME.open(write_identity(tmp_path / "m.onnx"), Settings(optimization="most"), {})


def test_the_graph_reader_agrees_with_the_onnx_package(tmp_path: Path) -> None:
    path = write_convolution(tmp_path / "m.onnx")
    assert operator_names(path.read_bytes()) == tuple(node.op_type for node in onnx.load(path).graph.node)


def test_operators_of_other_domains_keep_their_domain(tmp_path: Path) -> None:
    path = write_identity(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].domain = "com.microsoft"
    assert operator_names(model.SerializeToString()) == ("com.microsoft:Identity",)


@given(st.binary(max_size=200))
def test_the_graph_reader_survives_any_bytes(data: bytes) -> None:
    try:
        names = operator_names(data)
    except SessionError:
        return
    assert isinstance(names, tuple)
