"""ONNX Runtime's profile: recorded lines, what they mean beside the optimised graph, and the real profiler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from profiler_agent.errors import SessionError
from profiler_agent.records import Settings, TensorType
from profiler_agent.runtimes.onnx import OnnxRuntime
from profiler_agent.runtimes.onnx_events import read_profile
from profiler_agent.runtimes.onnx_graph import Node, OnnxGraph, read_graph
from profiler_agent.runtimes.onnx_models import call_model, chain_model
from profiler_agent.runtimes.onnx_profile import inspect, matched_nodes, operands
from tests.agent.models import write_convolution, write_identity

# As ONNX Runtime 1.31 writes it, shortened.
RUN = '{"cat" : "Session","pid" :7,"tid" :7,"dur" :701,"ts" :20690,"ph" : "X","name" :"model_run","args" : {}},\n'
INPUTS = [{"float": [1, 64]}, {"int64": [10]}]


def node_line(name: str, operation: str, dur: int, ts: int = 0, **args: Any) -> str:
    arguments = {"op_name": operation, "provider": "CPUExecutionProvider", "input_type_shape": INPUTS, **args}
    event = {"cat": "Node", "pid": 7, "dur": dur, "ts": ts, "ph": "X", "name": f"{name}_kernel_time", "args": arguments}
    return json.dumps(event) + ",\n"


def test_times_of_the_last_runs_are_kept_by_node() -> None:
    runs = [node_line("a", "Conv", 10 + run) + node_line("b", "Relu", 3) + RUN for run in range(4)]
    lines = "".join(["[\n", *runs, "]\n"]).splitlines(keepends=True)
    first, second = read_profile(lines, 3)
    assert (first.name, first.operation, first.durations_us) == ("a", "Conv", (11, 12, 13))
    assert second.durations_us == (3, 3, 3)
    assert first.provider == "CPUExecutionProvider"
    assert first.inputs == (TensorType("float32", (1, 64)), TensorType("int64", (10,)))


def test_nodes_inside_of_others_are_part_of_them() -> None:
    run = [node_line("x", "Add", 5, 100), node_line("inner", "Mul", 2, 112), node_line("if", "If", 9, 110), RUN]
    assert [one.name for one in read_profile(run, 1)] == ["x", "if"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([node_line("a", "Conv", 1), RUN], "tells 1 runs, not 2"),
        ([node_line("a", "Conv", 1), RUN, node_line("b", "Conv", 1), RUN], "runs differ"),
        ([node_line("a", "Conv", -1), RUN, RUN], "no time of the node 'a_kernel_time'"),
        (['{"cat" : "Node", "name" : "a"b_kernel_time"},\n'], "is unreadable"),
    ],
)
def test_a_profile_that_cannot_be_used_is_one_sentence(lines: Sequence[str], complaint: str) -> None:
    with pytest.raises(SessionError, match=complaint):
        read_profile(lines, 2)


def graph_of(*nodes: Node) -> OnnxGraph:
    return OnnxGraph(nodes, {"w": (1, (10, 64))})


def kernel(name: str, operation: str) -> Any:
    return read_profile([node_line(name, operation, 1), RUN], 1)[0]


def test_nodes_are_matched_by_order_then_by_name() -> None:
    conv, relu = Node("", "com.microsoft:FusedConv", (), (), {"group": "2"}), Node("r", "Relu", (), (), {})
    kernels = [kernel("made_up", "FusedConv"), kernel("r", "Relu")]
    assert matched_nodes(kernels, graph_of(conv, relu)) == (conv, relu)
    assert matched_nodes(kernels[::-1], graph_of(conv, relu)) == (relu, None)


def test_constants_that_the_runtime_packed_are_operands_all_the_same() -> None:
    node = Node("", "Gemm", ("x", "w", "", "b"), ("y",), {})
    graph = OnnxGraph((node,), {"w": (1, (10, 64)), "b": (1, (10,))})
    x, w, b = TensorType("float32", (1, 64)), TensorType("float32", (10, 64), True), TensorType("float32", (10,), True)
    for told in ([x, TensorType("float32", (10, 64)), TensorType("float32", (10,))], [x, TensorType("float32", (10,))]):
        assert operands(told, node, graph) == (x, w, b)
    assert operands([x, x, x, x], node, graph) == (x, x, x, x)


def test_the_graph_reader_tells_attributes_and_constants_as_the_onnx_package_does(tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 2, "auto_pad": "NOTSET"}
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", alpha=0.25, axis=-1, **attributes)
    weights = numpy_helper.from_array(numpy.zeros((4, 2, 3, 3), numpy.float16), "w")
    model = helper.make_model(helper.make_graph([node], "g", [], [], [weights]))
    graph = read_graph(model.SerializeToString())
    (read,) = graph.nodes
    assert (read.name, read.operation, read.inputs, read.outputs) == ("c", "Conv", ("x", "w"), ("y",))
    expected = {"kernel_shape": "3,3", "pads": "1,1,1,1", "group": "2", "auto_pad": "NOTSET"}
    assert read.attributes == {**expected, "alpha": "0.25", "axis": "-1"}
    assert graph.constants == {"w": (TensorProto.FLOAT16, (4, 2, 3, 3))}


@given(st.binary(max_size=300).map(lambda data: b"\x3a" + bytes([len(data) & 0x7F]) + data))
def test_the_graph_reader_survives_any_graph(data: bytes) -> None:
    try:
        graph = read_graph(data)
    except SessionError:
        return
    assert all(isinstance(text, str) for node in graph.nodes for text in node.attributes.values())


def test_the_calibration_models_are_sound() -> None:
    for data, nodes in ((call_model(), 1), (chain_model(40), 40)):
        onnx.checker.check_model(onnx.load_from_string(data))
        assert len(read_graph(data).nodes) == nodes
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {"x": numpy.zeros((1, 1, 1, 1), numpy.float32)})
        assert result.item() == (0 if nodes == 1 else 40)


def test_the_real_profiler_tells_every_node(tmp_path: Path) -> None:
    found = inspect(OnnxRuntime(), write_convolution(tmp_path / "m.onnx"), Settings(), {}, tmp_path)
    relu, convolution = found.operators
    assert (relu.operation, relu.provider) == ("Relu", "CPUExecutionProvider")
    assert convolution.attributes["pads"] == "1,1,1,1"
    shapes = [(one.shape, one.constant) for one in convolution.inputs]
    assert shapes == [((1, 4, 8, 8), False), ((4, 4, 3, 3), True)]
    assert convolution.outputs == (TensorType("float32", (1, 4, 8, 8)),)
    assert found.profiled_wall_us is not None
    assert found.calibration is not None
    times = [one.profiled_us for one in found.operators]
    assert all(one is not None and 0 < one < found.profiled_wall_us for one in times)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"m.onnx", found.call, found.calibration.file}


def test_dynamic_shapes_are_those_of_the_run(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx", ("batch", 3))
    (identity,) = inspect(OnnxRuntime(), model, Settings(), {"x": (5, 3)}, tmp_path).operators
    assert identity.inputs == (TensorType("float32", (5, 3)),)
