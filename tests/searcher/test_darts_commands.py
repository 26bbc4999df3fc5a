"""`searcher darts`, its family and its verification: a run that is killed goes on, and a family is measured here."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import searcher as package
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.cost_model import latency_range
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.darts_folder import read_epochs, read_state
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.dying_command import run_until_killed

TABLE = Path(package.__file__).parents[1] / "luts" / "x86_64-virtual-machine-nasbench201-onnxruntime.json"
SMALL = ("--supernet-channels", "4", "--threads", "1", "--structure-learning-rate", "0.1", "--batch-size", "128")
SEARCH = ("--lut", TABLE, "--epochs", "3", "--warm-up-epochs", "1", "--max-latency-ms", "3", "--seed", "1", *SMALL)
LONGEST_S = 600.0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that nobody killed, made by the command in a process of its own."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = subprocess.run(command("run"), cwd=folder, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 epochs" in done.stdout
    return folder / "run"


def arguments(output: str, *more: str) -> list[str]:
    return ["darts", *map(str, SEARCH), "--output", output, *more]


def command(output: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "searcher.cli", *arguments(output, *more)]


def equal(one: Any, other: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def state_of(folder: Path) -> dict[str, Any]:
    found = read_state(folder)
    assert found is not None
    return found[0]


def told(folder: Path) -> list[dict[str, Any]]:
    """The journal without the seconds, which are another machine's in another moment."""
    return [{name: value for name, value in line.items() if name != "seconds"} for line in read_epochs(folder)]


def kill(folder: Path, is_time: Callable[[], bool], *more: str) -> bool:
    """Kill a search when it is time; False if it was done before."""
    with subprocess.Popen(command(folder.name, *more), cwd=folder.parent, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not is_time():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        return process.wait() != 0


def lines(folder: Path) -> int:
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def test_a_killed_search_goes_on_and_ends_like_an_unbroken_one(unbroken: Path, searcher: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_until_killed(("searcher.workflows.darts_folder", "RunFolder", "keep"), 1, arguments("run"), tmp_path)
    assert lines(run) == 1
    assert_one_sentence(searcher("darts", *SEARCH, "--output", run), 2, "holds a search: go on with --resume")
    other = searcher("darts", *SEARCH, "--seed", "2", "--output", run, "--resume")
    assert_one_sentence(other, 2, "holds another search: settings.seed was 1, is 2; give the same options as then")
    assert lines(run) == 1
    resumed = searcher("darts", *SEARCH, "--output", run, "--resume")
    assert resumed.status == 0, resumed.err
    assert equal(state_of(run), state_of(unbroken))
    assert told(run) == told(unbroken)
    families = []
    for folder in (run, unbroken):
        made = json.loads(searcher("darts", "family", folder, "--divisions", "2", "--json").out)
        families.append({name: value for name, value in made.items() if name != "state_sha256"})
    assert families[0] == families[1]


def test_an_epoch_whose_state_was_not_written_is_repeated(unbroken: Path, searcher: Run, tmp_path: Path) -> None:
    """A kill between the journal's line and the state: that and what is torn are cut off, and written once more."""
    run = tmp_path / "run"
    # Nothing is written as the search begins; then one line an epoch.
    run_until_killed(("searcher.workflows.darts_folder", "RunFolder", "_write"), 3, arguments("run"), tmp_path)
    assert (lines(run), state_of(run)["epoch"]) == (2, 1)
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"epoch","epoch":3,"told":"and torn')
    assert searcher("darts", *SEARCH, "--output", run, "--resume").status == 0
    assert told(run) == told(unbroken)


@pytest.mark.slow
def test_killed_at_many_moments_a_search_ends_like_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for epoch in (1, 1, 2, 2, 3):
        moment_s = time.monotonic() + 0.05 * epoch

        def is_time(epoch: int = epoch, moment_s: float = moment_s) -> bool:
            return lines(run) >= epoch and time.monotonic() >= moment_s

        kill(run, is_time, "--resume")
    done = subprocess.run(command("run", "--resume"), cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    assert equal(state_of(run), state_of(unbroken))
    assert told(run) == told(unbroken)


@pytest.mark.parametrize("likeliest", [1, 3])
def test_a_family_is_priced_judged_and_ranked(unbroken: Path, searcher: Run, likeliest: int) -> None:
    before = (unbroken / "state.pt").read_bytes()
    grid = ("--divisions", "4", "--likeliest", str(likeliest))
    outcome = searcher("darts", "family", unbroken, *grid, "--json", "--csv", "family.csv")
    family = json.loads(outcome.out)
    assert outcome.status == (0 if family["picked"] else 1), outcome.err
    assert family == json.loads((unbroken / "family.json").read_text())
    assert (unbroken / "state.pt").read_bytes() == before
    members = family["members"]
    assert sum(len(one["points"]) for one in members) == likeliest * 15  # of a triangle with four divisions
    assert len({one["architecture"] for one in members}) == len(members) > 1
    kept = [one["latencies"][0]["predicted_ms"] <= 3 for one in members]
    assert [one["within_limits"] for one in members] == kept == sorted(kept, reverse=True)
    within = [one["validation_loss"] for one in members if one["within_limits"]]
    assert within == sorted(within)
    assert family["picked"] == (members[0]["architecture"] if within else None)
    scores = [(one["validation_loss"], one["latencies"][0]["predicted_ms"]) for one in members]
    for mark, score in zip((one["pareto"] for one in members), scores, strict=True):
        beaten = any(a <= score[0] and b <= score[1] and (a, b) != score for a, b in scores)
        assert mark is not beaten
    rows = list(csv.DictReader(Path("family.csv").read_text().splitlines()))
    assert [row["architecture"] for row in rows] == [one["architecture"] for one in members]
    assert [row["picked"] for row in rows].count("1") == int(family["picked"] is not None)


def test_a_limit_that_is_given_later_is_that_of_the_family(unbroken: Path, searcher: Run, tmp_path: Path) -> None:
    run = shutil.copytree(unbroken, tmp_path / "copy")
    members = json.loads(searcher("darts", "family", run, "--divisions", "1", "--json").out)["members"]
    nearest_ms = min(one["latencies"][0]["predicted_ms"] for one in members)
    space = NasBench201()
    least_ms = latency_range(BlockSum(space, TABLE_DOCUMENT.load(TABLE))).low_ms
    assert nearest_ms > least_ms, "the family holds the fastest cell of all: another seed is needed"
    limit = str((least_ms + nearest_ms) / 2)
    outcome = searcher("darts", "family", run, "--divisions", "1", "--max-latency-ms", limit)
    assert_one_sentence(outcome, 1, "members keeps the limits of x86_64-virtual-machine-nasbench201-onnxruntime of")
    assert "no member is picked: none of " in outcome.out
    assert_one_sentence(
        searcher("darts", "family", run, "--max-latency-ms", "5:pi"), 2, "say of which device 5 ms is the limit"
    )


def test_a_family_of_an_earlier_version_is_made_anew(unbroken: Path, searcher: Run, tmp_path: Path) -> None:
    run = shutil.copytree(unbroken, tmp_path / "copy")
    assert searcher("darts", "family", run, "--divisions", "1").status in (0, 1)
    family = json.loads((run / "family.json").read_text())
    (run / "family.json").write_text(json.dumps({**family, "schema_version": 1}))
    quick = ("--top", "1", "--rounds", "2", "--samples", "2", "--precision", "50")
    outcome = searcher("darts", "verify", run, "--device", "local", *quick)
    if "these measurements have another table key" not in outcome.err:
        assert (run / "verification.json").exists(), outcome.err
    assert json.loads((run / "family.json").read_text())["schema_version"] == 2


def test_a_family_is_measured_on_this_machine(unbroken: Path, searcher: Run) -> None:
    quick = ("--top", "2", "--rounds", "2", "--samples", "2", "--precision", "50")
    outcome = searcher("darts", "verify", unbroken, "--device", "local", *quick, "--json")
    if "these measurements have another table key" in outcome.err:
        pytest.skip("the shipped table is of another machine, or of another version of the runtime")
    found = json.loads(outcome.out)
    assert found == json.loads((unbroken / "verification.json").read_text())
    assert found["max_latency_ms"] == 3
    family = json.loads((unbroken / "family.json").read_text())
    first = [one["architecture"] for one in family["members"]][:2]
    assert [one["architecture"] for one in found["candidates"]] == first
    assert found["first"] == found["candidates"][0]
    for one in found["candidates"]:
        assert one["feasible"] == (one["measured_ms"] <= 3)
    # It is the machine that decides, so either end is right.
    assert outcome.status == (1 if found["winner"] is None else 0), outcome.err


def test_what_cannot_be_searched_is_refused_in_one_sentence(searcher: Run, tmp_path: Path) -> None:
    search = ("darts", "--lut", TABLE, "--output", "run")
    impossible = searcher(*search, "--max-latency-ms", "0.1")
    assert_one_sentence(impossible, 1, "no architecture can keep the limit of 0.1 ms: the least possible is 0.2")
    assert_one_sentence(searcher("darts"), 2, "a search takes --lut FILE, or --predictor FILE, and --output RUN")
    assert_one_sentence(searcher(*search, "--max-latency-ms", "3:pi.json"), 2, "none of the files of --lut")
    assert_one_sentence(searcher(*search, "--max-latency-ms", "fast"), 2, "takes MS or MS:FILE, such as")
    assert_one_sentence(searcher(*search, "--space", "darts"), 2, "the table is of the space 'nasbench201'")
    assert_one_sentence(searcher(*search, "--control", "will"), 2, "--control takes prices, operations, scalar")
    assert_one_sentence(searcher(*search, "--device", "abacus"), 2, "torch knows no device 'abacus'")
    other = tmp_path / "other.json"
    other.write_bytes(TABLE.read_bytes())
    two = searcher(*search, "--lut", other, "--max-latency-ms", "3")
    assert_one_sentence(two, 2, "there are 2 devices: say --max-latency-ms 3:FILE")
    assert_one_sentence(searcher("darts", "family", "nowhere"), 2, "nowhere holds no differentiable search")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_damaged_state_is_refused(unbroken: Path, searcher: Run, tmp_path: Path) -> None:
    for file in unbroken.rglob("*.json*"):
        copy = tmp_path / "run" / file.relative_to(unbroken)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (tmp_path / "run" / "state.pt").write_bytes((unbroken / "state.pt").read_bytes()[:1000])
    assert_one_sentence(searcher("darts", "family", "run"), 2, "is not a state of a search: torch cannot read it")
    (tmp_path / "run" / "state.pt").unlink()
    assert_one_sentence(searcher("darts", "family", "run"), 2, "has not done an epoch")
