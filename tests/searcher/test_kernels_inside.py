"""The kernels inside a block are those that the runtime executes."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.export.exporter import exporter_for
from searcher.export.kernels_of_onnx import cut
from searcher.spaces.block import BlockSpec
from searcher.spaces.catalogue import space_named
from searcher.spaces.kernels_inside import kernels_inside

IMAGE = (1, 8, 10, 12)


def of_operations(name: str, operations: tuple[str, ...]) -> list[BlockSpec]:
    """The first two blocks of a space of each operation."""
    blocks = space_named(name, classes=None, image_size=None, channels=None).all_blocks()
    return [one for operation in operations for one in [b for b in blocks if b.operation == operation][:2]]


BLOCKS = [
    *of_operations("nasbench201", ("conv_bn", "relu_conv_bn", "residual_reduction", "head", "avg_pool", "add", "relu")),
    *of_operations("darts", ("sep_conv", "dil_conv", "factorised_reduction", "pool_head", "max_pool", "concat")),
    *of_operations("fbnet", ("mobile_head",)),
    *(
        BlockSpec("mbconv", (IMAGE,), outputs, 3, stride, 1, groups, "relu", hidden_channels=16)
        for outputs, stride, groups in ((8, 1, 1), (8, 1, 2), (8, 2, 1), (12, 1, 1))
    ),
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.key)
def test_a_block_holds_the_kernels_that_the_runtime_executes(block: BlockSpec, tmp_path: Path) -> None:
    executed = {kernel.spec for kernel in cut(exporter_for("onnx").export_block(block, tmp_path).path, "extended")}
    assert (set(kernels_inside(block)) or {block}) == executed
