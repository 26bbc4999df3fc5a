"""`searcher predictor propose | transfer`: what to measure on a new device, and what is predicted from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from searcher.cost_models.network_model import NETWORK_MODEL_DOCUMENT, fit_network_model
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies
from tests.searcher.builders import KEY
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.known_devices import (
    CELLS,
    CONNECTED,
    SPACE,
    latencies_file,
    made_up_devices,
    made_up_ms,
    rows_of,
)

ROWS = np.arange(700)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name the files of three known devices."""
    folder, devices = tmp_path_factory.mktemp("known"), made_up_devices(3)
    arguments = []
    for one, name in enumerate(devices.names):
        path = folder / f"{one}.json"
        NETWORKS_DOCUMENT.save(latencies_file(name, ROWS, devices.latency_ms[:, one]), path)
        arguments += ["--known", str(path)]
    return arguments


def test_proposed_networks_are_measured_and_all_others_predicted(
    searcher: Run, known: list[str], tmp_path: Path
) -> None:
    proposed = searcher("predictor", "propose", *known, "--pool", "200", "--seed", "5")
    texts = proposed.out.splitlines()
    assert (proposed.status, len(set(texts))) == (0, 10)
    as_json = searcher("predictor", "propose", *known, "--pool", "200", "--seed", "5", "--json")
    assert json.loads(as_json.out) == {"networks": texts}
    rows = rows_of(texts)
    latency_ms = made_up_ms(50, "all")
    measured, out = tmp_path / "measured.json", tmp_path / "predicted.json"
    NETWORKS_DOCUMENT.save(latencies_file("new", rows, latency_ms), measured)
    asked = ["predictor", "transfer", *known, "--measured", str(measured), "--output", str(out)]
    outcome = searcher(*asked)
    assert outcome.status == 0, outcome.err
    assert "latencies of 700 networks on new, predicted from 10 networks on it" in outcome.out
    told = NETWORKS_DOCUMENT.load(out)
    assert (told.device, told.key, told.predicted, len(told.networks)) == ("new", None, True, 700)
    texts = list(latencies_file("new", ROWS, latency_ms).networks)
    errors = [told.networks[text].median_ms / latency_ms[row] - 1 for row, text in enumerate(texts)]
    assert np.median(np.abs(errors)) < 0.06
    within = [(told.networks[text].interval_ms or (0, 0))[1] > told.networks[text].median_ms for text in texts]
    assert all(within)
    assert_one_sentence(searcher(*asked), 2, "--overwrite replaces it")
    as_json = searcher(*asked, "--overwrite", "--json")
    assert json.loads(as_json.out)["not_believed"] == []


def test_a_search_by_predictions_reckons_with_their_intervals(searcher: Run, known: list[str], tmp_path: Path) -> None:
    texts = searcher("predictor", "propose", *known, "--pool", "200", "--seed", "5").out.splitlines()
    latency_ms = made_up_ms(53, "all")
    measured, out = tmp_path / "measured.json", tmp_path / "predicted.json"
    few = replace(latencies_file("new", rows_of(texts), latency_ms), key=KEY, export_cells=5, sentinel_ms=0.08)
    NETWORKS_DOCUMENT.save(few, measured)
    searcher("predictor", "transfer", *known, "--measured", measured, "--out", out)
    told = NETWORKS_DOCUMENT.load(out)
    # What is found may be measured under the conditions of what was.
    assert (told.key, told.export_cells, told.sentinel_ms) == (KEY, 5, 0.08)
    cells, true_ms = CELLS[ROWS][CONNECTED[ROWS]], latency_ms[ROWS][CONNECTED[ROWS]]

    def held(file: NetworkLatencies) -> float:
        low, high = fit_network_model(file, "f", "", "").model(SPACE).intervals_ms(cells, 0.9).T
        return float(((low <= true_ms) & (true_ms <= high)).mean())

    assert held(told) > 0.9
    # As if they had been measured, the fit to them would be falsely sure.
    assert held(replace(told, predicted=False)) < 0.5
    trained = searcher("predictor", "train", out, "--out", tmp_path / "model.json")
    assert trained.status == 0, trained.err
    assert NETWORK_MODEL_DOCUMENT.load(tmp_path / "model.json").key == KEY


def test_an_accident_is_told(searcher: Run, known: list[str], tmp_path: Path) -> None:
    texts = searcher("predictor", "propose", *known).out.splitlines()
    rows = rows_of(texts)
    latency_ms = made_up_ms(51, "all")
    latency_ms[rows[4]] *= 8
    measured = tmp_path / "measured.json"
    NETWORKS_DOCUMENT.save(latencies_file("new", rows, latency_ms), measured)
    outcome = searcher("predictor", "transfer", *known, "--measured", measured, "--out", tmp_path / "out.json")
    assert f"the measurement of {texts[4]} contradicts the others and was not believed" in outcome.out


def test_what_cannot_be_transferred_is_one_sentence(searcher: Run, known: list[str], tmp_path: Path) -> None:
    measured, out = tmp_path / "measured.json", tmp_path / "out.json"
    NETWORKS_DOCUMENT.save(latencies_file("new", ROWS[:4], made_up_ms(52, "all")), measured)
    few = searcher("predictor", "transfer", *known, "--measured", measured, "--out", out)
    assert_one_sentence(few, 2, "a transfer takes 5 connected networks at least")
    two = searcher("predictor", "transfer", *known[:4], "--measured", measured, "--out", out)
    assert_one_sentence(two, 2, "from 3 known ones at least, not 2")
    same = searcher("predictor", "propose", *known, *known[:2])
    assert_one_sentence(same, 2, "the known device 'device 0' is there twice")
    onto = searcher("predictor", "transfer", *known, "--measured", measured, "--out", known[1], "--overwrite")
    assert onto.status == 2
    many = searcher("predictor", "propose", *known, "--pool", "5", "--networks", "6")
    assert_one_sentence(many, 2, "between 5 and all are chosen, not 6")
    assert not out.exists()
