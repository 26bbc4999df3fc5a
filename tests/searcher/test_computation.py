"""What a runtime executes of a cell: each rule on cells computed by hand, and what holds for all 15,625."""

from __future__ import annotations

import itertools

import pytest

from searcher.spaces.cell import EDGES, NONE, OPERATIONS, all_genotypes, parse_cell
from searcher.spaces.computation import COUNTED, canonical_text, computation, execution_order, output_value

SHORT = {"z": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "p": "avg_pool_3x3"}


def spelt_out(text: str) -> str:
    """Write out the short names c1, c3 and p of the hand-computed texts."""
    for short, name in (("c1(", "nor_conv_1x1("), ("c3(", "nor_conv_3x3("), ("p(", "avg_pool_3x3(")):
        text = text.replace(short, name)
    return text


# Edges as 0→1 / 0→2 1→2 / 0→3 1→3 2→3; counts of 1x1, 3x3, pool, add.
BY_HAND = {
    "everything none": ("z/zz/zzz", "0", (0, 0, 0, 0)),
    "the output sees only a dead node": ("z/3z/z3z", "0", (0, 0, 0, 0)),
    "a skip is the input itself": ("z/zz/szz", "x", (0, 0, 0, 0)),
    "two skips in a row": ("s/zs/zzs", "x", (0, 0, 0, 0)),
    "a convolution of a zero is zero": ("z/s3/zzs", "x", (0, 0, 0, 0)),
    "edges that miss the output are pruned": ("3/3p/1zz", "c1(x)", (1, 0, 0, 0)),
    "a sum of one operand is no sum": ("3/z1/zzs", "c1(c3(x))", (1, 1, 0, 0)),
    "a sum inside an operation stays": ("s/ss/zz1", "c1(x+x)", (1, 0, 0, 1)),
    "a sum in a sum is flattened": ("s/ss/sss", "x+x+x+x", (0, 0, 0, 3)),
    "pools of one value are one pool": ("p/pz/zss", "v1=p(x);v1+v1", (0, 0, 1, 1)),
    "convolutions of one value stay two": ("3/3z/zss", "c3(x)+c3(x)", (0, 2, 0, 1)),
    "a shared convolution is computed once": ("3/zs/zsp", "v1=c3(x);p(v1)+v1", (0, 1, 1, 1)),
    "pools of equal pools are equal": ("p/pz/zpp", "v1=p(p(x));v1+v1", (0, 0, 2, 1)),
    "pools of two convolutions stay two": ("3/3z/zpp", "p(c3(x))+p(c3(x))", (0, 2, 2, 1)),
    "every pool": ("p/pp/ppp", "v1=p(x);v2=p(v1);p(v1+v2)+v1+v2", (0, 0, 3, 3)),
    "the cell of the documentation": ("3/3p/s3s", "v1=c3(x);p(v1)+c3(v1)+c3(x)+x", (0, 3, 1, 3)),
}


@pytest.mark.parametrize("cell", BY_HAND.values(), ids=BY_HAND.keys())
def test_cells_computed_by_hand(cell: tuple[str, str, tuple[int, ...]]) -> None:
    edges, text, counts = cell
    names = [SHORT[letter] for letter in edges.replace("/", "")]
    result = computation(tuple(OPERATIONS.index(name) for name in names))
    assert result.text == spelt_out(text)
    assert result.operations == tuple(zip(COUNTED, counts, strict=True))


def test_the_text_as_it_is_written() -> None:
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    result = computation(parse_cell(cell))
    assert result.text == "v1=nor_conv_3x3(x);avg_pool_3x3(v1)+nor_conv_3x3(v1)+nor_conv_3x3(x)+x"


def test_a_shared_sum_stays_one_value() -> None:
    # Four nodes cannot share a sum: only the output follows node 2. Five can.
    edges = tuple((source, target) for target in range(1, 5) for source in range(target))
    chosen = {(0, 1): "3", (0, 2): "s", (1, 2): "s", (2, 3): "1", (2, 4): "s", (3, 4): "s"}
    output = output_value([SHORT[chosen.get(edge, "z")] for edge in edges], edges)
    assert output is not None
    assert canonical_text(output) == spelt_out("v1=c3(x)+x;c1(v1)+v1")
    assert [value.operation for value in execution_order(output)].count("add") == 2


def test_the_text_says_how_often_each_operation_runs() -> None:
    # Together with the text being all that is compared, this also gives: equal texts, equal counts.
    for genotype in all_genotypes():
        result = computation(genotype)
        written = {name: result.text.count(f"{name}(") for name in COUNTED[:-1]} | {"add": result.text.count("+")}
        assert result.operations == tuple(written.items()), result.text


def test_the_number_of_computations_is_that_of_the_definition() -> None:
    texts = [computation(genotype).text for genotype in all_genotypes()]
    assert len(set(texts)) == 5260
    assert texts.count("0") == 341


def test_the_text_does_not_depend_on_the_numbering_of_nodes() -> None:
    # Nodes 1 and 2 can swap their numbers where no edge joins them.
    swapped = [EDGES.index(edge) for edge in ((0, 2), (0, 1), (1, 2), (0, 3), (2, 3), (1, 3))]
    for genes in itertools.product(range(len(OPERATIONS)), repeat=len(EDGES)):
        if OPERATIONS[genes[EDGES.index((1, 2))]] == NONE:
            assert computation(tuple(genes[edge] for edge in swapped)) == computation(genes)
