"""Kernels that cannot be exported or measured: they are told and replaced, and too many of them end the build."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import torch

from profiler_agent.records import parse_job
from searcher.artifacts import ExportedModel
from searcher.devices.answers import MeasurementFailedError
from searcher.errors import BadInputError
from searcher.export.exporter import Exporter
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec
from searcher.tables.dataset_card import card_path
from searcher.tables.dataset_file import read_dataset
from tests.fakes import Program
from tests.searcher.builders import agent_program
from tests.searcher.dataset_builds import build, known_ms, request


class FailingDevice:
    """A device that cannot compute some of what it is asked to."""

    def __init__(self, fails: Callable[[str], bool]) -> None:
        self.fails = fails
        self.programs: dict[str, Program] = {}

    def __call__(self, arguments: Sequence[str], standard_input: bytes) -> Iterable[str]:
        if arguments[4] == "start":
            names = frozenset(block.block_id for block in parse_job(standard_input.decode()).blocks)
            self.programs[arguments[5]] = agent_program(known_ms, failing=frozenset(filter(self.fails, names)))
        return self.programs[arguments[5]](arguments, standard_input)


def test_a_kernel_that_cannot_be_measured_is_told_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    broken: list[str] = []

    def fails(name: str) -> bool:
        if name.startswith("relu") and len(broken) < 2:
            broken.append(name)
        return name in broken

    card = build(request(path), FailingDevice(fails))
    rows = read_dataset(path)
    assert len(rows) == 10
    assert card.conditions[0].failures == dict.fromkeys(broken, "it crashed")
    assert not {one.spec.key for one in rows} & set(broken)


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception, fewest: int) -> list[str]:
    """Let the second kernel and those from a certain one on fail to become files; return the keys of all."""
    asked: list[str] = []

    def export_block(exporter: Exporter, spec: BlockSpec, folder: Path) -> ExportedModel:
        if spec != CALL_OVERHEAD:
            asked.append(spec.key)
            if len(asked) == 2 or len(asked) >= fewest:
                raise error
        return exporting(exporter, spec, folder)

    exporting = Exporter.export_block
    monkeypatch.setattr(Exporter, "export_block", export_block)
    return asked


def test_a_kernel_that_no_converter_takes_is_told_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.csv"
    asked = refusing(monkeypatch, RuntimeError("no such\noperator"), 100)
    card = build(request(path))
    assert card.conditions[0].failures == {asked[1]: "it cannot be exported: RuntimeError: no such"}
    assert {one.spec.key for one in read_dataset(path)} == {*asked} - {asked[1]}
    assert len(asked) == 11


def test_a_converter_that_takes_nothing_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, RuntimeError("no such operator"), 9)
    with pytest.raises(MeasurementFailedError, match="no kernel of relu could be measured: it cannot be exported"):
        build(request(tmp_path / "d.csv"))


def test_a_full_disk_ends_the_build_and_is_blamed_on_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.csv"
    written: list[Path] = []

    def export(module: torch.nn.Module, inputs: object, file: str, **options: object) -> None:
        written.append(Path(file))
        # The calls that compute nothing, of both jobs so far, and one kernel.
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        exporting(module, inputs, file, **options)

    exporting: Callable[..., object] = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(
        BadInputError,
        match=r"^cannot keep exported files in .*: No space left on device; TMPDIR can name another folder$",
    ):
        build(request(path))
    assert len(written) == 4
    assert not any(one.exists() for one in written)
    assert not path.exists()
    assert not card_path(path).exists()


def test_too_little_memory_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, MemoryError("too little"), 100)
    with pytest.raises(MemoryError, match="too little"):
        build(request(tmp_path / "d.csv"))
    assert not card_path(tmp_path / "d.csv").exists()


def test_a_kernel_that_cannot_be_measured_by_itself_is_replaced_too(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    asked: dict[str, None] = {}

    def fails(name: str) -> bool:
        if name != CALL_OVERHEAD.key:
            asked.setdefault(name)
        # One of the second round's two kernels, then the only one of the third and of the one in its place.
        return list(asked).index(name) in (8, 10, 11) if name in asked else False

    card = build(request(path), FailingDevice(fails))
    assert len(read_dataset(path)) == 10
    assert len(card.conditions[0].failures) == 3
    assert len(asked) == 13


def test_single_kernels_that_fail_one_after_the_other_end_the_build(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    asked: dict[str, None] = {}

    def fails(name: str) -> bool:
        if name != CALL_OVERHEAD.key:
            asked.setdefault(name)
        return name in asked and list(asked).index(name) >= 9

    with pytest.raises(MeasurementFailedError, match="no kernel of relu could be measured: it crashed; --types"):
        build(request(path), FailingDevice(fails))
    assert len(read_dataset(path)) == 9


def test_a_type_that_a_device_cannot_compute_ends_the_build_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    wanted = request(path, types=("relu", "max_pool"))
    with pytest.raises(MeasurementFailedError, match="no kernel of max_pool could be measured: it crashed; --types"):
        build(wanted, FailingDevice(lambda name: name.startswith("max_pool")))
    assert Counter(one.kernel_type for one in read_dataset(path)) == {"relu": 8}
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        build(request(tmp_path / "e.csv"), FailingDevice(lambda name: not name.startswith("identity")))
    with pytest.raises(MeasurementFailedError, match="it crashed"):
        build(request(tmp_path / "e.csv"), FailingDevice(lambda name: name.startswith("identity")))
