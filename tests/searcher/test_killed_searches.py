"""A search that is killed, as the command, and goes on: its result is that of one that nobody killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher.networks.resnet import ResNet20
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path, partial_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from tests.searcher.builders import table
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.dying_command import run_until_killed

SPACE = NasBench201()
SCORED = ("--no-keep-scores", "--score-cells", "1", "--steps", "1", "--batch-size", "8")
SIZES = (*SCORED, "--population", "4", "--generations", "3", "--seed", "5")
LONGEST_S = 900.0
FIRST_MEASURED = ("searcher.search.run_journal", "RunJournal", "keep")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table and the weights of a ResNet-20 that has learnt nothing."""
    TABLE_DOCUMENT.save(table(SPACE, lambda block: 0.1 + len(block.key) / 1000), tmp_path / "lut.json")
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(0))
    torch.save(model.state_dict(), tmp_path / "reference.pt")
    return tmp_path


def arguments(out: str, *more: str) -> list[str]:
    return ["search", "--lut", "lut.json", "--reference", "reference.pt", "--out", out, *SIZES, *more]


def command(out: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "searcher.cli", *arguments(out, *more)]


def run(folder: Path, out: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *more), cwd=folder, capture_output=True, text=True, timeout=LONGEST_S)


def kill(folder: Path, is_time: Callable[[], bool], out: str, *more: str) -> bool:
    """Kill a search when it is time; False if it was done before."""
    with subprocess.Popen(command(out, *more), cwd=folder, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not is_time():
            time.sleep(0.005)
        process.kill()
        return process.wait() != 0


def measured(out: Path) -> int:
    """How many measurements an unfinished search has on the disk."""
    partial = partial_path(journal_path(out))
    return partial.read_bytes().count(b'{"event":"measured"') if partial.exists() else 0


def holds(out: Path, count: int) -> bool:
    return measured(out) >= count


def is_past(moment_s: float) -> bool:
    return time.monotonic() >= moment_s


def found(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a search found, and what it spent; the file is that of no other content, byte for byte."""
    text = out.read_text(encoding="utf-8")
    document = json.loads(text)
    assert json.dumps(document, indent=2, ensure_ascii=False) + "\n" == text
    return document, document.pop("spent")


def test_a_killed_search_goes_on_and_ends_like_an_unbroken_one(folder: Path, searcher: Run) -> None:
    out = folder / "killed.json"
    run_until_killed(FIRST_MEASURED, 1, arguments(out.name), folder)
    assert measured(out) >= 1
    assert not out.exists()
    held = measured(out)
    # What needs no process of its own runs in this one.
    said = f"holds an unfinished search (measurements: {held}): go on with --resume, or remove it"
    assert_one_sentence(searcher(*arguments(out.name)), 2, said)
    assert measured(out) == held
    resumed = run(folder, out.name, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on with the search of {out.name}.journal.jsonl (generations: " in resumed.stderr
    assert searcher(*arguments("unbroken.json")).status == 0
    unbroken, spent = found(folder / "unbroken.json")
    again, spent_again = found(out)
    assert json.dumps(again) == json.dumps(unbroken)
    assert (spent["sessions"], spent_again["sessions"]) == (1, 2)
    assert len(spent_again["generation_s"]) == len(spent["generation_s"]) == 4
    assert not partial_path(journal_path(out)).exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_many_moments_a_search_ends_like_an_unbroken_one(folder: Path, seed: int) -> None:
    moments = random.Random(seed)
    began_s = time.monotonic()
    assert run(folder, "unbroken.json").returncode == 0
    taken_s = time.monotonic() - began_s
    unbroken, _ = found(folder / "unbroken.json")
    out = folder / "killed.json"
    kills = 0
    while kills < 12:
        if moments.random() < 0.5:
            # Anywhere, while it starts too.
            is_time = partial(is_past, time.monotonic() + moments.uniform(0, taken_s))
        else:
            # Where measurements are written.
            is_time = partial(holds, out, measured(out) + moments.randint(1, 4))
        killed = kill(folder, is_time, out.name, "--resume")
        kills += killed
        if not killed:
            assert json.dumps(found(out)[0]) == json.dumps(unbroken)
            out.unlink()
            journal_path(out).unlink()
    assert run(folder, out.name, "--resume").returncode == 0
    again, _ = found(out)
    assert json.dumps(again) == json.dumps(unbroken)


@pytest.mark.slow
def test_a_search_for_something_else_does_not_go_on(folder: Path) -> None:
    out = folder / "killed.json"
    run_until_killed(FIRST_MEASURED, 1, arguments(out.name), folder)
    assert measured(out) >= 1
    refused = run(folder, out.name, "--resume", "--seed", "6")
    assert refused.returncode == 2
    assert "holds a search for something else: " in refused.stderr
    assert "seed was 5, is 6; give the same options as then, or remove it" in refused.stderr
    assert refused.stderr.strip().splitlines()[-1].startswith("searcher: ")
