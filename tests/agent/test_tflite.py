"""TFLite's side: shapes, types, what a delegate took, and files that are no models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiler_agent.errors import SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import family_of_file, load_runtime, resolve_runtime
from profiler_agent.runtimes.session import Runtime
from profiler_agent.runtimes.tflite import placed_operations
from tests.agent.tflite_models import write_convolution, write_gather


@pytest.fixture(scope="module")
def litert() -> Runtime:
    return load_runtime("litert")


def test_the_newest_of_the_family_comes_first() -> None:
    assert resolve_runtime("tflite") == ("litert", "tflite-runtime")
    assert family_of_file(Path("m.TFLITE")) == "tflite"
    assert family_of_file(Path("m.onnx")) == "onnx"


def test_the_delegate_that_is_engaged_is_the_provider(litert: Runtime, tmp_path: Path) -> None:
    session = litert.open(write_convolution(tmp_path / "m.tflite"), Settings(), {})
    assert session.provider == "XNNPACK"
    assert litert.open(write_gather(tmp_path / "g.tflite"), Settings(), {}).provider == "builtin"


def test_what_tflite_has_no_notion_of_is_no_part_of_the_key(litert: Runtime) -> None:
    effective = litert.effective(Settings(optimization="all", spinning=True, threads=3))
    assert (effective.optimization, effective.spinning, effective.threads) == ("none", False, 3)


def test_integer_inputs_stay_inside_the_smallest_table(litert: Runtime, tmp_path: Path) -> None:
    session = litert.open(write_gather(tmp_path / "m.tflite"), Settings(), {})
    session.run()


def test_a_dynamic_shape_must_be_given(litert: Runtime, tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "m.tflite", signature=(-1, 8, 8, 4))
    with pytest.raises(SessionError, match=r"dynamic shape \['\?', 8, 8, 4\]: give one with --shape t0=") as caught:
        litert.open(model, Settings(), {})
    assert caught.value.code == "dynamic_shape"
    litert.open(model, Settings(), {"t0": (2, 8, 8, 4)}).run()


@pytest.mark.parametrize(("shapes", "code"), [({"t0": (1, 8, 8, 5)}, "wrong_shape"), ({"z": (1,)}, "unknown_input")])
def test_a_shape_must_fit_an_input(
    litert: Runtime, tmp_path: Path, shapes: dict[str, tuple[int, ...]], code: str
) -> None:
    with pytest.raises(SessionError) as caught:
        litert.open(write_convolution(tmp_path / "m.tflite"), Settings(), shapes)
    assert caught.value.code == code


@pytest.mark.parametrize("cut", [8, 40, 200])
def test_a_truncated_model_is_one_sentence(litert: Runtime, tmp_path: Path, cut: int) -> None:
    model = write_convolution(tmp_path / "m.tflite")
    model.write_bytes(model.read_bytes()[:cut])
    with pytest.raises(SessionError, match=r"m\.tflite is damaged or cut off"):
        litert.open(model, Settings(), {})


def details(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


def test_operators_between_the_ends_of_a_delegate_are_its_own() -> None:
    graph = [
        details("RELU", [0], [1]),
        details("CONV_2D", [1, 9], [2]),
        details("CUSTOM", [2], [3]),
        details("ADD", [3, 2], [4]),
        details("DELEGATE", [0, 9], [2]),
        details("DELEGATE", [3, 2], [4]),
    ]
    assert placed_operations(graph) == ("RELU@XNNPACK", "CONV_2D@XNNPACK", "CUSTOM", "ADD@XNNPACK")


def test_without_a_delegate_all_operators_stay() -> None:
    assert placed_operations([details("ADD", [0, 1], [2])]) == ("ADD",)
    assert placed_operations([]) == ()
