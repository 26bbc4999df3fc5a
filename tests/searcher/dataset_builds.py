"""Small datasets, built on a device in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from searcher.cli import show
from searcher.devices.device import Device
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.block_key import block_of_key
from searcher.spaces.kernel_domain import Limits
from searcher.tables.dataset_card import DatasetCard
from searcher.workflows.build_dataset import DatasetRequest, build_dataset
from tests.fakes import FakeTransport, Program
from tests.searcher.builders import QUICK, agent_program
from tests.searcher.kernel_rows import CALL_MS, roofline_ms

SMALL = Limits().scaled(0.002)


def known_ms(name: str) -> float:
    return CALL_MS if name == CALL_OVERHEAD.key else roofline_ms(block_of_key(name))


def request(path: Path, **changes: object) -> DatasetRequest:
    return replace(DatasetRequest(path, Device(), [QUICK], ("relu",), 10, limits=SMALL), **changes)  # type: ignore[arg-type]


def build(wanted: DatasetRequest, program: Program | None = None) -> DatasetCard:
    device = FakeTransport(program or agent_program(known_ms))
    return show.run(build_dataset(wanted, lambda _device: device))
