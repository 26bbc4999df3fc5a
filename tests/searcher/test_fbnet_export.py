"""FBNet's blocks and networks as files: both runtimes compute what torch does, without changes of layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from searcher.errors import BadInputError
from searcher.export.calibration import Calibration
from searcher.export.exporter import Exporter, exporter_for
from searcher.export.recipe import set_weights
from searcher.networks.blocks import build_block
from searcher.networks.network import build_network
from searcher.spaces.block import BlockSpec
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import SKIP
from searcher.workflows.prepare_exporter import calibration_for
from tests.searcher.tflite_files import operators, run_tflite, transposes_beside_convolutions

SPACE, TINY = FBNet(classes=10), FBNet(image_size=8, classes=3)
CHAIN = "1-7-8-5-2-5-1-8-6-8-0-4-3-1-8-8-5-2-1-4-8-5"
BLOCK_CHOICES = ("k3_e1", "k5_e1_g2", "k3_e6", SKIP)


def some_blocks(space: FBNet) -> list[BlockSpec]:
    """A block of each kind: with and without the added input, with groups, strides and both kernels, stem and head."""
    found = [space.layers[place].block(choice) for place in (2, 5) for choice in BLOCK_CHOICES]
    return [space.stem, *(spec for spec in found if spec is not None), space.head]


def shuffles(spec: BlockSpec) -> int:
    return int(spec.operation == "mbconv" and spec.groups > 1)


@pytest.fixture(scope="module")
def tflite() -> Exporter:
    return exporter_for("litert")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_blocks_of_these_tests_are_of_every_kind() -> None:
    blocks = some_blocks(TINY)
    assert len(blocks) == 2 + 2 * 3 + 1
    assert {spec.operation for spec in blocks} == {"conv_bn", "mbconv", "mobile_head"}
    assert sum(map(shuffles, blocks)) == 2


@pytest.mark.parametrize("spec", some_blocks(TINY), ids=lambda spec: spec.key)
def test_a_block_computes_in_both_runtimes_what_it_does_in_torch(
    tflite: Exporter, spec: BlockSpec, tmp_path: Path
) -> None:
    (shape,) = spec.input_shapes
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        expected = set_weights(build_block(spec))(torch.from_numpy(image)).numpy()
    file = exporter_for("onnx").export_block(spec, tmp_path).path
    (result,) = onnxruntime.InferenceSession(file).run(None, {"input_0": image})
    np.testing.assert_allclose(result, expected, atol=1e-4)
    model = tflite.export_block(spec, tmp_path).path
    lite = run_tflite(model, [image.transpose(0, 2, 3, 1)])
    np.testing.assert_allclose(lite.transpose(0, 3, 1, 2) if lite.ndim == 4 else lite, expected, atol=1e-4)
    # The shuffle itself is one; none changes the layout beside a convolution.
    assert operators(model).count("TRANSPOSE") == shuffles(spec)


def test_onnx_blocks_compute_no_shapes(tmp_path: Path) -> None:
    grouped = TINY.layers[2].block("k3_e1_g2")
    assert grouped is not None
    names = [node.op_type for node in onnx.load(exporter_for("onnx").export_block(grouped, tmp_path).path).graph.node]
    assert set(names) == {"Add", "Constant", "Conv", "Relu", "Reshape", "Transpose"}
    assert names.count("Conv") == 3
    assert names.count("Transpose") == 1


@pytest.mark.slow
def test_a_network_computes_in_both_runtimes_what_it_does_in_torch(tflite: Exporter, tmp_path: Path) -> None:
    architecture = TINY.parse(CHAIN)
    image = np.random.default_rng(0).standard_normal(TINY.image_shape).astype(np.float32)
    with torch.no_grad():
        expected = set_weights(build_network(TINY, architecture))(torch.from_numpy(image)).numpy()
    exported = exporter_for("onnx").export_network(TINY, architecture, tmp_path)
    assert exported.name == CHAIN
    (result,) = onnxruntime.InferenceSession(exported.path).run(None, {"input_0": image})
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)
    model = tflite.export_network(TINY, architecture, tmp_path).path
    np.testing.assert_allclose(run_tflite(model, [image.transpose(0, 2, 3, 1)]), expected, rtol=1e-3, atol=1e-4)
    grouped = sum(choice.endswith("_g2") for choice in TINY.choices(architecture))
    assert operators(model).count("TRANSPOSE") == grouped


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibration_for(SPACE, "digits")


def test_calibration_has_real_activations_for_every_block(calibration: Calibration) -> None:
    for spec in SPACE.all_blocks()[1:]:
        (batch,) = calibration.calibrating_batches(spec.input_shapes)
        assert batch.shape == (64, *spec.input_shapes[0][1:])
        assert batch.std() > 0.1
    assert repr(SPACE) in calibration.identity


def test_images_of_another_size_calibrate_nothing() -> None:
    with pytest.raises(BadInputError, match="the images of digits have 32 pixels a side, those of the space 224"):
        calibration_for(FBNet(image_size=224), "digits")


@pytest.mark.parametrize("choice", ["k3_e3", "k5_e1_g2"])
def test_onnx_blocks_of_int8_are_near_those_of_fp32(calibration: Calibration, choice: str, tmp_path: Path) -> None:
    spec = SPACE.layers[19].block(choice)
    assert spec is not None
    model = exporter_for("onnx", "int8").calibrated_on(calibration).export_block(spec, tmp_path)
    assert model.name == spec.in_dtype("int8").key
    assert model.numerical_error is not None
    assert 0.001 < model.numerical_error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "litert"])
@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_blocks_and_networks_of_other_numbers_are_near_those_of_fp32(
    calibration: Calibration, runtime: str, dtype: str, tmp_path: Path
) -> None:
    made = exporter_for(runtime, dtype).calibrated_on(calibration)
    errors = {spec.key: made.export_block(spec, tmp_path).numerical_error for spec in some_blocks(SPACE)}
    most, most_whole = (0.002, 0.2) if dtype == "fp16" else (0.1, 0.7)
    assert all(error is not None and 0 < error < most for error in errors.values()), errors
    # Random weights and 66 batch norms amplify what single blocks are off by.
    whole = made.export_network(SPACE, SPACE.parse(CHAIN), tmp_path).numerical_error
    assert whole is not None
    assert most < whole < most_whole


@pytest.mark.slow
def test_tflite_blocks_transpose_only_to_shuffle(tflite: Exporter, tmp_path: Path) -> None:
    wrong = []
    for spec in SPACE.all_blocks()[1::5]:
        model = tflite.export_block(spec, tmp_path).path
        found = (operators(model).count("TRANSPOSE"), transposes_beside_convolutions(model) > 0)
        if found != (shuffles(spec), bool(shuffles(spec))):
            wrong.append(spec.key)
    assert wrong == []
