"""Reading TFLite files without a runtime, and cutting operators out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler_agent.errors import SessionError
from profiler_agent.runtimes.flatbuffer import FlatBuffer
from profiler_agent.runtimes.tflite_cut import boundary, constant_operators, cut, write_sparse
from profiler_agent.runtimes.tflite_file import read_tflite
from profiler_agent.runtimes.tflite_parts import fusions
from profiler_agent.runtimes.tflite_schema import DTYPES, OPERATORS

litert = pytest.importorskip("ai_edge_litert.interpreter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from tests.agent.tflite_graphs import write_padded, write_unpacked  # noqa: E402
from tests.agent.tflite_models import write_convolution, write_gather  # noqa: E402


def run(model: bytes, *inputs: numpy.ndarray) -> list[Any]:
    interpreter = litert.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    for number, details in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(details["index"], inputs[number])
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


def test_the_names_are_those_of_the_schema() -> None:
    for owner, names in ((schema.BuiltinOperator, OPERATORS), (schema.TensorType, DTYPES)):
        known = {value: name for name, value in vars(owner).items() if isinstance(value, int)}
        # An older LiteRT knows fewer.
        told = {number: name.lower() for number, name in enumerate(names) if number in known}
        assert told == {number: known[number].lower() for number in told}
        assert len(told) > len(names) // 2


def test_an_operator_is_told_with_what_makes_it_what_it_is(tmp_path: Path) -> None:
    file = read_tflite(write_convolution(tmp_path / "m").read_bytes())
    relu, convolution = file.operators
    assert (relu.operation, relu.attributes) == ("RELU", {})
    assert convolution.operation == "CONV_2D"
    assert convolution.attributes == {
        "padding": "same",
        "strides": "1,1",
        "dilations": "1,1",
        "activation": "none",
        "kernel": "3,3",
        "groups": "1",
    }
    assert [file.tensors[one].constant for one in convolution.inputs] == [False, True, True]
    assert file.tensors[convolution.inputs[1]].shape == (4, 3, 3, 4)


def test_short_constant_operands_are_attributes(tmp_path: Path) -> None:
    padding = read_tflite(write_padded(tmp_path / "m").read_bytes()).operators[0]
    assert padding.attributes == {"input_1": "0,0,1,1,1,1,0,0"}


def test_each_operator_alone_computes_what_it_computes_in_the_model(tmp_path: Path) -> None:
    data = write_padded(tmp_path / "m").read_bytes()
    file = read_tflite(data)
    source = numpy.random.default_rng(1).standard_normal((1, 8, 8, 4)).astype(numpy.float32)
    value = source
    for number, operator in enumerate(file.operators):
        (value,) = run(cut(file, (number,)), value)
        assert value.shape == file.tensors[operator.outputs[0]].shape
    (expected,) = run(data, source)
    assert numpy.allclose(value, expected, atol=1e-5)
    (together,) = run(cut(file, (0, 1, 2)), source)
    assert numpy.allclose(2 * together, expected, atol=1e-5)
    assert file.buffer.to_bytes() == data


def test_no_operators_are_a_model_that_computes_nothing(tmp_path: Path) -> None:
    file = read_tflite(write_convolution(tmp_path / "m").read_bytes())
    interpreter = litert.Interpreter(model_content=cut(file, ()))
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert interpreter._get_ops_details() == []


def test_weights_that_are_unpacked_stay_constants(tmp_path: Path) -> None:
    file = read_tflite(write_unpacked(tmp_path / "m").read_bytes())
    assert constant_operators(file) == {0}
    model = cut(file, (1,))
    assert [one.operation for one in read_tflite(model).operators] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    (result,) = run(model, numpy.ones((1, 4), numpy.float32))
    assert result.tolist() == [[4, 4, 4]]


def test_a_cut_can_have_another_shape(tmp_path: Path) -> None:
    file = read_tflite(write_convolution(tmp_path / "m", signature=(-1, 8, 8, 4)).read_bytes())
    shapes = dict.fromkeys(boundary(file, (0,)), (3, 8, 8, 4))
    (result,) = run(cut(file, (0,), shapes), -numpy.ones((3, 8, 8, 4), numpy.float32))
    assert result.shape == (3, 8, 8, 4)
    assert not result.any()


def test_constants_that_are_not_needed_take_no_space(tmp_path: Path) -> None:
    file = read_tflite(write_convolution(tmp_path / "m", channels=64).read_bytes())
    model = cut(file, (0,))
    write_sparse(tmp_path / "part", model)
    assert (tmp_path / "part").read_bytes() == model
    assert model.count(0) > 140_000
    assert (tmp_path / "part").stat().st_blocks * 512 < 32_768


def test_xnnpack_fuses_padding_and_clamps(tmp_path: Path) -> None:
    file = read_tflite(write_padded(tmp_path / "m").read_bytes())
    names = [one.operation for one in file.operators]
    assert fusions(file, [f"{name}@XNNPACK" for name in names]) == {0: 1, 2: 1}
    assert fusions(file, names) == {}
    assert fusions(file, ["PAD", "CONV_2D@XNNPACK", "RELU@XNNPACK", "ADD@XNNPACK"]) == {2: 1}


def test_operators_that_are_not_there_are_refused(tmp_path: Path) -> None:
    file = read_tflite(write_gather(tmp_path / "m").read_bytes())
    with pytest.raises(SessionError, match="no operator 7"):
        cut(file, (7,))


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\0\0\0\0TFL3", b"\x08\0\0\0TFL3\xff\xff\xff\x7f"])
def test_what_is_no_file_is_one_sentence(data: bytes) -> None:
    with pytest.raises(SessionError) as caught:
        read_tflite(data)
    assert caught.value.code == "unreadable_model"


def try_everything(data: bytes) -> None:
    try:
        file = read_tflite(data)
        fusions(file, [f"{one.operation}@XNNPACK" for one in file.operators])
        for number in range(min(3, len(file.operators))):
            cut(file, (number,), dict.fromkeys(boundary(file, (number,)), (1, 1, 1, 1)))
        cut(file, ())
    except SessionError:
        pass


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try_everything(b"\x08\0\0\0TFL3" + data)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_padded(tmp_path_factory.mktemp("models") / "m").read_bytes()


@settings(max_examples=300)
@given(st.data())
def test_a_spoilt_file_is_read_or_refused(sound: bytes, data: st.DataObject) -> None:
    spoilt = bytearray(sound)
    for place in data.draw(st.lists(st.integers(8, len(sound) - 4), min_size=1, max_size=6)):
        word = data.draw(st.binary(min_size=1, max_size=4))
        spoilt[place : place + len(word)] = word
    end = data.draw(st.integers(8, len(sound)) | st.just(len(sound)))
    try_everything(bytes(spoilt[:end]))


def test_vectors_upon_each_other_end_soon() -> None:
    buffer = FlatBuffer(b"\x10\0\0\0" + bytes(16))
    vector = buffer.vector(0, 1)
    vector.buffer.claim(20)
    with pytest.raises(SessionError, match="lie upon each other"):
        vector.integers("<B")
