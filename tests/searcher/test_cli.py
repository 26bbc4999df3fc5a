"""The `searcher` command: exit statuses and one clear sentence for every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.records import TableKey
from searcher.artifacts import cache_folder
from searcher.cli import application, blocks
from searcher.errors import BadInputError
from searcher.search.candidate import SEARCH_DOCUMENT, SearchResult
from searcher.search.limits import Limit
from searcher.spaces.nasbench201 import NasBench201
from searcher.spaces.survey_formulas import SURVEY, survey_flops, survey_parameters
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.profile_space import ProfileRequest
from searcher.workflows.progress import Work
from tests.searcher.builders import KEY, table
from tests.searcher.command_line import Outcome, Run, assert_one_sentence
from tests.searcher.search_parts import candidate

SPACE = NasBench201()
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@pytest.fixture
def lut(tmp_path: Path) -> Path:
    path = tmp_path / "lut.json"
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0), path)
    return path


def save_search(path: Path, key: TableKey = KEY) -> None:
    """Write a search that found one architecture."""
    found = candidate(CELL, 1.0, 1.0, key=SPACE.score_key(SPACE.parse(CELL)))
    limits = (Limit("latency", 2.0),)
    result = SearchResult(SPACE.name, 1, 1, key, limits, "rmi", "deb", {}, (found,), (CELL,), ())
    SEARCH_DOCUMENT.save(result, path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--device", "local", "--fleet", "shelf.toml"), "--device and --fleet exclude each other"),
        (("--fleet", "none.toml"), "the fleet none.toml cannot be read: No such file or directory"),
        (("--fleet", "shelf.toml", "--out", "pi.json"), "--out names a folder, not pi.json (--shard makes one)"),
        (("--device", "local", "--device", "local"), "--device local is given twice"),
        (("--device", "local", "--shard"), "--shard shares blocks between boards: name several"),
        (("--device", "local", "--device", "shelf"), "unknown device 'shelf'"),
    ],
)
def test_shelves_that_cannot_be_are_one_sentence(
    searcher: Run, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "shelf.toml").write_text('[[board]]\ndevice = "local"\n')
    outcome = searcher("profile", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shelf.toml"]


def test_blocks_of_the_space_and_of_an_architecture(searcher: Run) -> None:
    document = json.loads(searcher("blocks", "--json").out)
    assert len(document["blocks"]) == 20
    document = json.loads(searcher("blocks", CELL, "--json").out)
    assert document["parameters"] == SPACE.parameters(SPACE.parse(CELL))
    assert "relu_conv_bn-k1" in searcher("blocks", CELL).out


def test_blocks_of_the_space_are_one_column(searcher: Run) -> None:
    lines = searcher("blocks").out.splitlines()
    assert all(line.count("┃") + line.count("│") in (0, 2) for line in lines)
    assert len(lines) > 20


def test_blocks_of_an_architecture_tell_what_the_survey_prints(searcher: Run) -> None:
    cell = SPACE.parse(CELL)
    printed = json.loads(searcher("blocks", CELL, "--json").out)["survey_formulas"]
    assert printed == {
        "source": SURVEY,
        "flops": survey_flops(SPACE, cell),
        "parameters": survey_parameters(SPACE, cell),
    }
    out = searcher("blocks", CELL).out
    assert f"flops by the formulas of {SURVEY}: {printed['flops']:,}" in out
    assert f"parameters by the formulas of {SURVEY}: {printed['parameters']:,}" in out
    assert "survey_formulas" not in json.loads(searcher("blocks", "--json").out)


def test_export_writes_one_file_that_holds_everything(searcher: Run, tmp_path: Path) -> None:
    outcome = searcher("export", CELL, "--cells", "1", "--out", tmp_path / "net.onnx")
    assert outcome.status == 0, outcome.err
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


def test_export_tells_how_far_off_int8_is(searcher: Run, tmp_path: Path) -> None:
    for dtype, judged in (("fp32", False), ("int8", True)):
        outcome = searcher("export", CELL, "--cells", "1", "--dtype", dtype, "--out", "net.onnx", "--json")
        assert outcome.status == 0, outcome.err
        (model,) = json.loads(outcome.out)["models"]
        assert (model["numerical_error"] is not None) == judged
        assert not judged or 0.005 < model["numerical_error"] < 0.2


def test_lut_show_tells_number_type_and_error_of_a_quantised_table(searcher: Run, lut: Path, tmp_path: Path) -> None:
    assert "‖q-f‖" not in searcher("lut", "show", lut).out
    made = TABLE_DOCUMENT.load(lut)
    entries = {name: replace(entry, numerical_error=0.0312) for name, entry in made.entries.items()}
    quantised = replace(made, key=replace(KEY, precision="int8"), entries=entries)
    TABLE_DOCUMENT.save(quantised, tmp_path / "int8.json")
    out = searcher("lut", "show", "int8.json").out
    assert ", int8, " in out
    assert "‖q-f‖ ÷ ‖f‖" in out
    assert out.count("3.1e-02") == len(entries)


def test_lut_show_prints_every_block(searcher: Run, lut: Path) -> None:
    out = searcher("lut", "show", lut).out
    assert all(block.key in out for block in SPACE.all_blocks())
    assert json.loads(searcher("lut", "show", lut, "--json").out)["schema_version"] == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("blocks", "|nor_conv_9x9~0|+"), "nor_conv_9x9"),
        (("blocks", "--space", "imagenet"), "unknown search space 'imagenet'"),
        (("export", "no cell", "--out", "x.onnx"), "no cell"),
        (("profile", "--device", "usb"), "unknown device 'usb'"),
        (("profile", "--device", "ssh://pi:secret@host"), "password"),
        (("profile", "--runtime-from", "pypi"), "--runtime-from takes deploy or system, not 'pypi'"),
        (("profile", "--affinity", "first"), "--affinity takes processor numbers"),
        (("profile", "--provider", "cpu", "--require", "cuda"), "provider cpu is asked for, but cuda is required"),
        (("profile", "--provider", "cuda", "--provider-option", "x"), "--provider-option takes NAME=VALUE, not 'x'"),
        (("profile", "--identity", "missing"), "--identity missing cannot be read: No such file or directory"),
        (
            ("verify", "search.json", "--device", "ssh://pi@board", "--known-hosts", "missing"),
            "--known-hosts missing cannot be read: No such file or directory",
        ),
        (("profile", "--cluster", "big"), "--cluster takes fastest, slowest, all, not 'big'"),
        (("profile", "--max-temperature-c", "-1"), "--max-temperature-c takes a positive number"),
        (("profile", "--device", "raspberry-pi-4", "--profile", "local"), "--profile goes with"),
        (("profile", "--device", "ssh://pi@board", "--profile", "nothing"), "unknown profile 'nothing'"),
        (("profile", "--ssh-config", "missing"), "--ssh-config missing cannot be read"),
        (("profile", "--dtype", "int4"), "unknown number type 'int4'; choose one of fp32, fp16, int8"),
        (("profile", "--dtype", "int8", "--data", "mnist"), "unknown data 'mnist'"),
        (("export", "--dtype", "bf16", "--out", "x"), "unknown number type 'bf16'"),
        (("export", "--dtype", "int8", "--data", "cifar10:missing", "--out", "x"), "there is no CIFAR-10 data"),
        (("lut", "show", "missing.json"), "cannot read the lookup table missing.json"),
        (("lut", "show", "list.json"), "list.json is no lookup table: it holds no JSON object"),
        (("lut", "show", "empty.json"), "empty.json is no lookup table: it has no schema version"),
        (("search", "--lut", "missing.json"), "cannot read the lookup table missing.json"),
        (("verify", "missing.json"), "cannot read the search result missing.json"),
        (
            ("search", "--lut", "lut.json", "--max-latency-ms", "nan"),
            "--max-latency-ms takes a positive number, not nan",
        ),
        (
            ("search", "--lut", "lut.json", "--max-latency-ms", "inf"),
            "--max-latency-ms takes a positive number, not inf",
        ),
        (("search", "--lut", "lut.json", "--max-latency-ms", "0"), "--max-latency-ms takes a positive number, not 0"),
        (("search", "--lut", "lut.json", "--max-latency-ms", "-1"), "--max-latency-ms takes a positive number, not -1"),
        (("search", "--lut", "lut.json", "--budget-s", "nan"), "--budget-s takes a positive number, not nan"),
        (("profile", "--budget-s", "-3"), "--budget-s takes a positive number, not -3"),
        (("demo", "--budget-s", "inf"), "--budget-s takes a positive number, not inf"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    searcher: Run, tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty.json").write_text("{}")
    save_search(tmp_path / "search.json")
    assert_one_sentence(searcher(*arguments), 2, part)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--limit", "fast"), "--limit takes QUANTITY=NUMBER or QUANTITY:FILE=NUMBER"),
        (("--limit", "flops=few"), "QUANTITY:FILE=NUMBER, not 'flops=few'"),
        (("--limit", "price=3"), "flops, parameters, not on 'price'"),
        (("--limit", "flops=-1"), "a positive number of MFLOPs, not -1"),
        (("--limit", "latency=3"), "takes the file that prices it"),
        (("--limit", "flops:lut.json=3"), "it takes no file"),
        (("--limit", "energy=3"), "lut.json tells no energy of identity"),
        (("--limit", "latency:no.json=3"), "cannot read the lookup table no.json"),
        (("--penalty", "none"), "--penalty takes one of deb, paper, reject, not 'none'"),
    ],
)
def test_limits_that_cannot_be_are_one_sentence(
    searcher: Run, lut: Path, arguments: tuple[str, ...], part: str
) -> None:
    assert_one_sentence(searcher("search", "--lut", lut.name, *arguments), 2, part)


def test_limits_that_nothing_keeps_are_answered_before_any_data_is_read(searcher: Run, lut: Path) -> None:
    asked = ("search", "--lut", lut.name, "--data", "cifar10:nowhere")
    outcome = searcher(*asked, "--limit", "parameters=0.05")
    assert_one_sentence(outcome, 1, "on parameters of 0.05 M: the least possible is 0.0733 M")
    assert_one_sentence(searcher(*asked, "--limit", "parameters=0.08"), 2, "nowhere")


@pytest.mark.parametrize("place", ["folder", "file/t.json", "/proc/t.json"])
@pytest.mark.parametrize("command", [("profile",), ("search", "--lut", "lut.json"), ("verify", "search.json")])
def test_a_result_that_cannot_be_written_is_found_at_once(
    searcher: Run, lut: Path, tmp_path: Path, command: tuple[str, ...], place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    save_search(tmp_path / "search.json")
    outcome = searcher(*command, "--out", place)
    assert_one_sentence(outcome, 2, "cannot write the")
    assert outcome.err.count("\n") == 1  # nothing was begun
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder", lut.name, "search.json"]


@pytest.mark.parametrize("out", ["file", "/proc/demo"])
def test_a_demo_that_cannot_write_says_so_at_once(searcher: Run, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    outcome = searcher("demo", "--out", out)
    assert_one_sentence(outcome, 2, "cannot write the")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("profile",), ("export", "--out", "blocks"), ("export", CELL, "--cells", "1", "--out", "net.onnx")]
)
@pytest.mark.parametrize("cache", ["/proc/cache", "file"])
def test_a_cache_that_cannot_be_written_is_one_sentence(
    searcher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], cache: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROFILER_CACHE", cache)
    outcome = searcher(*arguments)
    assert_one_sentence(outcome, 2, "cannot keep exported files in")
    assert "PROFILER_CACHE can name another folder" in outcome.err


def test_a_device_folder_that_cannot_be_written_is_one_sentence(
    searcher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The exported files are there; only the local device's own folder is not to be had.
    cache = tmp_path / "cache"
    cache.mkdir()
    before = os.environ.get("PROFILER_CACHE")
    exports = Path(before, "exports") if before else cache_folder() / "exports"
    searcher("export", "--out", tmp_path / "blocks")
    (cache / "exports").symlink_to(exports)
    (cache / "device").write_text("")
    monkeypatch.setenv("PROFILER_CACHE", str(cache))
    assert_one_sentence(searcher("profile", "--out", tmp_path / "t.json"), 1, "cache/device")


def test_profile_passes_providers_and_costs_on(searcher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ProfileRequest] = []

    def refuse(request: ProfileRequest) -> Work[LookupTable]:
        asked.append(request)
        raise BadInputError("no device here")

    monkeypatch.setattr("searcher.cli.profile.profile_space", refuse)
    searcher("profile")
    searcher("profile", "--provider", "cuda", "--provider-option", "device_id=1", "--require", "cuda", "--no-costs")
    first, second = (request.settings for request in asked)
    assert (first.asked_provider, first.costs) == (None, True)
    assert (second.provider, second.provider_options, second.require, second.costs) == (
        "cuda",
        {"device_id": "1"},
        "cuda",
        False,
    )


def test_lut_show_tells_the_costs_that_are_known(searcher: Run, tmp_path: Path) -> None:
    plain = table(SPACE, lambda _block: 1.0)
    key, entry = next(iter(plain.entries.items()))
    known = replace(entry, peak_memory_bytes=2_500_000, file_bytes=1500, energy_mj=3.14159)
    TABLE_DOCUMENT.save(plain, tmp_path / "plain.json")
    TABLE_DOCUMENT.save(replace(plain, entries={**plain.entries, key: known}), tmp_path / "costs.json")
    assert "peak memory" not in searcher("lut", "show", "plain.json").out
    shown = searcher("lut", "show", "costs.json").out
    assert all(text in shown for text in ("peak memory MB", "2.50", "file kB", "1.5", "energy mJ", "3.14"))


def test_profile_passes_tuning_on(searcher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ProfileRequest] = []

    def refuse(request: ProfileRequest) -> Work[LookupTable]:
        asked.append(request)
        raise BadInputError("no device here")

    monkeypatch.setattr("searcher.cli.profile.profile_space", refuse)
    assert_one_sentence(searcher("profile", "--tune"), 2, "no device here")
    assert_one_sentence(searcher("profile"), 2, "no device here")
    assert [request.settings.tune for request in asked] == [True, False]


def test_lut_show_tells_a_tuned_machine(searcher: Run, tmp_path: Path) -> None:
    TABLE_DOCUMENT.save(table(SPACE, lambda _block: 1.0, replace(KEY, tuning="governor")), tmp_path / "lut.json")
    assert "tuned (governor)" in searcher("lut", "show", "lut.json").out


def test_an_impossible_affinity_in_a_search_is_one_sentence(searcher: Run, tmp_path: Path) -> None:
    save_search(tmp_path / "search.json", replace(KEY, affinity="big"))
    assert_one_sentence(searcher("verify", "search.json"), 2, "the affinity 'big'")


def test_a_table_without_times_is_one_sentence(searcher: Run, lut: Path) -> None:
    lut.write_text(lut.read_text().replace('"median_ms": 1.0', '"median_ms": 0'))
    assert_one_sentence(searcher("lut", "show", lut), 2, "a median latency is positive, not 0.0 ms")


def test_a_table_of_absurd_times_is_one_sentence(searcher: Run, lut: Path) -> None:
    lut.write_text(lut.read_text().replace('"median_ms": 1.0', '"median_ms": 1e308'))
    assert_one_sentence(searcher("lut", "show", lut), 2, "no block takes 1e+308 ms")


def test_what_nobody_thought_of_is_one_sentence_too(searcher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> NasBench201:
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr(blocks, "space_named", defect)
    expected = "searcher: unexpected ZeroDivisionError: float division by zero; --verbose shows where\n"
    assert searcher("blocks") == Outcome(1, "", expected)
    with pytest.raises(ZeroDivisionError):
        application.run(["--verbose", "blocks"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_lacks_signs_gets_others(lut: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for options in ((), ("--json",)):
        command = [sys.executable, "-m", "searcher.cli", "lut", "show", str(lut), *options]
        result = subprocess.run(command, capture_output=True, timeout=60, env=environment)
        assert result.returncode == 0, result.stderr
        assert SPACE.stem.key.encode() in result.stdout


def test_json_keeps_every_sign_whatever_the_output(lut: Path) -> None:
    whole = TABLE_DOCUMENT.load(lut)
    TABLE_DOCUMENT.save(replace(whole, provenance=replace(whole.provenance, device="größe …")), lut)
    command = [sys.executable, "-m", "searcher.cli", "lut", "show", str(lut), "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, timeout=60, env=environment)
    assert json.loads(result.stdout)["provenance"]["device"] == "größe …"


def test_an_unknown_runtime_is_refused_by_the_device(searcher: Run, tmp_path: Path) -> None:
    outcome = searcher("profile", "--runtime", "abacus", "--out", tmp_path / "t.json")
    assert_one_sentence(outcome, 2, "unknown runtime 'abacus'")
    assert not (tmp_path / "t.json").exists()


def test_an_unreachable_host_is_status_1(searcher: Run) -> None:
    assert_one_sentence(searcher("profile", "--device", "ssh://pi@127.0.0.1:1"), 1, "127.0.0.1")


def test_a_limit_that_none_can_keep_is_answered_with_the_least(searcher: Run, lut: Path, tmp_path: Path) -> None:
    outcome = searcher("search", "--lut", lut, "--max-latency-ms", "0.5", "--out", tmp_path / "s.json")
    assert_one_sentence(outcome, 1, "the least possible is 1.0000 ms")
    assert not (tmp_path / "s.json").exists()


def test_an_output_never_replaces_the_input(searcher: Run, lut: Path) -> None:
    before = lut.read_bytes()
    assert_one_sentence(searcher("search", "--lut", lut, "--out", lut), 2, "would replace the input")
    assert lut.read_bytes() == before


def test_a_table_that_lacks_a_block_is_refused(searcher: Run, lut: Path) -> None:
    whole = TABLE_DOCUMENT.load(lut)
    entries = {key: entry for key, entry in whole.entries.items() if key != SPACE.stem.key}
    TABLE_DOCUMENT.save(replace(whole, entries=entries), lut)
    assert_one_sentence(searcher("search", "--lut", lut), 2, f"the table lacks {SPACE.stem.key}")


def test_profile_never_replaces_a_table_of_another_key(searcher: Run, lut: Path) -> None:
    assert KEY.device_fingerprint == "x86_64-0"  # no real machine's
    before = lut.read_bytes()
    outcome = searcher("profile", "--out", lut, "--rounds", "1", "--samples", "1")
    assert_one_sentence(outcome, 2, "device_fingerprint was 'x86_64-0'")
    assert f"--overwrite replaces {lut}" in outcome.err
    assert lut.read_bytes() == before


def test_profile_refuses_to_replace_what_is_no_table(searcher: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    assert_one_sentence(searcher("profile", "--out", tmp_path / "notes.txt"), 2, "no lookup table")
    assert (tmp_path / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("nonsense",),
        ("search",),
        ("search", "--steps", "0"),
        ("search", "--lut", "lut.json", "--seed", "-1"),
        ("search", "--lut", "lut.json", "--seed", str(2**63)),
        ("demo", "--seed", "-1"),
        ("demo", "--budget-s", "1"),
    ],
)
def test_wrong_use_is_status_2(searcher: Run, arguments: tuple[str, ...]) -> None:
    assert searcher(*arguments).status == 2


def test_help_is_quick_and_names_every_command() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "searcher.cli", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert all(name in result.stdout for name in ("profile", "search", "verify", "lut", "demo"))
    assert " torch" not in result.stderr


def test_verbose_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "searcher.cli", "--verbose", "lut", "show", "missing.json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" in result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_output_that_takes_nothing_is_one_sentence(lut: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "searcher.cli", "lut", "show", str(lut), *options]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    expected = "searcher: cannot write the results: no space is left where they go\n"
    assert (result.returncode, result.stderr) == (1, expected)


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_outputs_are_no_defect(lut: Path, closed: str) -> None:
    command = [sys.executable, "-m", "searcher.cli", "lut", "show", str(lut)]
    result = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")


def test_profile_says_that_one_round_always_runs(searcher: Run) -> None:
    assert "after the first" in " ".join(searcher("profile", "--help").out.split())
