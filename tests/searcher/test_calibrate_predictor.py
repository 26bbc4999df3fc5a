"""Predictors of kernels fitted to whole networks: drawn ones, cut from real files, on a device in memory."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from profiler_agent.records import Event, Measured, format_event
from searcher.cli import show
from searcher.cost_models.kernels.predictor import PREDICTOR_DOCUMENT, KernelPredictor, PredictorFile
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.export import to_onnx
from searcher.export.kernels_of_onnx import cut
from searcher.export.recipe import set_weights
from searcher.networks.drawn import DrawnNetwork, draw_network
from searcher.spaces.block import BlockSpec
from searcher.spaces.counts import block_macs
from searcher.tables.lookup_table import KeyMismatchError
from searcher.workflows import calibrate_predictor as calibrate_predictor_module
from searcher.workflows.calibrate_predictor import PredictorCalibrationRequest, calibrate_predictor
from tests.fakes import FakeTransport
from tests.searcher.builders import KEY, agent_program
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.predictors import predictor_file, saved_predictor

NETWORKS, MOST_MACS = 12, 10**8


def kernels_of(network: DrawnNetwork, path: Path) -> tuple[BlockSpec, ...]:
    to_onnx.write(set_weights(network.module), (network.input_shape,), path)
    return tuple(one.spec for one in cut(path, "extended"))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[BlockSpec]:
    """Kernels of networks that are drawn by the seed that the tests use."""
    generator, path = np.random.default_rng(0), tmp_path_factory.mktemp("drawn") / "network.onnx"
    networks: list[tuple[BlockSpec, ...]] = []
    while len(networks) < NETWORKS:
        kernels = kernels_of(draw_network(generator), path)
        if sum(map(block_macs, kernels)) <= MOST_MACS:
            networks.append(kernels)
    return [kernel for one in networks for kernel in one]


@pytest.fixture(scope="module")
def made(known: list[BlockSpec]) -> PredictorFile:
    return calibrated(predictor_file(known))


def calibrated(file: PredictorFile, latency_ms: float = 5.0, **changes: object) -> PredictorFile:
    request = PredictorCalibrationRequest(KernelPredictor(file), Device(), NETWORKS, most_macs=MOST_MACS)
    device = FakeTransport(agent_program(lambda _name: latency_ms))
    return show.run(calibrate_predictor(replace(request, **changes), lambda _device: device))  # type: ignore[arg-type]


def test_drawn_networks_are_those_of_their_seed_and_compute() -> None:
    drawn = [draw_network(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    texts = [str(one.module) for one in drawn]
    assert texts[0] == texts[1] != texts[2]
    for one in drawn:
        outputs = set_weights(one.module)(torch.zeros(one.input_shape))
        assert outputs.shape[0] == 1
        assert torch.isfinite(outputs).all()


def test_networks_of_all_kinds_are_drawn(known: list[BlockSpec]) -> None:
    operations = {kernel.operation for kernel in known}
    assert {"conv_bn", "add", "fully_connected", "global_avg_pool", "max_pool", "avg_pool"} <= operations
    assert {1, 3, 5} <= {kernel.kernel for kernel in known}
    assert any(kernel.groups == kernel.output_channels > 1 for kernel in known)


def test_a_predictor_learns_what_networks_take_beyond_their_kernels(
    known: list[BlockSpec], made: PredictorFile
) -> None:
    file = predictor_file(known)
    # Nothing but the networks changes, and what is predicted of one kernel stays as it was.
    assert replace(made, networks=None) == file
    assert made.networks is not None
    assert len(made.networks.errors) == NETWORKS
    before, after = KernelPredictor(file), KernelPredictor(made)
    assert after.network(known[:1]) == before.network(known[:1])
    told = after.network(known[:9])
    own_ms = [one.latency_ms for one in told.kernels]
    assert told.latency_ms == made.networks.latency_ms(file.call_ms, known[:9], own_ms)
    ratio = made.networks.ratio(file.confidence)
    assert told.interval_ms == (told.latency_ms / ratio, told.latency_ms * ratio)


def test_a_calibrated_predictor_is_read_back(made: PredictorFile, tmp_path: Path) -> None:
    saved_predictor(tmp_path / "p.json", made)
    assert PREDICTOR_DOCUMENT.load(tmp_path / "p.json") == made


def test_what_cannot_be_fitted_is_refused(known: list[BlockSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="fitted to 12 networks at least, not 11"):
        calibrated(predictor_file(known), networks=11)
    with pytest.raises(KeyMismatchError, match="litert"):
        calibrated(predictor_file(known, key=replace(KEY, runtime="litert")))
    monkeypatch.setattr(calibrate_predictor_module, "_REFUSED_IN_A_ROW", 3)
    only_sums = [kernel for kernel in known if kernel.operation == "add"]
    with pytest.raises(BadInputError, match=r"refuses nearly every network that is drawn: .*no model of the type"):
        calibrated(predictor_file(only_sums), networks=12)


def test_a_device_that_fuses_otherwise_is_told(known: list[BlockSpec], tmp_path: Path) -> None:
    drawn, path = draw_network(np.random.default_rng(0)), tmp_path / "network.onnx"
    to_onnx.write(set_weights(drawn.module), (drawn.input_shape,), path)
    # Branches may run in any order.
    same = {"drawn-0-0": tuple(one.operation for one in cut(path, "extended"))[::-1]}

    def change(events: list[Event]) -> list[str]:
        told = (
            replace(one, operations=same.get(one.block_id, ("A", "A"))) if isinstance(one, Measured) else one
            for one in events
        )
        return [format_event(one) for one in told]

    file = predictor_file(known, key=replace(KEY, runtime_version="1.0"))
    request = PredictorCalibrationRequest(KernelPredictor(file), Device(), NETWORKS, most_macs=MOST_MACS)
    device = FakeTransport(agent_program(lambda _name: 5.0, file.key, change=change))
    work = calibrate_predictor(request, lambda _device: device)
    cut_here, hello, other = (one.note for one in work if one.note)
    assert cut_here == f"cut into kernels by onnxruntime {onnxruntime.__version__}, trained on 1.0"
    assert hello == "onnxruntime 1.0 on x86_64-0"
    assert re.fullmatch(
        "the device executes 11 of 12 networks as other operators than this computer cuts them into, and predictions "
        r"of files may be off: drawn-0-\d+ is 2 A there and .*1 Gemm.* here",
        other,
    )


def test_the_command_writes_another_file_and_refuses_one_that_is_there(
    known: list[BlockSpec], tmp_path: Path, searcher: Run
) -> None:
    path, out = tmp_path / "p.json", tmp_path / "calibrated.json"
    saved_predictor(path, predictor_file(known))
    before = path.read_bytes()
    asked = ("predictor", "calibrate", path, "--out")
    assert_one_sentence(searcher(*asked, path), 2, "--out")
    assert_one_sentence(searcher(*asked, out, "--networks", "3"), 2, "12 networks at least, not 3")
    out.write_text("{}")
    assert_one_sentence(searcher(*asked, out), 2, "--overwrite replaces it")
    assert (path.read_bytes(), json.loads(out.read_text())) == (before, {})
