"""ONNX Runtime's side: shapes, types, optimisation levels and the graph reader."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings
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
