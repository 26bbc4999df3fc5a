"""Kernel predictors: made-up physics is learnt, intervals cover, the unknown is refused, and files say the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.cost_models.kernels import fit
from searcher.cost_models.kernels.fit import FEWEST_KERNELS, fit_kernel_model
from searcher.cost_models.kernels.judging import judge_predictor
from searcher.cost_models.kernels.kernel_model import KernelModel, UnknownKernelError
from searcher.cost_models.kernels.measured_kernel import MeasuredKernel
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor, PredictorFile
from searcher.cost_models.kernels.training import train_types
from searcher.cost_models.kernels.trees import LEAF, Tree, Trees
from searcher.errors import BadInputError
from searcher.spaces.block import BlockSpec
from tests.searcher.builders import KEY
from tests.searcher.made_up_kernels import CALL_MS, drawn, measured, true_ms

TYPES = ("convolution", "pointwise", "relu")
KNOWN = BlockSpec("conv_bn", ((1, 32, 16, 16),), 32, activation="relu")


def sample(seed: int, count: int = 60, noise: float = 0.01) -> list[MeasuredKernel]:
    return [kernel for kind in TYPES for kernel in measured(drawn(kind, count, seed), seed, noise)]


def file_of(models: dict[str, KernelModel], left_out: dict[str, str], trained: list[MeasuredKernel]) -> PredictorFile:
    keys = tuple(sorted(kernel.spec.key for kernel in trained))
    return PredictorFile(
        "2026-11-22T00:00:00+00:00", KEY, "a.csv", "00", {}, 0, 0.9, CALL_MS, 0.08, models, left_out, keys
    )


@pytest.fixture(scope="module")
def file() -> PredictorFile:
    kernels = sample(1)
    trained = {one.name: one.model for one in train_types([*kernels, *few()], 0.9, seed=0)}
    models = {name: model for name, model in trained.items() if model is not None}
    return file_of(models, dict.fromkeys(trained.keys() - models.keys(), "too few"), kernels)


@pytest.fixture(scope="module")
def predictor(file: PredictorFile) -> KernelPredictor:
    return KernelPredictor(file)


def few() -> list[MeasuredKernel]:
    """Too few kernels of one type."""
    return measured([BlockSpec("max_pool", ((1, 8, size, size),), 8, 2, 2) for size in range(4, 10)], 0)


def test_made_up_physics_is_predicted_within_a_few_percent_and_intervals_cover(predictor: KernelPredictor) -> None:
    judged = judge_predictor(predictor, sample(2, 100))
    assert judged.types.keys() == set(TYPES)
    assert judged.overall.points + len(judged.refused) == 300
    assert len(judged.refused) < 75
    assert judged.overall.median_error_pct < 3
    assert judged.overall.within_10 > 0.9
    assert 0.84 < judged.overall.coverage <= 0.99
    assert abs(judged.overall.bias_pct) < 3


def test_estimates_leave_the_call_out(predictor: KernelPredictor) -> None:
    told = predictor.estimate(KNOWN)
    assert told.latency_ms == pytest.approx(true_ms(KNOWN), rel=0.15)
    assert 0 < told.interval_ms[0] < told.latency_ms < told.interval_ms[1]


def test_a_network_is_its_call_and_its_kernels_and_errors_of_equal_kernels_add_up(predictor: KernelPredictor) -> None:
    one, other = predictor.estimate(KNOWN), predictor.estimate(replace(KNOWN, activation=None))
    network = predictor.network([KNOWN, replace(KNOWN, activation=None), KNOWN])
    for told, alone in zip(network.kernels, (one, other, one), strict=True):
        # Sums of many at once may be rounded in another order.
        assert (told.latency_ms, *told.interval_ms) == pytest.approx((alone.latency_ms, *alone.interval_ms))
    assert network.latency_ms == pytest.approx(CALL_MS + 2 * one.latency_ms + other.latency_ms)
    assert network.interval_ms[0] == pytest.approx(CALL_MS + 2 * one.interval_ms[0] + other.interval_ms[0])
    assert network.interval_ms[1] == pytest.approx(CALL_MS + 2 * one.interval_ms[1] + other.interval_ms[1])


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        (BlockSpec("add", ((1, 8, 8, 8),) * 2, 8), "no model of the type add: it was trained on convolution, "),
        (BlockSpec("max_pool", ((1, 8, 8, 8),), 8, 2, 2), "no model of the type max_pool: too few"),
        (replace(KNOWN, input_shapes=((1, 500, 16, 16),)), "channels is 500, and was "),
        (replace(KNOWN, input_shapes=((2, 32, 16, 16),)), "read is "),
        (replace(KNOWN, activation="relu6"), "its activation was not trained on, only none, relu"),
        (replace(KNOWN, stride=2), "stride is 2, and was 1 to 1"),
        (replace(KNOWN, kernel=3, padding=0), "padding is 0, and was 1 to 1"),
        (replace(KNOWN, input_shapes=((1, 110, 42, 42),), output_channels=110), "macs is "),
        (KNOWN.in_dtype("int8"), "trained on fp32"),
    ],
)
def test_what_it_was_not_trained_on_is_refused(predictor: KernelPredictor, spec: BlockSpec, part: str) -> None:
    with pytest.raises(UnknownKernelError) as refused:
        predictor.estimate(spec)
    if part == "read is ":
        # A batch of two is refused, whichever of its sizes is named first.
        assert any(name in str(refused.value) for name in ("read is ", "batch is 2"))
    else:
        assert part in str(refused.value)
    assert spec.key in str(refused.value)


def test_work_that_no_trained_kernel_had_is_refused() -> None:
    # One column left of twelve rows each: the product is never worked out in single rows.
    specs = [
        replace(spec, output_channels=12 * (1 + index % 5)) for index, spec in enumerate(drawn("pointwise", 40, 3))
    ]
    model = fit_kernel_model(measured(specs, 0), 0.8, seed=0)
    odd = replace(KNOWN, output_channels=25)
    with pytest.raises(UnknownKernelError, match="nothing trained on has work of the kind waited"):
        model.estimates([odd])
    assert model.estimates([replace(odd, output_channels=24)])[0].latency_ms > 0


def test_a_repeated_input_is_refused_where_none_was() -> None:
    shapes = sorted((spec.input_shapes[0] for spec in drawn("relu", 25, 6)), key=math.prod)
    sums = [BlockSpec("add", (shape, shape), shape[1]) for shape in shapes]
    model = fit_kernel_model(measured(sums, 0), 0.8, seed=0)
    scaled = replace(sums[-2], input_shapes=(shapes[-2], (*shapes[-2][:2], 1, 1)))
    with pytest.raises(UnknownKernelError, match="repeated is 1, and was 0 to 0"):
        model.estimates([scaled])
    assert model.estimates([sums[-2]])[0].latency_ms > 0


def test_one_seed_gives_one_model_whatever_the_order_of_the_rows_and_confidence_only_widens() -> None:
    kernels = measured(drawn("relu", 24, 5), 5)
    first, second = (next(train_types(some, 0.8, seed=3)) for some in (kernels, kernels[::-1]))
    assert first == second
    narrow = next(train_types(kernels, 0.5, seed=3)).model
    assert first.model is not None
    assert narrow is not None
    assert narrow.reach < first.model.reach
    assert replace(narrow, reach=first.model.reach) == first.model


def test_disturbed_measurements_spoil_nothing() -> None:
    kernels = measured(drawn("pointwise", 50, 6), 6)
    disturbed = [
        replace(one, latency_ms=3 * one.latency_ms) if index % 15 == 0 else one for index, one in enumerate(kernels)
    ]
    file = file_of({"pointwise": fit_kernel_model(disturbed, 0.8, seed=0)}, {}, kernels)
    judged = judge_predictor(KernelPredictor(file), measured(drawn("pointwise", 100, 7), 7)).overall
    assert judged.median_error_pct < 5


def test_noise_may_make_tiny_kernels_negative_and_no_estimate_is() -> None:
    specs = [BlockSpec("relu", ((1, channels, 4, 4),), channels) for channels in range(4, 44)]
    noise = np.random.default_rng(0).normal(0, 1e-4, len(specs)).tolist()
    kernels = [
        MeasuredKernel(spec, CALL_MS + off, CALL_MS, (CALL_MS, CALL_MS + 1e-4), spec.key)
        for spec, off in zip(specs, noise, strict=True)
    ]
    assert min(kernel.own_ms for kernel in kernels) < 0
    for told in fit_kernel_model(kernels, 0.8, seed=0).estimates(specs):
        assert 0 < told.interval_ms[0] <= told.latency_ms <= told.interval_ms[1] < 0.1 * CALL_MS


def test_too_many_points_for_a_smooth_function_leave_trees_and_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_MOST_SMOOTH", 10)
    model = fit_kernel_model(measured(drawn("relu", 30, 8), 8), 0.8, seed=0)
    assert model.judged.mean_log_error.keys() == {"baseline", "trees"}
    assert model.smooth is None


def test_kernels_without_any_difference_but_their_names_have_the_baseline_alone() -> None:
    kernels = [replace(one, group=str(index)) for index, one in enumerate(measured([KNOWN] * 24, 0))]
    model = fit_kernel_model(kernels, 0.8, seed=0)
    assert (model.form, model.features) == ("baseline", ())
    told = model.estimates([KNOWN])[0]
    assert told.latency_ms == pytest.approx(true_ms(KNOWN), rel=0.02)
    assert told.interval_ms[1] < 1.1 * told.latency_ms


def test_too_few_kernels_and_impossible_confidences_are_refused() -> None:
    kernels = measured(drawn("relu", 30, 8), 8)
    with pytest.raises(BadInputError, match=f"takes {FEWEST_KERNELS} different kernels, not 19"):
        fit_kernel_model(kernels[:19], 0.8, seed=0)
    with pytest.raises(BadInputError, match="takes 99 different kernels, not 30"):
        fit_kernel_model(kernels, 0.99, seed=0)
    alike = [replace(kernel, group=str(index % 7)) for index, kernel in enumerate(kernels)]
    with pytest.raises(BadInputError, match="not 7: near-duplicates among 30 count once"):
        fit_kernel_model(alike, 0.8, seed=0)
    with pytest.raises(BadInputError, match="a confidence lies between 0 and 1"):
        list(train_types(kernels, 1.0, seed=0))


def test_a_file_read_back_says_the_same_to_the_last_bit(file: PredictorFile, tmp_path: Path) -> None:
    path, again = tmp_path / "p.json", tmp_path / "again.json"
    PREDICTOR_DOCUMENT.save(file, path)
    read = KernelPredictor.load(path)
    assert read.file == file
    specs = [KNOWN, *drawn("relu", 1, 1)]
    assert read.estimates(specs) == KernelPredictor(file).estimates(specs)
    PREDICTOR_DOCUMENT.save(read.file, again)
    assert again.read_bytes() == path.read_bytes()


def _set(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(plain: dict[str, Any]) -> None:
        *path, last = place.split(".")
        for name in path:
            plain = plain[name]
        plain[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_set("schema_version", 2), "schema version is '2', not 3: searcher predictor train makes another"),
        (_set("call_ms", float("nan")), "not JSON"),
        (_set("call_ms", -1.0), "are positive"),
        (_set("kernels", {}), "one type of kernel at least"),
        (_set("confidence", 1.0), "a confidence lies between 0 and 1"),
        (_set("kernels.relu.ranges", {}), "from a low to a high of each size"),
        (_set("kernels.relu.reach", 0.0), "a start and a reach are positive"),
        (_set("kernels.relu.form", "oracle"), "kernels.relu.form"),
        (_set("kernels.relu.spread.slopes", []), "a slope for each of the"),
        (_set("kernels.relu.features", ["channels"]), "a slope for each of the 1 features"),
        (_set("kernels.relu.prices_ms", {"read": -1.0}), "prices are not negative"),
        (_set("kernels.relu.judged.within_5", "nan"), "not finite"),
    ],
)
def test_corrupted_files_are_refused(
    file: PredictorFile, tmp_path: Path, change: Callable[[dict[str, Any]], None], part: str
) -> None:
    plain = json.loads(PREDICTOR_DOCUMENT.text(file))
    change(plain)
    path = tmp_path / "p.json"
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(BadInputError) as refused:
        KernelPredictor.load(path)
    assert part in str(refused.value)


def test_a_table_is_no_predictor_whatever_its_version(tmp_path: Path) -> None:
    for version in (1, 2):
        path = tmp_path / "t.json"
        path.write_text(json.dumps({"schema_version": version, "created": "", "key": {}, "space": "s", "entries": []}))
        with pytest.raises(BadInputError, match=r"t\.json is no .*predictor.*: it has no dataset"):
            KernelPredictor.load(path)


def test_a_tree_that_leads_back_is_refused(file: PredictorFile, tmp_path: Path) -> None:
    plain = json.loads(PREDICTOR_DOCUMENT.text(file_of({"relu": with_a_stump(file.kernels["relu"])}, {}, [])))
    plain["kernels"]["relu"]["trees"]["trees"][0]["left"][0] = 0
    path = tmp_path / "p.json"
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(BadInputError, match="the node 0 of a tree leads to itself, back or nowhere"):
        KernelPredictor.load(path)


def with_a_stump(model: KernelModel) -> KernelModel:
    """The model with one stump as its trees."""
    stump = Tree((0, LEAF, LEAF), (3.0, 0.0, 0.0), (1, LEAF, LEAF), (2, LEAF, LEAF), (0.0, -0.1, 0.1))
    return replace(model, form="trees", smooth=None, trees=Trees(0.0, (stump,)))


def test_an_unknown_feature_of_a_later_version_is_a_sentence(file: PredictorFile) -> None:
    model = file.kernels["relu"]
    renamed = replace(model, features=("phase_of_the_moon", *model.features[1:]))
    with pytest.raises(BadInputError, match="phase_of_the_moon"):
        renamed.estimates([drawn("relu", 1, 1)[0]])
