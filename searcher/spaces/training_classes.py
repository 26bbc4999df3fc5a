"""Which NAS-Bench-201 cells train alike: those of one score key, and those that compute the same.

The benchmark's string keeps zeros and what never reaches the output, so that 6,466 keys stand for fewer functions. A
training cannot tell them apart: what is not computed has no gradient.
"""

from __future__ import annotations

from functools import cache

from searcher.spaces.cell import Genotype, all_genotypes, score_key
from searcher.spaces.computation import computation


def trained_as(genotype: Genotype) -> Genotype:
    """Return the first genotype, in lexicographic order, of all that train like this one."""
    return _first_of_class()[genotype]


@cache
def _first_of_class() -> dict[Genotype, Genotype]:
    """Join cells that share a key or a computation, and whatever these share in turn."""
    parent: dict[Genotype, Genotype] = {}

    def first(genotype: Genotype) -> Genotype:
        while parent[genotype] != genotype:
            genotype = parent[genotype]
        return genotype

    seen: dict[tuple[str, str], Genotype] = {}
    for genotype in sorted(all_genotypes()):
        parent[genotype] = genotype
        for shared in (("key", score_key(genotype)), ("computation", computation(genotype).text)):
            one, other = first(genotype), first(seen.setdefault(shared, genotype))
            parent[max(one, other)] = min(one, other)
    return {genotype: first(genotype) for genotype in parent}
