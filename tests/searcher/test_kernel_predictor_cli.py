"""`searcher predictor train | eval | predict` with datasets of kernels and ONNX files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from searcher.cost_models.kernels.kernel_model import SESSION
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor
from searcher.cost_models.kernels.whole_networks import SCALE, STEPS, TERMS, NetworkCorrection
from searcher.export.exporter import exporter_for
from searcher.spaces.block import BlockSpec
from searcher.tables.dataset import KernelRow
from searcher.tables.dataset_file import write_dataset
from tests.searcher.builders import KEY
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.made_up_kernels import CALL_MS, drawn, measured, rows, true_ms

HERE = replace(KEY, runtime_version=onnxruntime.__version__)
KNOWN = BlockSpec("conv_bn", ((1, 32, 16, 16),), 32, activation="relu")


def dataset(path: Path, kinds: tuple[str, ...], seed: int, count: int = 40) -> list[KernelRow]:
    found = [row for kind in kinds for row in rows(measured(drawn(kind, count, seed), seed), HERE)]
    write_dataset(found, path)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset `a.csv` of two types, another `b.csv`, and a predictor `p.json` of the first."""
    folder = tmp_path_factory.mktemp("predictor")
    some = dataset(folder / "a.csv", ("pointwise", "relu"), 1)
    # A kernel that both hold, and one that no model knows.
    odd = rows(measured([BlockSpec("add", ((1, 8, 8, 8),) * 2, 8)], 0), HERE)
    write_dataset([*dataset(folder / "b.csv", ("pointwise", "relu"), 2), some[0], *odd], folder / "b.csv")
    return folder


@pytest.fixture
def predictor(searcher: Run, trained: Path) -> Path:
    path = trained / "p.json"
    if not path.exists():
        outcome = searcher("predictor", "train", trained / "a.csv", "--out", path, "--confidence", "0.8")
        assert outcome.status == 0, outcome.err
        assert "pointwise" in outcome.out
        assert outcome.out.rstrip().endswith(f"wrote {path}")
    return path


def test_a_dataset_is_trained_on_and_another_judges(searcher: Run, trained: Path, predictor: Path) -> None:
    file = PREDICTOR_DOCUMENT.load(predictor)
    assert (file.key, file.call_ms, file.sentinel_ms, file.confidence) == (HERE, CALL_MS, 0.08, 0.8)
    assert file.kernels.keys() == {"pointwise", "relu"}
    assert (file.dataset, len(file.trained_on)) == ("a.csv", 80)
    judged = searcher("predictor", "eval", predictor, trained / "b.csv")
    assert judged.status == 0, judged.err
    assert "left out: 1 rows, which it was trained on" in judged.out
    assert "refused: " in judged.out
    plain = json.loads(searcher("predictor", "eval", predictor, trained / "b.csv", "--json").out)
    overall, refused = plain["judged"]["overall"], plain["judged"]["refused"]
    assert overall["points"] + len(refused) + plain["near"] + plain["trained_on"] == 82
    assert overall["points"] > 30
    assert "no model of the type add" in refused["add-k1-s1-p0-g1-1x8x8x8+1x8x8x8-to8-fp32"]
    assert overall["median_error_pct"] < 4
    assert 0.6 < overall["coverage"] <= 1
    again = searcher("predictor", "train", trained / "a.csv", "--out", predictor)
    assert_one_sentence(again, 2, "is there already; --overwrite replaces it")
    itself = searcher("predictor", "eval", predictor, trained / "a.csv")
    assert_one_sentence(itself, 2, "holds no kernel that is unlike those that the predictor was trained on")


def test_an_onnx_file_is_predicted_kernel_by_kernel(searcher: Run, predictor: Path, tmp_path: Path) -> None:
    model = exporter_for("onnxruntime").export_block(KNOWN, tmp_path)
    told = json.loads(searcher("predictor", "predict", predictor, model.path, "--json").out)
    (kernel,) = told["kernels"]
    estimate = KernelPredictor.load(predictor).estimate(KNOWN)
    assert kernel["block"] == KNOWN.key
    assert kernel["type"] == "pointwise"
    assert kernel["latency_ms"] == estimate.latency_ms == pytest.approx(true_ms(KNOWN), rel=0.2)
    assert told["latency_ms"] == pytest.approx(CALL_MS + estimate.latency_ms)
    assert told["interval_ms"][0] < told["latency_ms"] < told["interval_ms"][1]
    assert told["note"] == ""
    shown = searcher("predictor", "predict", predictor, model.path, "--optimization", "extended", "--threads", "1")
    assert KNOWN.key in shown.out
    assert f"{told['latency_ms']:.4f} ms; between" in shown.out
    assert "if each kernel lies in its 80% interval" in shown.out
    by_key = json.loads(searcher("predictor", "predict", predictor, KNOWN.key, "--json").out)
    assert by_key["latency_ms"] == told["latency_ms"]


def test_what_networks_take_beyond_their_kernels_is_told(searcher: Run, predictor: Path, tmp_path: Path) -> None:
    fitted = tmp_path / "fitted.json"
    prices_ms = {**dict.fromkeys(TERMS, 0.0), SCALE: 1.0, STEPS: 0.25}
    correction = NetworkCorrection(prices_ms, (0.9,) * 6 + (1.25,) * 6, (1.0,) * 12)
    PREDICTOR_DOCUMENT.save(replace(PREDICTOR_DOCUMENT.load(predictor), networks=correction), fitted)
    network = exporter_for("onnxruntime").export_block(BlockSpec("relu_conv_bn", KNOWN.input_shapes, 32), tmp_path)
    plain, told = (
        json.loads(searcher("predictor", "predict", model, network.path, "--json").out) for model in (predictor, fitted)
    )
    assert (len(told["kernels"]), plain["fitted"], told["fitted"]) == (2, False, True)
    assert (plain["beyond_ms"], told["beyond_ms"]) == (0, pytest.approx(0.5))
    assert told["latency_ms"] == pytest.approx(plain["latency_ms"] + 0.5)
    ratio = 1.25 * math.exp(SESSION)
    assert told["interval_ms"] == pytest.approx([told["latency_ms"] / ratio, told["latency_ms"] * ratio])
    shown = searcher("predictor", "predict", fitted, network.path).out
    assert "+0.50000 ms  what networks take beyond that" in shown
    assert "with 80%, as networks have shown" in shown


def test_a_network_with_an_unknown_kernel_is_refused_whole(searcher: Run, predictor: Path, tmp_path: Path) -> None:
    pool = exporter_for("onnxruntime").export_block(BlockSpec("max_pool", ((1, 8, 8, 8),), 8, 2, 2), tmp_path)
    refused = searcher("predictor", "predict", predictor, pool.path)
    assert_one_sentence(refused, 2, "the predictor has no model of the type max_pool")
    assert refused.out == ""


def test_conditions_that_it_was_not_trained_for_are_refused(searcher: Run, predictor: Path, tmp_path: Path) -> None:
    level = searcher("predictor", "predict", predictor, KNOWN.key, "--optimization", "all")
    assert_one_sentence(level, 2, "trained for optimisation extended, not all")
    threads = searcher("predictor", "predict", predictor, KNOWN.key, "--threads", "2")
    assert_one_sentence(threads, 2, "trained for threads 1, not 2")
    other, file = tmp_path / "other.json", PREDICTOR_DOCUMENT.load(predictor)
    PREDICTOR_DOCUMENT.save(replace(file, key=replace(HERE, runtime="litert")), other)
    cut = searcher("predictor", "predict", other, tmp_path / "net.onnx")
    assert_one_sentence(cut, 2, "the predictor was trained for litert with CPUExecutionProvider in fp32")
    PREDICTOR_DOCUMENT.save(replace(file, key=replace(HERE, runtime_version="1.0")), other)
    model = exporter_for("onnxruntime").export_block(KNOWN, tmp_path)
    note = f"cut into kernels by onnxruntime {onnxruntime.__version__}, trained on 1.0"
    assert note in searcher("predictor", "predict", other, model.path).out
    unjudged = searcher("predictor", "eval", other, predictor.parent / "b.csv")
    differs = f"runtime_version was '1.0', is '{onnxruntime.__version__}'"
    assert_one_sentence(unjudged, 2, f"was measured under the predictor's conditions: {differs}")


def test_rows_of_several_conditions_are_chosen_from(searcher: Run, tmp_path: Path) -> None:
    one = rows(measured(drawn("relu", 21, 3), 3), HERE)
    two = rows(measured(drawn("relu", 21, 3), 4), replace(HERE, threads=2))
    mixed, out = tmp_path / "mixed.csv", tmp_path / "p.json"
    write_dataset([*one, *two], mixed)
    asked = ["predictor", "train", str(mixed), "--out", str(out), "--confidence", "0.8"]
    assert_one_sentence(searcher(*asked), 2, "choose one with --where: threads=1, or threads=2")
    assert_one_sentence(searcher(*asked, "--where", "threads=3"), 2, "there are threads=1, or threads=2")
    alone = tmp_path / "alone.csv"
    write_dataset(one, alone)
    other = ("predictor", "train", alone, "--out", out, "--where", "threads=3")
    assert_one_sentence(searcher(*other), 2, "alone.csv is of these conditions; there are threads=1")
    assert_one_sentence(searcher(*asked, "--where", "speed=3"), 2, "--where takes FIELD=VALUE")
    assert not out.exists()
    chosen = searcher(*asked, "--where", "threads=2", "--json")
    assert chosen.status == 0, chosen.err
    assert json.loads(chosen.out)["judged"]["relu"]["points"] == 21
    assert PREDICTOR_DOCUMENT.load(out).key.threads == 2


def test_what_cannot_be_used_is_one_sentence(searcher: Run, predictor: Path, tmp_path: Path) -> None:
    few, out = tmp_path / "few.csv", tmp_path / "p.json"
    dataset(few, ("relu",), 5, count=9)
    train = searcher("predictor", "train", few, "--out", out)
    assert_one_sentence(train, 2, "can be learnt: a model takes 20 different kernels, not 9")
    assert "relu is left out" in train.err
    assert_one_sentence(searcher("predictor", "train", few, "--out", out, "--confidence", "2"), 2, "between 0 and 1")
    assert_one_sentence(searcher("predictor", "train", few, "--out", few, "--overwrite"), 2, "would replace the input")
    readme = tmp_path / "readme.md"
    readme.write_text("no model")
    assert_one_sentence(searcher("predictor", "train", readme, "--out", out), 2, "nothing can be trained on")
    assert_one_sentence(searcher("predictor", "eval", readme, few), 2, "is no model that searcher predictor train")
    assert_one_sentence(searcher("predictor", "predict", readme, "x"), 2, "is no model that searcher predictor train")
    for asked in (("eval", tmp_path / "none.json", few), ("predict", tmp_path / "none.json", "x")):
        assert_one_sentence(searcher("predictor", *asked), 2, "none.json: No such file or directory")
    assert_one_sentence(searcher("predictor", "predict", predictor, readme), 2, str(readme))
    assert_one_sentence(searcher("predictor", "predict", predictor, "conv"), 2, "is no block's key")
    assert_one_sentence(searcher("predictor", "predict", predictor, "conv" * 100), 2, "is no block's key")
    odd = replace(KNOWN, groups=3).key
    assert_one_sentence(searcher("predictor", "predict", predictor, odd), 2, "cannot be parted into its groups")
    assert_one_sentence(searcher("predictor", "predict", predictor), 2, "takes an ONNX file or a block's key")
    assert not out.exists()
