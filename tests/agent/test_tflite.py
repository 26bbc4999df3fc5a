"""TFLite's side: shapes, types, what a delegate took, and files that are no models."""

from __future__ import annotations

import gc
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from profiler_agent.errors import BadInputError, SessionError
from profiler_agent.records import Settings
from profiler_agent.runtimes import family_of_file, load_runtime, resolve_runtime
from profiler_agent.runtimes.placement import operation_texts, require_placed
from profiler_agent.runtimes.session import Runtime
from profiler_agent.runtimes.tflite import TfliteRuntime
from profiler_agent.runtimes.tflite_placement import Delegates, placed_operators
from tests.agent.tflite_models import write_convolution, write_gather, write_partly_delegated, write_shape


@pytest.fixture(scope="module")
def litert() -> Runtime:
    return load_runtime("litert")


def texts(runtime: Runtime, model: Path, settings: Settings) -> tuple[str, ...]:
    return operation_texts(runtime.placement(model, settings, {}), runtime.own_provider)


def test_the_newest_of_the_family_comes_first() -> None:
    assert resolve_runtime("tflite") == ("litert", "tflite-runtime")
    assert family_of_file(Path("m.TFLITE")) == "tflite"
    assert family_of_file(Path("m.onnx")) == "onnx"


def test_the_delegate_that_is_engaged_is_the_provider(litert: Runtime, tmp_path: Path) -> None:
    (*_, convolution) = litert.placement(write_convolution(tmp_path / "m.tflite"), Settings(), {})
    assert convolution.provider == "XNNPACK"
    (gather,) = litert.placement(write_gather(tmp_path / "g.tflite"), Settings(), {})
    assert gather.provider == "builtin"


def test_what_a_delegate_leaves_is_told(litert: Runtime, tmp_path: Path) -> None:
    model = write_partly_delegated(tmp_path / "m.tflite")
    assert texts(litert, model, Settings()) == ("RELU@XNNPACK", "CUMSUM", "RELU@XNNPACK")
    with pytest.raises(SessionError, match=r"XNNPACK does not run all .* 1 of its 3 operators ran on builtin \(CUMSUM"):
        require_placed(litert.placement(model, Settings(), {}), "XNNPACK", "m.tflite")


def test_a_shape_that_the_processor_works_out_is_no_fall_back(litert: Runtime, tmp_path: Path) -> None:
    placed = litert.placement(write_shape(tmp_path / "m.tflite"), Settings(), {})
    assert [(one.name, one.computes) for one in placed] == [("RELU", True), ("SHAPE", False)]
    require_placed(placed, "XNNPACK", "m.tflite")


@pytest.mark.parametrize("name", ["none", "builtin", "cpu"])
def test_xnnpack_can_be_switched_off(litert: Runtime, tmp_path: Path, name: str) -> None:
    model, settings = write_convolution(tmp_path / "m.tflite"), Settings(provider=name)
    assert litert.provider(settings) == "builtin"
    assert texts(litert, model, settings) == ("RELU", "CONV_2D")
    litert.open(model, settings, {}).run()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings(provider="nnapi"), "no delegate 'nnapi' of its own: it offers xnnpack, none, and edgetpu"),
        (Settings(provider="xnnpack", provider_options={"a": "b"}), "XNNPACK takes no options here, such as 'a'"),
    ],
)
def test_an_unknown_delegate_is_answered_with_what_there_is(
    litert: Runtime, settings: Settings, complaint: str
) -> None:
    with pytest.raises(BadInputError, match=complaint):
        litert.effective(settings)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_delegate_that_does_not_load_is_one_sentence(litert: Runtime, tmp_path: Path) -> None:
    model = write_convolution(tmp_path / "m.tflite")
    settings = Settings(provider="gpu", provider_options={"library": str(tmp_path / "missing.so")})
    with pytest.raises(SessionError, match=r"the delegate gpu cannot be loaded from .*missing\.so") as caught:
        litert.open(model, settings, {})
    assert caught.value.code == "not_placed"
    del caught
    # LiteRT's half-made delegate complains when it is collected: here, and not in a later test.
    gc.collect()


def test_an_interpreter_that_lists_nothing_meets_no_requirement(tmp_path: Path) -> None:
    class Mute:
        def __init__(self, **_options: object) -> None:
            pass

        def allocate_tensors(self) -> None:
            pass

        def get_input_details(self) -> list[dict[str, object]]:
            return []

        get_tensor_details = get_input_details

    runtime = TfliteRuntime("mute", "9.0", SimpleNamespace(Interpreter=Mute))
    model = write_convolution(tmp_path / "m.tflite")
    assert runtime.placement(model, Settings(), {}) == ()
    with pytest.raises(SessionError, match=r"mute 9\.0 does not tell what a delegate took"):
        runtime.placement(model, Settings(require="xnnpack"), {})


@pytest.fixture(scope="module")
def delegate_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler, library = shutil.which("cc"), tmp_path_factory.mktemp("delegate") / "libdelegate.so"
    if compiler is None:
        pytest.skip("no compiler for the tests' own delegate")
    source = Path(__file__).with_name("delegate.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=60)
    return library


@pytest.mark.parametrize(
    ("take", "told"),
    [
        ("0", ("RELU@XNNPACK", "CUMSUM", "RELU@XNNPACK")),
        ("1", ("RELU@npu", "CUMSUM", "RELU@XNNPACK")),
        ("2", ("RELU@npu", "CUMSUM@npu", "RELU@XNNPACK")),
        ("3", ("RELU@npu", "CUMSUM@npu", "RELU@npu")),
    ],
)
def test_a_delegate_of_another_library_takes_its_part_before_xnnpack(
    litert: Runtime, tmp_path: Path, delegate_library: Path, take: str, told: tuple[str, ...]
) -> None:
    model = write_partly_delegated(tmp_path / "m.tflite")
    options = {"library": str(delegate_library), "take": take}
    settings = litert.effective(Settings(require="NPU", provider_options=options))
    placed = litert.placement(model, settings, {})
    assert operation_texts(placed, litert.own_provider) == told
    litert.open(model, settings, {}).run()
    if take == "3":
        require_placed(placed, litert.provider(settings), "m.tflite")
    else:
        with pytest.raises(SessionError, match=r"npu (runs nothing|does not run all) of m"):
            require_placed(placed, litert.provider(settings), "m.tflite")


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


def placed(graph: list[dict[str, Any]], first: int = 0) -> list[str]:
    delegates = Delegates("edgetpu", first, "XNNPACK", "builtin")
    return [f"{one.name}@{one.provider}" for one in placed_operators(graph, {}, delegates)]


def test_operators_between_the_ends_of_a_delegate_are_its_own() -> None:
    graph = [
        details("RELU", [0], [1]),
        details("CONV_2D", [1, 9], [2]),
        details("CUSTOM", [2], [3]),
        details("ADD", [3, 2], [4]),
        details("DELEGATE", [0, 9], [2]),
        details("DELEGATE", [3, 2], [4]),
    ]
    assert placed(graph) == ["RELU@XNNPACK", "CONV_2D@XNNPACK", "CUSTOM@builtin", "ADD@XNNPACK"]
    # A delegate that was asked for is listed before the one that takes what is left.
    assert placed(graph, first=1) == ["RELU@edgetpu", "CONV_2D@edgetpu", "CUSTOM@builtin", "ADD@XNNPACK"]


def test_without_a_delegate_all_operators_stay() -> None:
    assert placed([details("ADD", [0, 1], [2])]) == ["ADD@builtin"]
    assert placed([]) == []
