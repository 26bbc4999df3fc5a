"""fp16 and int8: what the files take, give and compute, how far off they are, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import litert_torch
import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from profiler_agent.records import Settings
from profiler_agent.runtimes import load_runtime
from profiler_agent.runtimes.placement import operation_texts
from searcher.errors import BadInputError, SearcherError
from searcher.export.calibration import Calibration, dequantised, quantised, relative_error
from searcher.export.exporter import Exporter, exporter_for
from searcher.networks.activations import settle_batch_norms
from searcher.networks.blocks import build_block
from searcher.spaces.block import CALL_OVERHEAD, DTYPES, BlockSpec
from searcher.spaces.nasbench201 import NasBench201
from searcher.workflows.prepare_exporter import calibration_for, exporter_like, prepare_exporter
from tests.searcher.tflite_files import transposes_beside_convolutions

TINY = NasBench201(cells_per_stage=1)
CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
CONV, POOL, ADD = (TINY.cell_block(name, 2) for name in ("nor_conv_3x3", "avg_pool_3x3", "add"))
REDUCTION = TINY.reductions[0]
# What rounding to 8 and to 11 bits makes of one block.
INT8_ERROR, FP16_ERROR = (0.005, 0.05), (1e-5, 1e-3)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibration_for(TINY, "digits")


def exporter(runtime: str, dtype: str, calibration: Calibration) -> Exporter:
    return exporter_for(runtime, dtype).calibrated_on(calibration)


def ends(model: Path) -> set[int]:
    """The types of an ONNX file's inputs and outputs."""
    graph = onnx.load(model).graph
    return {one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)}


def tflite_ends(model: Path) -> set[str]:
    interpreter = Interpreter(str(model))
    return {one["dtype"].__name__ for one in interpreter.get_input_details() + interpreter.get_output_details()}


def executed(runtime: str, model: Path) -> tuple[str, ...]:
    loaded = load_runtime(runtime)
    return operation_texts(loaded.placement(model, Settings(), {}), loaded.own_provider)


@pytest.mark.parametrize("spec", [CONV, POOL, ADD, REDUCTION, TINY.head, TINY.stem], ids=lambda spec: spec.operation)
def test_onnx_int8_blocks_take_and_give_integers(calibration: Calibration, spec: BlockSpec, tmp_path: Path) -> None:
    model = exporter("onnx", "int8", calibration).export_block(spec, tmp_path)
    assert model.name == spec.in_dtype("int8").key
    assert ends(model.path) == {TensorProto.UINT8}
    assert model.numerical_error is not None
    assert INT8_ERROR[0] < model.numerical_error < INT8_ERROR[1]
    operations = executed("onnxruntime", model.path)
    assert not {"Conv", "FusedConv", "Add", "AveragePool", "Gemm"} & set(operations)


def test_a_whole_onnx_network_computes_in_int8(calibration: Calibration, tmp_path: Path) -> None:
    model = exporter("onnx", "int8", calibration).export_network(TINY, TINY.parse(CELL), tmp_path)
    assert ends(model.path) == {TensorProto.UINT8}
    operations = executed("onnxruntime", model.path)
    assert operations.count("QLinearConv") == 1 + 3 * 3 + 2 * 3
    assert not {"Conv", "FusedConv", "Add", "AveragePool", "Gemm"} & set(operations)
    assert model.numerical_error is not None
    assert 0.01 < model.numerical_error < 0.2


@pytest.mark.parametrize("spec", [CONV, TINY.head], ids=lambda spec: spec.operation)
def test_onnx_fp16_blocks_are_half_precision_from_end_to_end(
    calibration: Calibration, spec: BlockSpec, tmp_path: Path
) -> None:
    model = exporter("onnx", "fp16", calibration).export_block(spec, tmp_path)
    assert ends(model.path) == {TensorProto.FLOAT16}
    assert {one.data_type for one in onnx.load(model.path).graph.initializer} == {TensorProto.FLOAT16}
    assert model.numerical_error is not None
    assert FP16_ERROR[0] < model.numerical_error < FP16_ERROR[1]


def test_a_tflite_int8_convolution_runs_in_xnnpack_with_its_relu(calibration: Calibration, tmp_path: Path) -> None:
    model = exporter("litert", "int8", calibration).export_block(CONV, tmp_path)
    assert tflite_ends(model.path) == {"int8"}
    assert executed("litert", model.path) == ("QUANTIZE@XNNPACK", "CONV_2D@XNNPACK")
    assert transposes_beside_convolutions(model.path) == 0
    onnx_model = exporter("onnx", "int8", calibration).export_block(CONV, tmp_path)
    # Two quantisers, two runtimes, one layout each: they agree on how far eight bits are off.
    assert model.numerical_error == pytest.approx(onnx_model.numerical_error, rel=0.02)


def test_tflite_fp16_is_half_precision_of_weights_alone(calibration: Calibration, tmp_path: Path) -> None:
    half = exporter("litert", "fp16", calibration).export_block(CONV, tmp_path)
    whole = exporter_for("litert").export_block(CONV, tmp_path)
    assert tflite_ends(half.path) == {"float32"}
    assert half.path.stat().st_size < 0.6 * whole.path.stat().st_size
    assert half.numerical_error is not None
    assert FP16_ERROR[0] < half.numerical_error < FP16_ERROR[1]
    assert transposes_beside_convolutions(half.path) == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
def test_a_transpose_beside_a_convolution_is_found(tmp_path: Path) -> None:
    path = tmp_path / "channels_first.tflite"
    litert_torch.convert(build_block(REDUCTION).eval(), (torch.zeros(REDUCTION.input_shapes[0]),)).export(str(path))
    assert transposes_beside_convolutions(path) > 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_tflite_block_or_network_transposes_beside_a_convolution(
    calibration: Calibration, dtype: str, tmp_path: Path
) -> None:
    made = exporter("litert", dtype, calibration)
    models = [made.export_block(spec, tmp_path) for spec in TINY.all_blocks()]
    models.append(made.export_network(TINY, TINY.parse(CELL), tmp_path))
    assert [model.name for model in models if transposes_beside_convolutions(model.path)] == []
    if dtype == "int8":
        assert {end for model in models[1:] for end in tflite_ends(model.path)} == {"int8"}
        assert all(model.numerical_error is not None and model.numerical_error < 0.2 for model in models)


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_the_call_alone_is_the_same_file_in_every_number_type(
    calibration: Calibration, runtime: str, tmp_path: Path
) -> None:
    models = [exporter(runtime, dtype, calibration).export_block(CALL_OVERHEAD, tmp_path) for dtype in DTYPES]
    assert len({model.sha256 for model in models}) == 1
    assert [model.name for model in models] == [CALL_OVERHEAD.in_dtype(dtype).key for dtype in DTYPES]
    assert [model.numerical_error for model in models] == [None, 0.0, 0.0]


def test_a_file_is_kept_with_its_error_and_made_again_without(calibration: Calibration, tmp_path: Path) -> None:
    made = exporter("onnx", "int8", calibration)
    first = made.export_block(ADD, tmp_path)
    beside = tmp_path / f"{first.path.name}.json"
    assert json.loads(beside.read_text()) == {"sha256": first.sha256, "numerical_error": first.numerical_error}
    written = first.path.stat().st_mtime_ns
    assert made.export_block(ADD, tmp_path) == first
    assert first.path.stat().st_mtime_ns == written
    for damage in (
        "",
        "[]",
        "{}",
        '{"sha256": "00", "numerical_error": 0.5}',
        beside.read_text().replace("0.", "NaN#"),
    ):
        beside.write_text(damage)
        assert made.export_block(ADD, tmp_path) == first
    beside.unlink()
    assert made.export_block(ADD, tmp_path) == first


def test_number_type_calibration_and_quantiser_are_part_of_the_hash(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(calibration, identity="other images")
    makers = [exporter_for("onnx"), *(exporter("onnx", dtype, calibration) for dtype in ("fp16", "int8"))]
    files = {made.export_block(ADD, tmp_path).path for made in (*makers, exporter("onnx", "int8", other))}
    monkeypatch.setattr("onnxruntime.__version__", "99")
    assert makers[2].versions["onnxruntime"] == "99"
    files.add(makers[2].export_block(ADD, tmp_path).path)
    assert len(files) == 5


def test_what_overflows_half_precision_is_one_sentence(calibration: Calibration, tmp_path: Path) -> None:
    loud = {shape: values * 1e5 for shape, values in calibration.held_out.items()}
    made = exporter("onnx", "fp16", replace(calibration, held_out=loud))
    with pytest.raises(SearcherError, match=r"add-.*-fp16 in fp16 has no numerical error: an output is not finite"):
        made.export_block(ADD, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calibration_has_real_activations_for_every_block(calibration: Calibration) -> None:
    for spec in TINY.all_blocks()[1:]:
        batches = calibration.calibrating_batches(spec.input_shapes)
        assert [batch.shape for batch in batches] == [(64, *shape[1:]) for shape in spec.input_shapes]
        assert len(calibration.held_out_batches(spec.input_shapes)[0]) == 32
        assert all(batch.std() > 0.5 for batch in batches)
    first, second = calibration.calibrating_batches(ADD.input_shapes)
    assert not np.array_equal(first, second)
    with pytest.raises(BadInputError, match="no activations of shape 1x7x8x8, only of 3x32x32, 16x32x32"):
        calibration.calibrating_batches([(1, 7, 8, 8)])


def test_calibration_is_the_same_each_time_and_tells_what_it_is(calibration: Calibration) -> None:
    again = calibration_for(TINY, "digits")
    assert again.identity == calibration.identity
    assert again.identity.startswith("digits, 64 images and 32 held out (sha256 ")
    assert all(np.array_equal(again.held_out[shape], values) for shape, values in calibration.held_out.items())
    assert calibration_for(NasBench201(cells_per_stage=2), "digits").identity != calibration.identity
    with pytest.raises(BadInputError, match="the images of digits have 32 pixels a side, those of the space 64"):
        calibration_for(NasBench201(image_size=64), "digits")


def test_what_differs_between_two_calibrations_is_told(calibration: Calibration) -> None:
    identity = calibration.identity
    assert exporter_like(TINY, "onnx", "int8", "digits", identity).calibration_identity == identity
    with pytest.raises(BadInputError, match=r"of seed 0: --cells, --channels and --classes name the space$"):
        exporter_like(NasBench201(cells_per_stage=2), "onnx", "int8", "digits", identity)
    with pytest.raises(BadInputError, match=r"of seed 0: --data names the images$"):
        exporter_like(TINY, "onnx", "int8", "digits", identity.replace("digits", "cifar10"))


def test_calibration_takes_photographs_too(calibration: Calibration, data_file: Callable[[str], Path]) -> None:
    photographs = calibration_for(TINY, f"cifar10:{data_file('cifar10_subset.npz')}")
    assert photographs.identity.startswith("cifar10, 64 images and 32 held out")
    assert photographs.held_out.keys() == calibration.held_out.keys()


def test_settled_batch_norms_have_seen_the_batch() -> None:
    module = build_block(CONV)
    images = 3 + 5 * torch.randn((8, 64, 8, 8), generator=torch.Generator().manual_seed(0))
    settle_batch_norms(module, [images])
    assert not module.training
    with torch.no_grad():
        result = module(images)
    assert torch.allclose(result.mean(dim=(0, 2, 3)), torch.zeros(64), atol=1e-3)
    assert torch.allclose(result.std(dim=(0, 2, 3)), torch.ones(64), atol=1e-2)


@given(st.lists(st.floats(-6, 6, width=32), min_size=1), st.sampled_from([np.int8, np.uint8]))
def test_integers_stand_for_reals_within_half_a_step(values: list[float], dtype: type) -> None:
    scale, zero_point = 12 / 255, 0 if dtype is np.int8 else 128
    reals = np.array(values, np.float32)
    integers = quantised(reals, dtype, scale, zero_point)
    assert integers.dtype == dtype
    assert np.abs(dequantised(integers, scale, zero_point) - reals).max() <= 0.51 * scale
    assert np.array_equal(quantised(reals, np.float32, 0.0, 0), reals)


def test_what_is_out_of_range_is_cut_off() -> None:
    assert quantised(np.array([-9, 9], np.float32), np.int8, 0.01, 0).tolist() == [-128, 127]


def test_the_relative_error_is_that_of_the_norms() -> None:
    exact = [np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]])]
    assert relative_error(exact, exact) == 0
    assert relative_error([np.array([[3.0, 0.3]]), np.array([[0.4, 4.0]])], exact) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="not finite"):
        relative_error([np.array([np.nan])], [np.array([1.0])])
    with pytest.raises(ValueError, match="zero everywhere"):
        relative_error([np.array([1.0])], [np.array([0.0])])


def test_an_unknown_number_type_is_refused() -> None:
    with pytest.raises(BadInputError, match="unknown number type 'int4'; choose one of fp32, fp16, int8"):
        prepare_exporter(TINY, "onnx", "int4", "no such data")


def test_an_exporter_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="files of int8 are calibrated on real images, and there are none"):
        exporter_for("onnx", "int8").export_block(ADD, tmp_path)


def test_fp32_reads_no_images(tmp_path: Path) -> None:
    made = prepare_exporter(TINY, "onnx", "fp32", "no such data")
    assert made.export_block(ADD, tmp_path).numerical_error is None
    with pytest.raises(BadInputError, match="unknown data 'no such data'"):
        prepare_exporter(TINY, "onnx", "int8", "no such data")


@pytest.mark.parametrize(
    ("runtime", "missing", "module"),
    [
        ("litert", "ai_edge_quantizer", "searcher.export.convert_tflite"),
        ("onnx", "onnxruntime.quantization", "searcher.export.convert_onnx"),
    ],
)
def test_a_missing_quantiser_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, runtime: str, missing: str, module: str
) -> None:
    modules = __import__("sys").modules
    monkeypatch.setitem(modules, missing, None)
    monkeypatch.delitem(modules, module, raising=False)
    with pytest.raises(BadInputError, match=rf"writing int8 files for {runtime} needs {missing}: pip install 'pro"):
        exporter_for(runtime, "int8")
