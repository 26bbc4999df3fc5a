"""The offline road: a job that is carried to a device, measured there by the agent in its folder, and carried back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler_agent.records import Settings
from searcher.artifacts import sha256_of
from searcher.cli import show
from searcher.devices.answers import MeasurementFailedError
from searcher.errors import BadInputError
from searcher.history.history import History
from searcher.history.job_record import State
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT, KeyMismatchError, LookupTable
from searcher.tables.plan import Plan
from searcher.workflows.jobs import attach_job, cancel_job, rebuild_table
from searcher.workflows.make_table import Target
from searcher.workflows.offline import MANIFEST_DOCUMENT, export_job, import_job
from searcher.workflows.profile_space import plan_job

SPACE = NasBench201()
SETTINGS = Settings(rounds=2, samples=2, costs=False)


pytestmark = pytest.mark.usefixtures("history")


def new_plan(settings: Settings = SETTINGS) -> Plan:
    return show.run(plan_job(SPACE, "the board in the cellar", settings, None, "digits"))


def agent(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the agent of the folder as README.txt says, where nothing else of the project can be imported."""
    instructions = (folder / "README.txt").read_text()
    (command,) = [line.strip() for line in instructions.splitlines() if "profiler_agent" in line]
    assert command == "PYTHONPATH=agent python3 -m profiler_agent measure ."
    arguments = [sys.executable, *command.split()[2:]]
    environment = {**os.environ, "PYTHONPATH": "agent"}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was measured by its own agent, and the history that it was exported with."""
    place = tmp_path_factory.mktemp("offline")
    folder = place / "stick"
    export_job(new_plan(), folder, History(place / "history.sqlite"))
    # The agent is the folder's own: carried to where nothing else of the project is.
    done = agent(folder)
    assert done.returncode == 0, done.stderr
    assert "wrote journal.jsonl: carry it back, and `searcher job import` reads it" in done.stderr
    return folder


@pytest.fixture
def carried(measured: Path, tmp_path: Path) -> Path:
    """A copy of the measured folder, to be spoilt."""
    return Path(shutil.copytree(measured, tmp_path / "stick"))


def imported(source: Path, table: Path, history: History, *, overwrite: bool = False) -> LookupTable:
    return show.run(import_job(source, Target(table, overwrite), history))


def test_the_folder_holds_all_that_the_device_needs(tmp_path: Path, history: History) -> None:
    plan = new_plan()
    export_job(plan, tmp_path / "stick", history)
    manifest = MANIFEST_DOCUMENT.load(tmp_path / "stick" / "manifest.json")
    assert {name: sha256_of(tmp_path / "stick" / name) for name in manifest.files} == manifest.files
    listed = {path.relative_to(tmp_path / "stick").as_posix() for path in (tmp_path / "stick").rglob("*.*")}
    assert listed - {"manifest.json"} == set(manifest.files)
    assert "with numpy and onnxruntime." in (tmp_path / "stick" / "README.txt").read_text()
    assert {"job.json", "README.txt", "agent/profiler_agent/__main__.py"} < set(manifest.files)
    assert [(one.name, one.sha256) for one in manifest.plan.models] == [(one.name, one.sha256) for one in plan.models]
    assert (manifest.plan.versions, manifest.plan.calibration) == (plan.versions, plan.calibration)
    record = history.find(plan.job_id)
    assert (record.state, record.table) == (State.EXPORTED, None)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, history: History) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "precious").touch()
    for place in (tmp_path / "stick", tmp_path / "stick" / "precious"):
        with pytest.raises(BadInputError, match="is not empty: an exported job gets a folder of its own"):
            export_job(new_plan(), place, history)
    assert [one.name for one in tmp_path.iterdir() if one.name != "history.sqlite"] == ["stick"]
    assert history.jobs() == []


def test_what_comes_back_is_the_table_that_profile_would_have_made(
    measured: Path, tmp_path: Path, history: History
) -> None:
    table = imported(measured, tmp_path / "pi.json", history)
    assert TABLE_DOCUMENT.load(tmp_path / "pi.json") == table
    assert set(table.entries) == {block.key for block in SPACE.all_blocks()}
    assert table.provenance.device == "the board in the cellar"
    assert table.provenance.versions["torch"]
    assert table.provenance.journal_sha256 == sha256_of(journal_path(tmp_path / "pi.json"))
    plan = MANIFEST_DOCUMENT.load(measured / "manifest.json").plan
    assert {one.model_sha256 for one in table.entries.values()} == {one.sha256 for one in plan.models}
    record = history.find(plan.job_id)
    assert (record.state, record.table) == (State.FINISHED, tmp_path / "pi.json")
    show.run(rebuild_table(record, tmp_path / "again.json", history))
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "pi.json").read_bytes()


def test_the_journal_alone_is_enough_where_the_job_was_exported(
    measured: Path, carried: Path, tmp_path: Path, history: History
) -> None:
    (carried / "manifest.json").unlink()
    with pytest.raises(BadInputError, match="was not exported from here: import its whole folder, with the manifest"):
        imported(carried / "journal.jsonl", tmp_path / "pi.json", history)
    at_home = History(measured.parent / "history.sqlite")
    table = imported(carried / "journal.jsonl", tmp_path / "pi.json", at_home)
    assert len(table.entries) == 20


def first_line(change: Callable[[dict[str, object]], None]) -> Callable[[list[str]], list[str]]:
    def spoil(lines: list[str]) -> list[str]:
        job = json.loads(lines[0])
        change(job)
        return [json.dumps(job), *lines[1:]]

    return spoil


def replaced(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line.replace(old, new, 1) for line in lines]


def without_one_block(lines: list[str]) -> list[str]:
    block = json.loads(lines[0])["blocks"][0]["block_id"]
    return [lines[0], *(line for line in lines[1:] if block not in line)]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda lines: lines[:-1], r"the journal \S+ ended before its job was done"),
        (lambda lines: lines[: len(lines) // 2], "ended before its job was done"),
        (lambda lines: [*lines[:-1], lines[-1][:40]], "sent what is no record"),
        (lambda lines: [], r"the journal \S+ is empty: it was not carried back whole"),
        (lambda lines: ["", *lines], "is no journal of an agent: not a JSON object"),
        (lambda lines: lines[1:], "is no journal of an agent: job lacks the field 'blocks'"),
        (lambda lines: [lines[0], *lines[2:]], "its `hello` is missing"),
        (first_line(lambda job: job.update(schema_version=99)), "job has schema version '99'"),
        (lambda lines: [lines[0], *replaced('"schema_version":1', '"schema_version":99')(lines[1:])], "schema version"),
        (first_line(lambda job: job.update(job_id="0" * 32)), "is the journal of another job than the manifest"),
        (first_line(lambda job: job["settings"].update(threads=8)), "threads was 1, is 8"),  # type: ignore[attr-defined]
        (first_line(lambda job: job["blocks"].pop()), "its models have changed"),  # type: ignore[attr-defined]
        (first_line(lambda job: job["blocks"][0].update(sha256="00")), "its models have changed"),  # type: ignore[index]
        (lambda lines: [lines[0], *replaced('"job_id":"', '"job_id":"x')(lines[1:])], "answers for another job"),
        (lambda lines: [lines[0], *replaced('"samples":2', '"samples":3')(lines[1:])], "measured with other settings"),
        (replaced('"samples_ns":[', '"samples_ns":[-5,'), "a sample is missing or not positive"),
        (lambda lines: [*lines, lines[-2]], "it goes on after `done`"),
        (lambda lines: [*lines[:5], "\x1b[2J" + "x" * 300, *lines[5:]], "sent what is no record"),
        (lambda lines: [*lines[:5], "x" * (17 << 20), *lines[5:]], "a line longer than"),
    ],
)
def test_a_journal_that_does_not_fit_is_one_sentence(
    carried: Path, tmp_path: Path, history: History, spoil: Callable[[list[str]], list[str]], complaint: str
) -> None:
    journal = carried / "journal.jsonl"
    journal.write_text("".join(f"{line}\n" for line in spoil(journal.read_text().splitlines())))
    with pytest.raises(BadInputError, match=complaint) as caught:
        imported(carried, tmp_path / "pi.json", history)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    # Nothing of it was kept anywhere.
    assert not list(tmp_path.glob("pi.json*"))
    assert history.jobs() == []


def test_a_journal_that_leaves_a_block_out_makes_no_table(carried: Path, tmp_path: Path, history: History) -> None:
    journal = carried / "journal.jsonl"
    journal.write_text("\n".join(without_one_block(journal.read_text().splitlines())) + "\n")
    with pytest.raises(MeasurementFailedError, match="was not measured, and nobody said why"):
        imported(carried, tmp_path / "pi.json", history)
    assert not (tmp_path / "pi.json").exists()


def test_folders_without_a_finished_journal_are_told_apart(carried: Path, tmp_path: Path, history: History) -> None:
    (carried / "journal.jsonl").rename(carried / "journal.jsonl.partial")
    with pytest.raises(BadInputError, match="is not finished: the same command on its device goes on with it"):
        imported(carried, tmp_path / "pi.json", history)
    (carried / "journal.jsonl.partial").unlink()
    with pytest.raises(BadInputError, match=r"there is no journal\.jsonl in .*: the job was not measured yet"):
        imported(carried, tmp_path / "pi.json", history)
    with pytest.raises(BadInputError, match=r"cannot read the journal .*nothing: No such file"):
        imported(tmp_path / "nothing", tmp_path / "pi.json", history)


def test_a_manifest_of_another_version_is_refused(carried: Path, tmp_path: Path, history: History) -> None:
    manifest = carried / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 2', 1))
    with pytest.raises(BadInputError, match="its schema version is '2', not 1"):
        imported(carried, tmp_path / "pi.json", history)
    manifest.write_text(manifest.read_text().replace('"schema_version": 2', '"schema_version": 1', 1))
    manifest.write_text(manifest.read_text().replace('"rounds": 2', '"rounds": 0', 1))
    with pytest.raises(BadInputError, match="is no valid manifest: rounds must be at least 1"):
        imported(carried, tmp_path / "pi.json", history)


def test_a_manifest_cannot_speak_to_the_terminal(carried: Path, tmp_path: Path, history: History) -> None:
    manifest = carried / "manifest.json"
    manifest.write_text(manifest.read_text().replace("the board in the cellar", "\\u001b[2J"))
    with pytest.raises(BadInputError, match="is no valid manifest: it holds control characters"):
        imported(carried, tmp_path / "pi.json", history)


def test_a_table_of_another_key_is_not_replaced_unasked(measured: Path, tmp_path: Path, history: History) -> None:
    path = tmp_path / "pi.json"
    imported(measured, path, history)
    table = json.loads(path.read_text())
    table["key"]["threads"] = 7
    path.write_text(json.dumps(table))
    with pytest.raises(KeyMismatchError, match="threads was 7, is 1"):
        imported(measured, path, history)
    assert imported(measured, path, history, overwrite=True).key.threads == 1


def test_an_exported_job_is_neither_followed_nor_asked_for(tmp_path: Path, history: History) -> None:
    plan = new_plan()
    export_job(plan, tmp_path / "stick", history)
    with pytest.raises(BadInputError, match="was exported: searcher jobs import reads its journal"):
        show.run(attach_job(history.find(plan.job_id), history))
    cancel_job(history.find(plan.job_id), history)
    assert history.find(plan.job_id).state is State.CANCELLED
