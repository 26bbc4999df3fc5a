"""The demo on a device in memory, its budget's arithmetic, and, slowly, the real one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from searcher.artifacts import cache_folder, replacing
from searcher.cli import application, demo
from searcher.devices.answers import MeasurementFailedError
from searcher.networks.resnet import ResNet20
from searcher.search.evolution import EvolutionSettings
from searcher.search.scores.batch_training import RmiSettings
from searcher.spaces.nasbench201 import NasBench201
from searcher.training.datasets import ImageDataset, load_dataset
from searcher.training.loops import TrainingSettings
from searcher.training.reference import reference_path
from searcher.workflows.demo import DemoRequest, DemoResult, affordable_steps, run_demo
from searcher.workflows.prepare_reference import affordable_settings
from searcher.workflows.progress import Work
from searcher.workflows.scoring import Scoring
from searcher.workflows.search_space import SearchRequest, search_space
from tests.fakes import FakeTransport
from tests.searcher.builders import agent_program, table
from tests.searcher.watching import Clock, watched

SPACE = NasBench201()
FILES = ["search.json", "table.json", "table.json.journal.jsonl", "verification.json"]


def save_weights(path: Path) -> Path:
    """Weights of a ResNet-20 that has learnt nothing: good enough to run, quick to make."""
    model = ResNet20(10)
    model.initialise(torch.Generator().manual_seed(0))
    with replacing(path) as temporary:
        torch.save(model.state_dict(), temporary)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder with a reference in it, so that no test trains one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROFILER_CACHE", str(tmp_path_factory.mktemp("cache")))
        save_weights(reference_path(load_dataset("digits"), cache_folder() / "references", TrainingSettings(), 0))
        yield cache_folder()


def device(network_ms: float = 1.0, failing: frozenset[str] = frozenset()) -> Callable[[object], FakeTransport]:
    """A device on which blocks take 1 ms and whole networks as long as is said."""
    program = agent_program(lambda name: network_ms if name.startswith("|") else 1.0, failing=failing)
    return lambda _device: FakeTransport(program)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize(
    ("seconds", "step_s", "steps"),
    [(92.0, 0.18, 5), (92.0, 0.23, 4), (1e6, 0.2, 6), (1.0, 0.2, 2), (-5.0, 0.2, 2)],
)
def test_the_steps_share_the_time_among_the_trainings(seconds: float, step_s: float, steps: int) -> None:
    assert affordable_steps(seconds, step_s) == steps  # 20 + 12·6 trainings


@pytest.mark.parametrize(("seconds", "epochs"), [(0.0, 1), (25.0, 2), (59.0, 5), (1e6, 8)])
def test_the_reference_is_trained_as_long_as_there_is_time(seconds: float, epochs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(100, 3, 32, 32, generator=generator), torch.arange(100) % 10
    made_up = ImageDataset("made-up", images, labels, images, labels, tuple("0123456789"))
    # Four batches of ten take one second by this clock, so the hundred images of an epoch take 2.5.
    settings = affordable_settings(made_up, TrainingSettings(batch_size=10), seconds * 2.5 / 10, Clock(1.0))
    assert settings.epochs == epochs


def search_request(tmp_path: Path, deadline_s: float | None, generations: int) -> SearchRequest:
    return SearchRequest(
        space=SPACE,
        scoring=Scoring(cells_per_stage=1, rmi=RmiSettings(steps=1, batch_size=4), keeps=False),
        table=table(SPACE, lambda _block: 1.0),
        limit_ms=100.0,
        data="digits",
        reference=save_weights(tmp_path / "resnet20.pt"),
        evolution=EvolutionSettings(population=2, generations=generations),
        deadline_s=deadline_s,
    )


def test_no_generation_starts_that_would_end_after_the_deadline(tmp_path: Path) -> None:
    clock = Clock(1.0)
    found, seen = watched(search_space(search_request(tmp_path, 20.0, 1000), clock))
    assert 2 <= len(found.history) <= 6
    assert found.spent is not None
    assert found.spent.generation_s[-1] <= 20.0
    assert len(found.spent.generation_s) == len(found.history)
    assert clock.now_s < 25.0
    assert any(one.note == f"the time budget ends the search after {len(found.history)} generations" for one in seen)
    assert all(one.done <= one.total for one in seen)


def test_the_first_generation_is_always_there(tmp_path: Path) -> None:
    found, _ = watched(search_space(search_request(tmp_path, 0.5, 1000), Clock(10.0)))
    assert len(found.history) == 1


def test_without_a_deadline_every_generation_comes(tmp_path: Path) -> None:
    found, seen = watched(search_space(search_request(tmp_path, None, 3), Clock(1e6)))
    assert len(found.history) == 4
    assert not any("time budget" in one.note for one in seen)


def demonstrate(folder: Path, connect: Callable[[object], FakeTransport]) -> DemoResult:
    result, _ = watched(run_demo(DemoRequest(folder, budget_s=1.0), connect))
    assert isinstance(result, DemoResult)
    return result


@pytest.mark.slow
def test_a_demo_leaves_its_files_and_a_failed_one_nothing_of_an_earlier(cache: Path, tmp_path: Path) -> None:
    result = demonstrate(tmp_path, device())
    assert cache.is_dir()
    assert names(tmp_path) == FILES
    assert result.verification.winner is not None
    assert list(result.spent_s) == ["profile", "reference", "search", "verify"]
    with pytest.raises(MeasurementFailedError):
        demonstrate(tmp_path, device(failing=frozenset({SPACE.stem.key})))
    assert names(tmp_path) == ["table.json.journal.jsonl.partial"]


@pytest.mark.slow
def test_without_a_winner_the_files_are_written_and_the_status_is_1(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cache.is_dir()

    def slow_demo(request: DemoRequest) -> Work[DemoResult]:
        return run_demo(DemoRequest(request.folder, budget_s=1.0), device(network_ms=10_000.0))

    monkeypatch.setattr(demo, "run_demo", slow_demo)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        application.run(["demo", "--out", str(tmp_path)])
    signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 1
    assert names(tmp_path) == FILES
    document = json.loads((tmp_path / "verification.json").read_text())
    assert document["winner"] is None
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == f"searcher: {document['reason']}"
    assert "the fastest takes 10000.0000 ms" in last


@pytest.mark.slow
def test_the_real_demo_keeps_what_the_project_promises(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "searcher.cli", "demo", "--budget-s", "30", "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert names(tmp_path) == FILES, result.stderr
    made = {name: json.loads((tmp_path / name).read_text()) for name in FILES if name.endswith(".json")}
    versions = {"search.json": 2, "table.json": 1, "verification.json": 2}
    assert {name: document["schema_version"] for name, document in made.items()} == versions
    lut, found, verified = made["table.json"], made["search.json"], made["verification.json"]
    assert set(lut["entries"]) == {block.key for block in SPACE.all_blocks()}
    key_fields = {"device_fingerprint", "runtime", "runtime_version", "optimization", "provider", "precision"}
    assert key_fields | {"threads", "affinity", "spinning", "cache"} <= set(lut["key"])
    assert lut["key"]["cache"] == "hot"
    assert found["table_key"] == lut["key"]
    assert found["limits"][0]["at_most"] == verified["max_latency_ms"] > 0
    assert verified["device"] == {"name": "local", "fingerprint": lut["key"]["device_fingerprint"]}
    assert verified["runtime"] == "onnxruntime"
    for one in verified["candidates"]:
        low, high = one["measured_ci_ms"]
        assert low <= one["measured_ms"] <= high
        assert one["error_pct"] == pytest.approx(100 * (one["predicted_ms"] / one["measured_ms"] - 1))
        assert one["feasible"] == (one["measured_ms"] <= verified["max_latency_ms"])
    searched = [one["architecture"] for one in found["candidates"]]
    places = [searched.index(one["architecture"]) for one in verified["candidates"]]
    assert places == sorted(places)
    assert verified["first"] == verified["candidates"][0]
    fitting = [one for one in verified["candidates"] if one["feasible"]]
    assert verified["winner"] == (fitting[0] if fitting else None)
    assert (verified["reason"] is None) == bool(fitting)
    assert result.returncode == (0 if fitting else 1), result.stderr
