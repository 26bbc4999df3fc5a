"""The benchmark of table look-ups: what it prints, and that it ends where the two roads disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.table_lookup import DisagreementError, encodings, made_up_table, require_agreement
from searcher.spaces.catalogue import SPACES, space_named

ROOT = Path(__file__).resolve().parents[1]


def test_both_roads_of_every_space_are_timed_on_one_core_and_agree() -> None:
    arguments = ["--batch", "200", "--one-at-a-time", "20", "--repetitions", "2"]
    command = [sys.executable, "-m", "benchmarks.table_lookup", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert set(told["spaces"]) == {*SPACES, "nasbench201, ReLUs fused"}
    figures = told["spaces"].values()
    assert told["architectures_per_second"] == min(one["architectures_per_second"] for one in figures) > 0
    for one in figures:
        slowest, fastest = one["slowest_batch_per_second"], one["fastest_batch_per_second"]
        assert slowest <= one["architectures_per_second"] <= fastest
        assert 0 <= one["largest_relative_difference"] < 1e-12
        assert one["one_at_a_time_per_second"] > 0
    assert told["machine"]["usable_processors"] == 1
    assert told["settings"]["threads"]["OPENBLAS_NUM_THREADS"] == "1"


def test_a_disagreement_is_no_result() -> None:
    require_agreement("nasbench201", 1e-15)
    for difference in (1e-6, float("nan")):
        with pytest.raises(DisagreementError, match="nasbench201"):
            require_agreement("nasbench201", difference)


@pytest.mark.parametrize("name", SPACES)
def test_encodings_are_of_the_space_and_entries_positive(name: str) -> None:
    space, generator = space_named(name), np.random.default_rng(3)
    drawn = encodings(space, 50, generator)
    assert len(np.unique(drawn, axis=0)) > 45
    assert (space.block_counts(drawn).sum(axis=1) > 0).all()
    entries = made_up_table(space, generator).entries
    assert set(entries) == {block.key for block in space.all_blocks()}
    assert len({entry.median_ms for entry in entries.values()}) == len(entries)
