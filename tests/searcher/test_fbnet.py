"""The FBNet space: public encodings, its layers, its blocks and what they count."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.catalogue import space_named
from searcher.spaces.fbnet import FBNet
from searcher.spaces.fbnet_layers import CHOICES, LAYERS, SKIP
from searcher.spaces.nasbench201 import NasBench201

SMALL, LARGE = FBNet(), FBNet(image_size=224, classes=1000)
FIRST_ROW = "7-8-1-8-4-8-8-8-7-4-1-4-7-3-2-7-3-2-4-2-4-5"
FIRST_OF_A_STAGE = (1, 5, 9, 13, 17, 21)


def chain(choice: str) -> Architecture:
    """Return the chain that has one choice everywhere."""
    return Architecture("fbnet", (CHOICES.index(choice),) * LAYERS)


def test_the_text_is_that_of_public_tables() -> None:
    architecture = SMALL.parse(FIRST_ROW)
    assert architecture.genotype[:5] == (7, 8, 1, 8, 4)
    assert SMALL.format(architecture) == FIRST_ROW
    assert SMALL.choices(architecture)[:5] == ("k5_e6", "skip", "k3_e1_g2", "skip", "k5_e1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        FIRST_ROW + "-0",
        FIRST_ROW[2:],
        f" {FIRST_ROW}",
        FIRST_ROW.replace("7", "9"),
        FIRST_ROW.replace("-", ","),
    ]
    + [FIRST_ROW.replace("8", digit) for digit in ("", "08", "+8", "\uff18", "8\n")],
)
def test_what_is_no_chain_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="is not an FBNet chain: it needs 22 digits from 0 to 8"):
        SMALL.parse(text)


@pytest.fixture(scope="module")
def public_rows(data_file: Callable[[str], Path]) -> list[dict[str, str]]:
    with gzip.open(data_file("fbnet_latency.csv.gz"), "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_public_chains_are_read(public_rows: list[dict[str, str]]) -> None:
    texts = [row["architecture"] for row in public_rows]
    assert len(texts) == 5_000
    assert texts[0] == FIRST_ROW
    assert [SMALL.format(SMALL.parse(text)) for text in texts] == texts


@pytest.mark.parametrize("device", ["raspi4_ms", "pixel3_ms"])
def test_public_latencies_are_sums_over_layers_in_this_order_of_choices(
    public_rows: list[dict[str, str]], device: str
) -> None:
    genotypes = np.array([SMALL.parse(row["architecture"]).genotype for row in public_rows])
    latencies = np.array([float(row[device]) for row in public_rows])
    chosen = (genotypes[:, :, None] == np.arange(len(CHOICES))).reshape(len(genotypes), -1)
    costs, *_ = np.linalg.lstsq(chosen.astype(float), latencies, rcond=None)
    assert np.abs(chosen @ costs - latencies).max() < 1e-3
    of_layers = costs.reshape(LAYERS, len(CHOICES))
    for kernel in ("k3", "k5"):
        e1, e3, e6 = (of_layers[:, CHOICES.index(f"{kernel}_{expansion}")] for expansion in ("e1", "e3", "e6"))
        assert (e1 < e3).all()
        assert (e3 < e6).all()
    assert (of_layers.argmin(axis=1) == CHOICES.index(SKIP)).all()


def test_public_latencies_are_those_of_small_images(public_rows: list[dict[str, str]]) -> None:
    genotypes = np.array([SMALL.parse(row["architecture"]).genotype for row in public_rows])
    latencies = np.array([float(row["raspi4_ms"]) for row in public_rows])

    def unexplained(space: FBNet) -> float:
        blocks = space.block_counts(genotypes).astype(float)
        costs, *_ = np.linalg.lstsq(blocks, latencies, rcond=None)
        macs = np.array([space.macs(Architecture("fbnet", tuple(genes))) for genes in genotypes.tolist()])
        slope = np.polyfit(macs, latencies, 1)
        assert np.abs(blocks @ costs - latencies).max() < 1e-3  # one cost for all repeats of a stage
        return float(np.std(np.polyval(slope, macs) - latencies))

    assert unexplained(SMALL) < 0.8 * unexplained(LARGE)


def test_the_chains_begin_in_lexicographic_order() -> None:
    first = [SMALL.format(one) for one in islice(SMALL.architectures(), 10)]
    assert first[0] == "-".join("0" * 22)
    assert first[8] == "-".join("0" * 21 + "8")
    assert first[9] == "-".join("0" * 20 + "10")


def test_a_skip_that_is_nothing_may_stand_anywhere_in_its_stage() -> None:
    assert SMALL.score_key(SMALL.parse(FIRST_ROW)) == "7-8-1-4-8-8-7-8-8-4-1-4-7-3-2-7-3-2-4-2-4-5"
    moved = SMALL.representative(SMALL.parse(FIRST_ROW))
    assert SMALL.blocks(moved) == SMALL.blocks(SMALL.parse(FIRST_ROW))
    # In the first layer of a stage it is a convolution, and beyond it another stage.
    for first in FIRST_OF_A_STAGE:
        genes = [0] * LAYERS
        genes[first] = CHOICES.index(SKIP)
        fixed = Architecture("fbnet", tuple(genes))
        assert SMALL.representative(fixed) == fixed


def test_layers_are_as_published() -> None:
    inputs = [layer.input_shape[1:] for layer in LARGE.layers]
    assert [inputs[place] for place in (0, *FIRST_OF_A_STAGE)] == [
        (16, 112, 112),
        (16, 112, 112),
        (24, 56, 56),
        (32, 28, 28),
        (64, 14, 14),
        (112, 14, 14),
        (184, 7, 7),
    ]
    assert LARGE.layers[-1].output_shape == (1, 352, 7, 7)
    assert [layer.input_shape[2] for layer in SMALL.layers] == [32] * 6 + [16] * 4 + [8] * 8 + [4] * 4
    assert [place for place, layer in enumerate(SMALL.layers) if not layer.keeps_shape] == list(FIRST_OF_A_STAGE)


def test_a_skip_is_a_convolution_only_where_the_shape_changes() -> None:
    of_layers = SMALL.layer_blocks(chain(SKIP))
    changing = [spec.key for spec in of_layers if spec is not None]
    assert changing[:2] == [
        "conv_bn-k1-s1-p0-g1-1x16x32x32-to24-relu-fp32",
        "conv_bn-k1-s2-p0-g1-1x24x32x32-to32-relu-fp32",
    ]
    assert [place for place, spec in enumerate(of_layers) if spec is not None] == list(FIRST_OF_A_STAGE)


def test_a_table_holds_105_blocks() -> None:
    for space in (SMALL, LARGE):
        blocks = space.all_blocks()
        assert blocks[0] == CALL_OVERHEAD
        operations = [spec.operation for spec in blocks]
        # Twelve kinds of layer: the first of each stage, and the other repeats of five.
        assert {name: operations.count(name) for name in set(operations)} == {
            "identity": 1,
            "conv_bn": 1 + 6,
            "mbconv": 12 * 8,
            "mobile_head": 1,
        }


def test_blocks_of_a_chain() -> None:
    blocks = {spec.key: count for spec, count in SMALL.blocks(chain("k5_e1_g2")).items()}
    assert len(blocks) == 14
    assert blocks["conv_bn-k3-s1-p1-g1-1x3x32x32-to16-relu-fp32"] == 1
    assert blocks["mbconv-k5-s1-p2-g2-1x16x32x32-h16-to16-relu-fp32"] == 1
    assert blocks["mbconv-k5-s2-p2-g2-1x24x32x32-h24-to32-relu-fp32"] == 1
    assert blocks["mbconv-k5-s1-p2-g2-1x32x16x16-h32-to32-relu-fp32"] == 3
    assert blocks["mobile_head-k1-s1-p0-g1-1x352x4x4-h1504-to100-relu-fp32"] == 1
    assert sum(blocks.values()) == 24


def test_counts_by_hand() -> None:
    # Nothing but stem, the six convolutions of the skips, and the head.
    widths = (16, 24, 32, 64, 112, 184, 352)
    sides = (32, 16, 8, 8, 4, 4)
    skips = [inputs * outputs for inputs, outputs in pairwise(widths)]
    weights = 3 * 9 * 16 + sum(skips) + 352 * 1504
    norms = 2 * (16 + sum(widths[1:]) + 1504)
    assert SMALL.parameters(chain(SKIP)) == weights + norms + 1504 * 100 + 100
    macs = 3 * 9 * 16 * 32**2 + sum(skip * side**2 for skip, side in zip(skips, sides, strict=True))
    assert SMALL.macs(chain(SKIP)) == macs + 352 * 1504 * 4**2 + 1504 * 100


def test_the_largest_chain_for_imagenet_has_the_published_size_of_head_and_layers() -> None:
    layer = 184 * 1104 + 1104 * 25 + 1104 * 352
    rest = LARGE.macs(chain("k5_e6")) - LARGE.macs(Architecture("fbnet", (*chain("k5_e6").genotype[:-1], 8)))
    assert rest == 49 * (layer - 184 * 352)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"image_size": 0}, "at least 1"),
        ({"classes": 0}, "at least 1"),
        ({"image_size": 28}, "not divisible by 8"),
        ({"image_size": 200}, "not divisible by 32"),
    ],
)
def test_networks_that_cannot_be_are_refused(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        FBNet(**sizes)


def test_a_space_by_its_name() -> None:
    assert space_named("fbnet") == SMALL
    assert space_named("fbnet", classes=1000, image_size=224) == LARGE
    assert space_named("nasbench201", 2, image_size=16) == NasBench201(cells_per_stage=2, image_size=16)
    assert space_named("nasbench201", classes=7) == NasBench201(classes=7)
    with pytest.raises(BadInputError, match="networks of fbnet have no cells"):
        space_named("fbnet", 5)
