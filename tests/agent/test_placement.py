"""What ran where: read from profiles, told with `@`, and refused when it is not where it was required."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiler_agent.errors import BadInputError, RecordError, SessionError
from profiler_agent.measure import measure
from profiler_agent.orders import PROBE, Ready, WorkOrder
from profiler_agent.records import (
    Failed,
    Hello,
    Job,
    Measured,
    Settings,
    Warned,
    parse_provider,
    provider_text,
    same_provider,
    short_provider,
)
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.onnx_placement import placed_nodes
from profiler_agent.runtimes.placement import PlacedOperator, operation_texts, require_placed, works_on_data
from profiler_agent.worker import work
from tests.agent.fakes import FakeClock, FakeRuntime, block_of, of_kind
from tests.agent.models import write_convolution, write_identity

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def test_providers_are_named_as_users_write_them() -> None:
    assert short_provider("TensorrtExecutionProvider") == "Tensorrt"
    assert short_provider("XNNPACK") == "XNNPACK"
    assert same_provider("cuda", CUDA)
    assert not same_provider("cuda", "tensorrt")


@pytest.mark.parametrize(
    "options", [{}, {"device_id": "1", "a": "x:1x3,y"}, {"library": "/opt/my lib's/x.so", "mode": "a=b"}]
)
def test_a_provider_with_options_survives_the_tables_key(options: dict[str, str]) -> None:
    assert parse_provider(provider_text(CUDA, options)) == (CUDA, options)


@pytest.mark.parametrize("text", ["", "CUDA device_id", "CUDA 'open"])
def test_what_is_no_provider_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"provider|quotation"):
        parse_provider(text)


def test_a_requirement_is_a_wish_too_and_contradicts_no_other() -> None:
    assert Settings(require="cuda").asked_provider == "cuda"
    assert Settings(provider=CUDA, require="cuda").asked_provider == CUDA
    with pytest.raises(RecordError, match="cpu is asked for, but cuda is required"):
        Settings(provider="cpu", require="cuda")
    with pytest.raises(RecordError, match="need a provider"):
        Settings(provider_options={"device_id": "1"})


def test_shapes_and_indices_are_no_work_on_data() -> None:
    assert works_on_data([("float", 4)])
    assert works_on_data([("float", 1)])
    assert works_on_data([("int64", 1), ("float", 2)])
    assert works_on_data([("int64", 2)])
    assert works_on_data([("uint8", 1)])
    assert not works_on_data([("int64", 1)])
    assert not works_on_data([("bool", 0), ("int32", 0)])


def node(name: str, operator: str, provider: str, kind: str = "float", rank: int = 4) -> dict[str, Any]:
    told = {"op_name": operator, "provider": provider, "output_type_shape": [{kind: [1] * rank}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": told}


PROFILE = json.dumps(
    [
        {"cat": "Session", "name": "model_run"},
        {"cat": "Node", "name": "c_fence_before", "args": {"op_name": "Conv"}},
        node("c", "Conv", CUDA),
        {"cat": "Kernel", "name": "implicit_gemm", "args": {}},
        node("s", "Shape", CPU, "int64", 1),
        node("l", "TopK", CPU),
        node("l", "TopK", CPU),
    ]
)


def test_a_profile_tells_each_node_once() -> None:
    placed = placed_nodes(PROFILE)
    assert placed == (
        PlacedOperator("Conv", CUDA, True),
        PlacedOperator("Shape", CPU, False),
        PlacedOperator("TopK", CPU, True),
    )
    assert operation_texts(placed, CPU) == ("Conv@CUDA", "Shape", "TopK")


@pytest.mark.parametrize("profile", ["", "{", "7", '[{"cat": "Node", "name": "x_kernel_time", "args": {}}]'])
def test_a_profile_that_does_not_tell_is_an_error(profile: str) -> None:
    with pytest.raises(SessionError, match="does not tell what ran where"):
        placed_nodes(profile)


def test_a_profile_without_nodes_is_no_model_without_operators() -> None:
    with pytest.raises(SessionError, match="tells of no node"):
        placed_nodes('[{"cat": "Session", "name": "model_run"}]')


def test_a_node_without_outputs_counts_as_work() -> None:
    told = {"cat": "Node", "name": "x_kernel_time", "args": {"op_name": "X", "provider": CPU}}
    assert placed_nodes(json.dumps([told])) == (PlacedOperator("X", CPU, True),)


def test_what_fell_back_is_counted_and_named() -> None:
    require_placed([PlacedOperator("Conv", CUDA), PlacedOperator("Shape", CPU, False)], CUDA, "m")
    require_placed([], CUDA, "m")
    mixed = [PlacedOperator("Conv", CUDA), *[PlacedOperator("TopK", CPU)] * 3, PlacedOperator("Det", CPU)]
    with pytest.raises(SessionError) as caught:
        require_placed(mixed, CUDA, "m.onnx")
    assert caught.value.code == "not_placed"
    assert str(caught.value) == ("CUDA does not run all of m.onnx: 4 of its 5 operators ran on CPU (TopK ×3, Det)")
    many = [PlacedOperator(f"Op{index}", CPU) for index in range(8)]
    with pytest.raises(SessionError, match=r"runs nothing of m: all of its 8 .* \(Op0, .*Op4, 3 more kinds\)$"):
        require_placed(many, CUDA, "m")


def test_a_provider_that_is_registered_and_takes_nothing_is_not_engaged(tmp_path: Path) -> None:
    """The Azure provider of the common build stands for one that silently leaves everything to the processor."""
    runtime = load_runtime("onnxruntime")
    model = write_convolution(tmp_path / "m.onnx")
    settings = runtime.effective(Settings(provider="azure"))
    assert runtime.provider(settings) == "AzureExecutionProvider"
    assert runtime.placement(model, settings, {}) == (PlacedOperator("Relu", CPU), PlacedOperator("Conv", CPU))
    (ready,) = work(WorkOrder("onnxruntime", settings, (), task=PROBE), runtime, FakeClock())
    assert isinstance(ready, Ready)
    assert (ready.provider, ready.unengaged) == (CPU, "AzureExecutionProvider")


def test_a_dynamic_shape_is_given_to_the_run_that_tells_the_placement(tmp_path: Path) -> None:
    model = write_identity(tmp_path / "m.onnx", ("n", 3))
    with pytest.raises(SessionError, match="dynamic shape"):
        load_runtime("onnxruntime").placement(model, Settings(provider="azure"), {})
    assert load_runtime("onnxruntime").placement(model, Settings(provider="azure"), {"x": (2, 3)})


def test_an_unknown_provider_is_answered_with_what_there_is() -> None:
    with pytest.raises(BadInputError, match=r"build of onnxruntime .* no provider 'cuda'; it offers .*cpu"):
        load_runtime("onnxruntime").effective(Settings(require="cuda"))


def test_options_of_the_processors_own_provider_are_part_of_the_key(tmp_path: Path) -> None:
    settings = Settings(provider="cpu", provider_options={"use_arena": "0"})
    (ready,) = work(WorkOrder("onnxruntime", settings, (), task=PROBE), load_runtime("onnxruntime"), FakeClock())
    assert isinstance(ready, Ready)
    assert (ready.provider, ready.unengaged) == (f"{CPU} use_arena=0", "")


class PickyRuntime(FakeRuntime):
    """Its provider `npu` takes what holds the word `small`, and never the sentinel."""

    def placement(
        self, model: Path, settings: Settings, input_shapes: dict[str, tuple[int, ...]]
    ) -> tuple[PlacedOperator, ...]:
        taken = "small" in model.read_text() and settings.asked_provider == "npu"
        return (PlacedOperator("Conv", "npu" if taken else "FakeProvider"), PlacedOperator("Add", "FakeProvider"))


def test_a_provider_is_engaged_if_it_takes_a_block_though_not_the_sentinel(tmp_path: Path) -> None:
    for text, engaged in (("fake\n1000\nsmall", "npu mode=fast"), ("fake\n1000\n", "FakeProvider")):
        block = block_of(tmp_path / "m", text)
        settings = Settings(provider="npu", provider_options={"mode": "fast"})
        (ready,) = work(WorkOrder("fake", settings, (block,), task=PROBE), PickyRuntime(FakeClock()), FakeClock())
        assert isinstance(ready, Ready)
        assert ready.provider == engaged
        assert ready.unengaged == ("npu" if engaged == "FakeProvider" else "")


@pytest.mark.parametrize(("required", "told"), [(None, ("Conv@npu", "Add")), ("npu", None)])
def test_a_block_that_fell_back_is_refused_only_where_that_is_required(
    tmp_path: Path, required: str | None, told: tuple[str, ...] | None
) -> None:
    clock = FakeClock()
    runtime = PickyRuntime(clock)
    blocks = (block_of(tmp_path / "m", "fake\n1000\nsmall"),)
    job = Job("job", blocks, Settings(rounds=1, samples=1, provider="npu", require=required))
    events = list(measure(job, launch=lambda order: work(order, runtime, clock)))
    assert [event.operations for event in of_kind(Measured, events)] == ([] if told is None else [told])
    failed = of_kind(Failed, events)
    assert [event.code for event in failed] == (["not_placed"] if told is None else [])
    assert all("1 of its 2 operators ran on FakeProvider (Add)" in event.sentence for event in failed)


def test_a_wish_that_is_not_met_is_a_warning_and_the_key_tells_what_runs(tmp_path: Path) -> None:
    clock = FakeClock()
    runtime = PickyRuntime(clock)
    job = Job("job", (block_of(tmp_path / "m", "fake\n1000\n"),), Settings(rounds=1, samples=1, provider="npu"))
    events = list(measure(job, launch=lambda order: work(order, runtime, clock)))
    assert isinstance(events[0], Hello)
    assert events[0].key.provider == "FakeProvider"
    assert next(event.code for event in of_kind(Warned, events)) == "provider_not_engaged"
