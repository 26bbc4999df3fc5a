"""`searcher blocks`, `export`, `profile` and `search` with the space FBNet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from searcher.cli import show
from searcher.cost_models.block_sum import BlockSum
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.fbnet import FBNet
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable
from searcher.workflows.profile_space import ProfileRequest, profile_space
from searcher.workflows.progress import Work
from tests.fakes import FakeTransport
from tests.searcher.builders import QUICK, agent_program
from tests.searcher.command_line import Run

SPACE, TINY = FBNet(), FBNet(image_size=8, classes=3)
TINY_OPTIONS = ("--space", "fbnet", "--image-size", "8", "--classes", "3")
CHAIN = "7-8-1-8-4-8-8-8-7-4-1-4-7-3-2-7-3-2-4-2-4-5"


def test_blocks_of_the_space_and_of_a_chain(searcher: Run) -> None:
    status, out, _ = searcher("blocks", "--space", "fbnet", "--json")
    assert status == 0
    assert list(json.loads(out)["blocks"]) == [block.key for block in SPACE.all_blocks()]
    document = json.loads(searcher("blocks", CHAIN, "--space", "fbnet", "--json")[1])
    architecture = SPACE.parse(CHAIN)
    assert document["blocks"] == {block.key: count for block, count in SPACE.blocks(architecture).items()}
    assert (document["parameters"], document["macs"]) == (SPACE.parameters(architecture), SPACE.macs(architecture))
    assert document["layers"].startswith("k5_e6 skip k3_e1_g2 skip ")
    assert "survey_formulas" not in document
    assert "computation" not in document
    assert "layers: k5_e6 skip k3_e1_g2 skip " in searcher("blocks", CHAIN, "--space", "fbnet")[1]


def test_sizes_are_those_that_are_asked_for(searcher: Run) -> None:
    large = json.loads(searcher("blocks", "--space", "fbnet", "--image-size", "224", "--classes", "7", "--json")[1])
    assert list(large["blocks"]) == [block.key for block in FBNet(image_size=224, classes=7).all_blocks()]
    cells = json.loads(searcher("blocks", "--image-size", "16", "--classes", "7", "--json")[1])
    assert "head-k1-s1-p0-g1-1x64x4x4-to7-fp32" in cells["blocks"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("blocks", "--space", "fbnet", "--cells", "5"), "networks of fbnet have no cells"),
        (("blocks", "--space", "fbnet", "--image-size", "30"), "The image size 30 is not divisible by 8"),
        (("blocks", "--image-size", "30"), "The image size 30 is not divisible by 4"),
        (("blocks", "1-2-3", "--space", "fbnet"), "'1-2-3' is not an FBNet chain"),
        (("export", CHAIN, "--out", "x.onnx"), "is not a NAS-Bench-201 cell"),
        (("profile", "--space", "fbnet", "--image-size", "12"), "The image size 12 is not divisible by 8"),
        (("search", "--space", "fbnet", "--lut", "t.json"), "GA+RMI scores networks of nasbench201 alone"),
        (
            ("export", CHAIN, "--space", "fbnet", "--image-size", "224", "--dtype", "int8", "--out", "x.onnx"),
            "the images of digits have 32 pixels a side, those of the space 224",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(
    searcher: Run, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    status, out, err = searcher(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("searcher: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_export_writes_a_network(searcher: Run, tmp_path: Path) -> None:
    status, _, err = searcher("export", CHAIN, *TINY_OPTIONS, "--out", "net.onnx")
    assert status == 0, err
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [dimension.dim_value for dimension in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]
    blocks = TINY.blocks(TINY.parse(CHAIN))
    convolutions = sum(
        count * {"mbconv": 3, "conv_bn": 1, "mobile_head": 1}[block.operation] for block, count in blocks.items()
    )
    assert [node.op_type for node in graph.node].count("Conv") == convolutions


def test_profile_and_jobs_export_take_the_space(searcher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse_request(request: ProfileRequest) -> Work[LookupTable]:
        asked.append(request.space)
        raise BadInputError("no device here")

    def refuse_plan(space: object, *_: object) -> Work[LookupTable]:
        asked.append(space)
        raise BadInputError("no folder here")

    monkeypatch.setattr("searcher.cli.profile.profile_space", refuse_request)
    monkeypatch.setattr("searcher.cli.export_job.plan_job", refuse_plan)
    assert searcher("profile", *TINY_OPTIONS)[0] == 2
    assert searcher("jobs", "export", "job", *TINY_OPTIONS)[0] == 2
    assert searcher("profile", "--space", "fbnet")[0] == 2
    assert asked == [TINY, TINY, SPACE]


def test_a_table_of_the_space_predicts_its_chains(tmp_path: Path) -> None:
    request = ProfileRequest(TINY, Device(), QUICK, tmp_path / "t.json")
    program = agent_program(lambda name: 0.5 if name == CALL_OVERHEAD.key else 2.0)
    table = show.run(profile_space(request, lambda _device: FakeTransport(program)))
    assert table.space == "fbnet"
    assert set(table.entries) == {block.key for block in TINY.all_blocks()}
    model = BlockSum(TINY, TABLE_DOCUMENT.load(tmp_path / "t.json"))
    executed = sum(TINY.blocks(TINY.parse(CHAIN)).values())
    assert executed == 24 - 3
    assert model.latency_ms(TINY.parse(CHAIN)) == pytest.approx(0.5 + 1.5 * executed)
    with pytest.raises(BadInputError, match=r"the table lacks conv_bn-.*-1x3x32x32-.* of the space fbnet"):
        BlockSum(SPACE, table)


def test_the_local_device_profiles_the_space(tmp_path: Path) -> None:
    quick = ("--rounds", "1", "--samples", "2", "--no-costs", "--budget-s", "1")
    command = [sys.executable, "-m", "searcher.cli", "profile", *TINY_OPTIONS, *quick, "--out", "t.json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    table = TABLE_DOCUMENT.load(tmp_path / "t.json")
    assert set(table.entries) == {block.key for block in TINY.all_blocks()}
    assert BlockSum(TINY, table).latency_ms(TINY.parse(CHAIN)) > 0
