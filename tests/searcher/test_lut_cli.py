"""`searcher lut merge | diff | validate | export | import`: exit statuses, sentences, and what is written."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.network_latencies import NETWORKS_DOCUMENT
from tests.searcher.builders import KEY
from tests.searcher.command_line import Run, assert_one_sentence
from tests.searcher.measured_tables import BLOCKS, by_place, measured_table
from tests.searcher.test_hw_nas_bench import CELLS, benchmark
from tests.searcher.test_lut_import import PROXYLESS


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Two whole tables; in the second one block takes twice as long."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    measured_table(one)
    measured_table(two, lambda block: by_place(block) * (2 if block == BLOCKS[3] else 1))
    return one, two


def test_diff_tells_the_block_and_takes_an_exit_status_only_if_asked(searcher: Run, tables: tuple[Path, Path]) -> None:
    outcome = searcher("lut", "diff", *tables)
    assert outcome.status == 0
    assert "1 of 20 blocks changed beyond their intervals, 19 did not, 0 cannot be decided" in outcome.out
    assert BLOCKS[3] in outcome.out
    assert "+100.00" in outcome.out
    assert "no drift of all blocks together" in outcome.out
    assert BLOCKS[4] not in outcome.out
    failed = searcher("lut", "diff", *tables, "--exit-code")
    assert_one_sentence(failed, 1, "the tables differ: 1 blocks changed beyond their intervals")
    assert searcher("lut", "diff", tables[0], tables[0], "--exit-code").status == 0


def test_diff_as_json(searcher: Run, tables: tuple[Path, Path]) -> None:
    outcome = searcher("lut", "diff", *tables, "--json", "--exit-code")
    assert outcome.status == 1
    plain = json.loads(outcome.out)
    assert plain["changed"] == [BLOCKS[3]]
    assert (plain["drifted"], plain["key"], plain["sentinel_ratio"]) == (False, [], 1.0)


def test_merge_writes_a_table_that_is_whole_and_valid(searcher: Run, tmp_path: Path) -> None:
    measured_table(tmp_path / "a.json", blocks=BLOCKS[:5])
    measured_table(tmp_path / "b.json", blocks=BLOCKS[4:])
    outcome = searcher("lut", "merge", "a.json", "b.json", "--out", "whole.json")
    assert outcome.status == 0, outcome.err
    assert "wrote whole.json: 20 blocks of 2 tables" in outcome.out
    assert searcher("lut", "validate", "whole.json").status == 0
    shown = searcher("lut", "show", "whole.json")
    assert "merged from a.json (5), b.json (15)" in shown.out
    assert_one_sentence(searcher("lut", "merge", "a.json", "b.json", "--out", "whole.json"), 2, "is there already")
    assert_one_sentence(searcher("lut", "merge", "a.json", "b.json", "--out", "a.json"), 2, "would replace the input")
    again = searcher("lut", "merge", "a.json", "b.json", "--out", "whole.json", "--overwrite", "--json")
    assert json.loads(again.out)["provenance"]["merged_from"][0]["file"] == "a.json"


def test_merge_refuses_keys_and_overlaps_and_writes_nothing(searcher: Run, tables: tuple[Path, Path]) -> None:
    outcome = searcher("lut", "merge", *tables, "--out", "whole.json")
    assert_one_sentence(outcome, 2, f"have different entries for {BLOCKS[3]}: say which to take with --prefer")
    assert searcher("lut", "merge", *tables, "--prefer", "last", "--out", "last.json").status == 0
    told = searcher("lut", "merge", *tables, "--prefer", "first", "--out", "first.json").out
    assert f"intervals of 1 blocks do not overlap in all tables: {BLOCKS[3]}" in told
    changed = replace(TABLE_DOCUMENT.load(tables[1]), key=replace(KEY, threads=2))
    TABLE_DOCUMENT.save(changed, tables[1])
    outcome = searcher("lut", "merge", *tables, "--out", "whole.json")
    assert_one_sentence(outcome, 2, "two.json does not mix with")
    assert "threads was 1, is 2" in outcome.err
    assert not Path("whole.json").exists()


def test_validate_prints_a_line_a_finding_and_fails_on_errors(searcher: Run, tables: tuple[Path, Path]) -> None:
    one, two = tables
    assert searcher("lut", "validate", *tables).out.splitlines() == [
        f"{one}: nothing to complain about",
        f"{two}: nothing to complain about",
    ]
    journal_path(one).unlink()
    with journal_path(two).open("a") as journal:
        journal.write("\n")
    outcome = searcher("lut", "validate", *tables, "none.json")
    assert_one_sentence(outcome, 1, f"2 of 3 tables have errors, the first is {two}")
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"{one}: warning: ")
    assert lines[1].startswith(f"{two}: error: ")
    assert lines[2] == "none.json: error: cannot read the lookup table none.json: No such file or directory"
    plain = json.loads(searcher("lut", "validate", *tables, "--json").out)
    assert [(table["valid"], len(table["errors"]), len(table["warnings"])) for table in plain["tables"]] == [
        (True, 0, 1),
        (False, 1, 0),
    ]


def test_names_in_a_file_do_nothing_to_the_terminal(searcher: Run, tables: tuple[Path, Path]) -> None:
    one, two = tables
    odd = TABLE_DOCUMENT.load(two)
    entries = {**odd.entries, "\x1b[2J\nodd": odd.entries[BLOCKS[0]]}
    TABLE_DOCUMENT.save(replace(odd, entries=entries, space="\x1b[2J"), two)
    for command in (("validate", two), ("diff", one, two)):
        out = searcher("lut", *command).out
        assert "\x1b" not in out
        assert "odd" in out
    assert f"{two}: error: the key '\\x1b[2J\\nodd' holds control characters" in searcher("lut", "validate", two).out


def test_a_table_goes_to_csv_and_back(searcher: Run, tables: tuple[Path, Path]) -> None:
    one, _ = tables
    assert "wrote one.csv: 20 rows" in searcher("lut", "export", one, "--out", "one.csv").out
    assert_one_sentence(searcher("lut", "export", one, "--out", "one.csv"), 2, "one.csv is there already")
    assert_one_sentence(searcher("lut", "export", one, "--out", "one.txt"), 2, "takes FILE.csv or FILE.parquet")
    outcome = searcher("lut", "import", "one.csv", "--format", "csv", "--out", "back.json")
    assert outcome.out == "wrote back.json: latencies of 20 blocks of nasbench201 on local\n"
    assert TABLE_DOCUMENT.load(Path("back.json")).entries == TABLE_DOCUMENT.load(one).entries
    assert searcher("lut", "diff", one, "back.json", "--exit-code").status == 0


def test_imports_of_every_kind(searcher: Run) -> None:
    Path("pixel.yaml").write_text(PROXYLESS)
    Path("networks.csv").write_text(f"architecture,pi_ms\n{CELLS[0]},1.5\n")
    Path("bench.pickle").write_bytes(pickle.dumps(benchmark()))
    outcome = searcher("lut", "import", "pixel.yaml", "--format", "mobile-yaml", "--out", "a.json")
    assert outcome.out == "wrote a.json: latencies of 3 blocks of imported-proxylessnas on pixel\n"
    shown = searcher("lut", "show", "a.json").out
    assert "imported-proxylessnas on pixel: nothing is known of how it was measured" in shown
    assert "imported from pixel.yaml (mobile-yaml): mean or median figures" in shown
    assert "none was told" in shown
    outcome = searcher("lut", "import", "networks.csv", "--format", "networks-csv", "--out", "b.json", "--json")
    assert json.loads(outcome.out)["networks"][CELLS[0]]["median_ms"] == 1.5
    choices = ("--format", "hw-nas-bench", "--column", "raspi4_latency")
    outcome = searcher("lut", "import", "bench.pickle", *choices, "--out", "c.json")
    assert outcome.out == "wrote c.json: latencies of 5 networks of nasbench201 on raspi4\n"
    assert len(NETWORKS_DOCUMENT.load(Path("c.json")).networks) == 5
    outcome = searcher("lut", "import", "bench.pickle", *choices, "--space", "fbnet", "--out", "d.json")
    assert outcome.out == "wrote d.json: latencies of 3 blocks of imported-hw-nas-bench-fbnet on raspi4\n"


def test_an_import_that_is_refused_writes_nothing(searcher: Run, tmp_path: Path) -> None:
    Path("bad.pickle").write_bytes(b"cos\nsystem\n(S'touch it-ran'\ntR.")
    outcome = searcher("lut", "import", "bad.pickle", "--format", "hw-nas-bench", "--column", "x", "--out", "o/t.json")
    assert_one_sentence(outcome, 2, "it asks for 'os.system', and only numpy's arrays and plain containers are read")
    assert [one.name for one in tmp_path.iterdir()] == ["bad.pickle"]
    outcome = searcher("lut", "import", "bad.pickle", "--format", "odd", "--out", "t.json")
    assert_one_sentence(outcome, 2, "--format takes csv, networks-csv, mobile-yaml, hw-nas-bench, not 'odd'")
