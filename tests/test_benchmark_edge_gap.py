"""The benchmark of the edge-additive model's gap: what it says of a table, and that it refuses what is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.edge_gap import all_or_some, gap_of
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from tests.searcher.builders import table

ROOT = Path(__file__).resolve().parents[1]
SPACE = NasBench201()
# What nothing but the skeleton costs, both models price alike.
SKELETON_ONLY = table(SPACE, lambda block: 2.0 if block in (SPACE.stem, SPACE.head) else 1.0)
ADDS_TOO = table(SPACE, lambda block: 2.0 if block in (SPACE.stem, SPACE.head) or block.operation == "add" else 1.0)


def run(*tables: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.edge_gap", *map(str, tables)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_of_a_small_space_all_architectures_are_looked_at() -> None:
    assert all_or_some(SPACE, 10, 0).shape == (15_625, 6)
    found = gap_of(SKELETON_ONLY, 10, 0)
    assert (found["architectures"], found["worst_pct"], found["spearman"]) == (15_625 - 341, pytest.approx(0.0), None)


def test_the_worst_of_several_tables_counts(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    TABLE_DOCUMENT.save(SKELETON_ONLY, paths[0])
    TABLE_DOCUMENT.save(ADDS_TOO, paths[1])
    result = run(*paths)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    worst = told["tables"][str(paths[1])]
    assert (told["worst_pct"], told["median_pct"]) == (worst["worst_pct"], worst["median_pct"])
    # Farthest off are cells whose only live edge is 0→3, nodes 1 and 2 being reached by nothing and followed all the
    # same: no add is executed where 1/2 + 3 · 2/3 are paid, in each of 15 cells, beside the call and the skeleton.
    assert told["worst_pct"] == pytest.approx(100 * 15 * (1 / 2 + 2) / 3)
    operations = SPACE.operations(SPACE.parse(worst["worst"]))
    assert (operations[:2], "none" in operations[2:]) == (("none", "none"), False)
    assert 0 < told["spearman"] < 1


def test_what_is_no_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    result = run(tmp_path / "none.json")
    assert result.returncode == 1
    assert result.stderr.startswith("benchmarks.edge_gap: ")
    assert result.stderr.count("\n") == 1
