"""Preference, ranking and Pareto front of candidates, and the file they are kept in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from searcher.errors import BadInputError
from searcher.search.candidate import (
    SEARCH_DOCUMENT,
    Candidate,
    GenerationRecord,
    SearchResult,
    best_distinct,
)
from searcher.search.limits import Cost, Limit
from searcher.search.pareto import pareto_front
from searcher.search.preference import debs, penalty, preference_named, rank
from searcher.spaces.nasbench201 import NasBench201
from tests.searcher.builders import KEY
from tests.searcher.search_parts import candidate

LIMITS = (Limit("latency", 2.0), Limit("parameters", 0.5))


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [one.architecture for one in candidates]


@pytest.mark.parametrize(("latency_ms", "expected"), [(1.0, 0.0), (2.0, 0.0), (2.5, -0.5), (10.0, -8.0)])
def test_the_penalty_is_that_of_the_paper(latency_ms: float, expected: float) -> None:
    assert penalty([Cost("latency", latency_ms, latency_ms)], LIMITS[:1]) == expected
    costs = [Cost("latency", latency_ms, latency_ms), Cost("parameters", 0.75, 0.75)]
    assert penalty(costs, LIMITS) == expected - 0.25


def test_debs_rules_go_by_feasibility_then_rung_and_score_then_violation() -> None:
    found = [
        candidate("good", 1.0, 1.0, limit_ms=2.0),
        candidate("better", 2.0, 2.0, limit_ms=2.0),
        candidate("later", -5.0, 1.0, limit_ms=2.0, rung=2),
        candidate("far", 9.0, 8.0, limit_ms=2.0),
        candidate("near", None, 2.1, limit_ms=2.0, rung=0),
        candidate("broken", None, 0.1, limit_ms=2.0, problem="diverged"),
    ]
    assert names(rank(found, debs)) == ["later", "better", "good", "near", "far", "broken"]
    assert names(best_distinct(rank(found, debs), 9)) == ["later", "better", "good"]
    # The paper's fitness: 9 - 6 of the far one, 2 of the better, and no place for what has no score.
    paper = preference_named("paper", LIMITS[:1])
    assert names(rank(found, paper)) == ["later", "far", "better", "good", "broken", "near"]
    assert preference_named("reject", LIMITS) == preference_named("deb", LIMITS)
    with pytest.raises(BadInputError, match="deb, paper or reject, not 'lagrange'"):
        preference_named("lagrange", LIMITS)


def test_equals_have_one_order_and_of_one_key_the_first_is_taken() -> None:
    slow, fast = candidate("slow", 2.0, 5.0, key="k"), candidate("fast", 2.0, 4.0, key="k")
    best, twin = candidate("best", 3.0, 9.0), candidate("a twin", 2.0, 4.0)
    for order in ([slow, fast, best, twin], [twin, best, fast, slow]):
        assert names(rank(order, debs)) == ["best", "a twin", "fast", "slow"]
    assert names(best_distinct(rank([slow, fast, best], debs), 3)) == ["best", "fast"]
    assert names(best_distinct(rank([slow, fast, best], debs), 1)) == ["best"]


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    scores = {"a": (1.0, 1.0), "b": (2.0, 2.0), "c": (1.5, 3.0), "d": (3.0, 4.0)}
    candidates = [candidate(name, score, ms) for name, (score, ms) in scores.items()]
    assert names(pareto_front(candidates)) == ["a", "b", "d"]
    assert pareto_front([]) == ()
    assert pareto_front([candidate("broken", None, 1.0, problem="diverged")]) == ()
    # A higher rung beats a lower one whatever the scores.
    assert names(pareto_front([*candidates, candidate("later", 0.0, 0.5, rung=2)])) == ["later"]


def test_several_costs_make_a_front_of_several_dimensions() -> None:
    def of(name: str, score: float, ms: float, millions: float) -> Candidate:
        costs = (Cost("latency", ms, ms), Cost("parameters", millions, millions))
        return Candidate(name, name, score, {}, 1, costs, 0.0, True, 1, 1)

    found = [of("fast", 1.0, 1.0, 9.0), of("small", 1.0, 9.0, 1.0), of("beaten", 1.0, 9.0, 9.0)]
    assert names(pareto_front(found)) == ["fast", "small"]


def result() -> SearchResult:
    diverged = candidate("b", None, 1.0, problem="its training diverged")
    candidates = rank([diverged, candidate("a", 1.0, 2.0)], debs)
    history = (GenerationRecord(0, None, "b", 1, 0.1),)
    space = NasBench201().name
    return SearchResult(space, 1, 1, KEY, LIMITS[:1], "rmi", "deb", {}, candidates, ("a",), history)


def test_a_result_and_its_problems_are_seen_in_the_file(tmp_path: Path) -> None:
    found = result()
    SEARCH_DOCUMENT.save(found, tmp_path / "search.json")
    assert SEARCH_DOCUMENT.load(tmp_path / "search.json") == found
    document = json.loads((tmp_path / "search.json").read_text())
    assert document["schema_version"] == 2
    assert document["candidates"][1]["problem"] == "its training diverged"
    assert document["candidates"][1]["score"] is None
    assert document["candidates"][0]["problem"] is None
    assert document["candidates"][0]["costs"] == [{"quantity": "latency", "value": 2.0, "bound": 2.0}]
    assert (found.max_latency_ms, found.candidates[0].predicted_ms) == (2.0, 2.0)


def test_files_of_the_first_schema_and_results_that_no_search_writes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    plain = SEARCH_DOCUMENT.dump(result())
    path.write_text(json.dumps({**plain, "schema_version": 1}))
    with pytest.raises(BadInputError, match="its schema version is '1', not 2"):
        SEARCH_DOCUMENT.load(path)
    for wrong, sentence in (
        ({"limits": []}, "a search limits a latency"),
        ({"limits": [*plain["limits"], {"quantity": "flops", "at_most": 3.0}]}, "are not those that are limited"),
        ({"limits": [{"quantity": "price", "at_most": 3.0}]}, "not on 'price'"),
        ({"limits": [{"quantity": "latency", "at_most": 0.0}]}, "a positive number, not 0"),
    ):
        path.write_text(json.dumps({**plain, **wrong}))
        with pytest.raises(BadInputError, match=sentence):
            SEARCH_DOCUMENT.load(path)
