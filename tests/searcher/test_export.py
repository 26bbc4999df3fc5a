"""Exported files: what they compute, what they are cached under, and channels last without transposes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import onnxruntime
import pytest
import torch

from searcher.errors import BadInputError
from searcher.export.exporter import Exporter, exporter_for
from searcher.export.recipe import Recipe, export_cached, set_weights
from searcher.networks.blocks import build_block
from searcher.networks.nasbench201 import NasBench201Network
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.tflite_files import operators, run_tflite

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
TINY = NasBench201(cells_per_stage=1)
IMAGE = (1, 3, 32, 32)
BLOCKS = (
    BlockSpec("relu_conv_bn", ((1, 4, 8, 8),), 4, kernel=3, padding=1),
    BlockSpec("avg_pool", ((1, 4, 8, 8),), 4, kernel=3, padding=1),
    BlockSpec("add", ((1, 4, 8, 8), (1, 4, 8, 8)), 4),
    BlockSpec("residual_reduction", ((1, 4, 8, 8),), 8, kernel=3, stride=2, padding=1),
    BlockSpec("head", ((1, 8, 4, 4),), 10),
    CALL_OVERHEAD,
)


@pytest.fixture(scope="module")
def tflite() -> Exporter:
    return exporter_for("litert")


@pytest.mark.parametrize("spec", BLOCKS, ids=lambda spec: spec.operation)
def test_a_block_is_the_same_in_both_formats(tflite: Exporter, spec: BlockSpec, tmp_path: Path) -> None:
    generator = numpy.random.default_rng(0)
    arrays = [generator.standard_normal(shape).astype(numpy.float32) for shape in spec.input_shapes]
    session = onnxruntime.InferenceSession(exporter_for("onnx").export_block(spec, tmp_path).path)
    names = [node.name for node in session.get_inputs()]
    (expected,) = session.run(None, dict(zip(names, arrays, strict=True)))
    model = tflite.export_block(spec, tmp_path).path
    result = run_tflite(model, [array.transpose(0, 2, 3, 1) for array in arrays])
    if result.ndim == 4:
        result = result.transpose(0, 3, 1, 2)
    numpy.testing.assert_allclose(result, expected, atol=1e-4)
    assert "TRANSPOSE" not in operators(model)


def test_a_head_subtracts_what_a_trained_one_subtracts(tflite: Exporter, tmp_path: Path) -> None:
    model = tflite.export_block(BlockSpec("head", ((1, 8, 4, 4),), 10), tmp_path).path
    # Batch norm is two operators; with fresh statistics one of them would add zero, and be left out.
    assert operators(model)[:2] in (["MUL", "ADD"], ["SUB", "MUL"]), operators(model)


def test_a_network_is_the_torch_module_without_transposes(tflite: Exporter, tmp_path: Path) -> None:
    architecture = TINY.parse(CELL)
    model = tflite.export_network(TINY, architecture, tmp_path).path
    network = set_weights(NasBench201Network(TINY, architecture))
    image = torch.randn(IMAGE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(image).numpy()
    result = run_tflite(model, [image.permute(0, 2, 3, 1).contiguous().numpy()])
    numpy.testing.assert_allclose(result, expected, atol=1e-3)
    assert "TRANSPOSE" not in operators(model)


def test_a_file_is_made_once_for_one_recipe(tmp_path: Path) -> None:
    made = []
    recipe = Recipe("identity", ".onnx", {"opset": 13}, {"torch": "1"})

    def write(_module: torch.nn.Module, path: Path) -> None:
        made.append(path)
        path.write_bytes(b"model")

    for _ in range(2):
        model = export_cached("name", recipe, lambda: build_block(CALL_OVERHEAD), write, tmp_path)
    assert made == [model.path]
    others = [
        replace(recipe, identity="other"),
        replace(recipe, exporter={"opset": 14}),
        replace(recipe, versions={"torch": "2"}),
        replace(recipe, suffix=".tflite"),
    ]
    assert len({one.file_name for one in (recipe, *others)}) == 5


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(BadInputError, match="unknown runtime 'abacus'; choose one of onnx, onnxruntime, tflite"):
        exporter_for("abacus")


def test_a_missing_exporter_is_one_sentence_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "litert_torch", None)
    monkeypatch.delitem(__import__("sys").modules, "searcher.export.to_tflite", raising=False)
    with pytest.raises(BadInputError, match=r"needs litert_torch: pip install 'profiler-agent\[tflite-export\]'"):
        exporter_for("tflite")
