"""The closed loop on devices in memory, whose latencies differ from the table's in a known way."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.artifacts import ExportedModel, sha256_of, write_text
from searcher.cost_models.block_sum import BlockSum
from searcher.cost_models.calibrated import CalibratedModel
from searcher.cost_models.calibration import Calibration
from searcher.cost_models.prices import PARAMETERS, CountPrice, LatencyPrice
from searcher.devices.answers import MeasurementFailedError
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.search.archive import Archive
from searcher.search.candidate import SearchResult
from searcher.search.limits import Constraint, Limit
from searcher.search.preference import DEB, PAPER
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import BlockSpec
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import KeyMismatchError, LookupTable
from searcher.verification.verification import VERIFICATION_DOCUMENT, LimitMissedError, Verification
from searcher.workflows import measure_networks
from searcher.workflows.closed_loop import LoopRequest, LoopSettings, closed_loop
from tests.fakes import FakeTransport
from tests.searcher import calibrations
from tests.searcher.builders import KEY, QUICK, agent_program, table
from tests.searcher.calibrations import block_ms, calibration, fitted, network_ms
from tests.searcher.searched import found, latency_limit, random_cells
from tests.searcher.watching import Clock, watched

SPACE = NasBench201(cells_per_stage=1, channels=4, image_size=8)
TABLE = table(SPACE, block_ms)
MODEL = BlockSum(SPACE, TABLE)
PRICE = LatencyPrice("table.json", MODEL)
CELLS = random_cells(SPACE, 120)
LIMIT_MS = float(np.median([MODEL.latency_ms(one) for one in CELLS]))
USUAL = latency_limit(PRICE, LIMIT_MS)


class Namer:
    """Exports a network as a file with its name: the devices of these tests look no further."""

    calibration_identity = None

    def export_network(self, space: NasBench201, architecture: Architecture, folder: Path) -> ExportedModel:
        text = space.format(architecture)
        path = folder / hashlib.sha256(text.encode()).hexdigest()
        write_text(path, text)
        return ExportedModel(text, path, sha256_of(path))


@pytest.fixture(autouse=True)
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of this test's own, quickly written."""
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure_networks, "exporter_like", lambda *_arguments: Namer())


def costly(architecture: Architecture) -> float:
    """A score that likes what the table says is slow, so that the best stand right below the limit."""
    return MODEL.latency_ms(SPACE.representative(architecture))


@functools.cache
def usual_search(constraint: str = DEB) -> SearchResult:
    return found(SPACE, CELLS, (USUAL,), costly, constraint=constraint)


def request(
    tmp_path: Path,
    search: SearchResult | None = None,
    constraints: tuple[Constraint, ...] = (USUAL,),
    priced_by: LookupTable | Calibration = TABLE,
    **others: int | float,
) -> LoopRequest:
    return LoopRequest(
        space=SPACE,
        search=usual_search() if search is None else search,
        constraints=constraints,
        table=priced_by,
        measuring=LoopSettings(KEY, Device(), QUICK, tmp_path / "verification.json", **others),  # type: ignore[arg-type]
    )


def run(
    asked: LoopRequest, true_ms: Callable[[Architecture], float], clock: Callable[[], float] = time.monotonic
) -> Verification:
    program = agent_program(lambda text: true_ms(asked.space.parse(text)))
    result, _ = watched(closed_loop(asked, lambda _: FakeTransport(program), clock))
    assert isinstance(result, Verification)
    return result


def slower(factor: float) -> Callable[[Architecture], float]:
    return lambda one: factor * MODEL.latency_ms(one)


def with_slow_convolutions(factor: float) -> Callable[[Architecture], float]:
    """The device whose 3×3 convolutions take longer than their entries."""

    def true_ms(block: BlockSpec) -> float:
        slow = block.operation == "relu_conv_bn" and block.kernel == 3
        return 0.002 + factor * (block_ms(block) - 0.002) if slow else block_ms(block)

    return BlockSum(SPACE, table(SPACE, true_ms)).latency_ms


@pytest.mark.parametrize("true_ms", [slower(1.08), with_slow_convolutions(1.2)], ids=["all", "one operation"])
def test_the_first_break_the_limit_and_the_loop_finds_the_best_that_holds(
    tmp_path: Path, true_ms: Callable[[Architecture], float]
) -> None:
    asked = request(tmp_path, most_rounds=10)
    verified = run(asked, true_ms)
    first, last = verified.rounds[0], verified.rounds[-1]
    assert [one.feasible for one in first.candidates] == [False] * 3
    assert verified.first == first.candidates[0]
    winner = verified.winner
    assert winner is not None
    assert winner in last.candidates
    assert winner.measured_ms == pytest.approx(true_ms(SPACE.parse(winner.architecture)), rel=1e-4)
    assert winner.measured_ms <= LIMIT_MS
    assert last.first == winner.architecture
    assert (verified.reason, verified.untested) == (None, 0)
    verified.require_winner()
    # The correction may be wrong by a little about what it has not seen; it misses none that is much better.
    scored = [SPACE.parse(one.architecture) for one in asked.search.candidates if one.score is not None]
    best = max(costly(one) for one in scored if true_ms(one) <= LIMIT_MS)
    assert costly(SPACE.parse(winner.architecture)) > 0.95 * best
    # Predictions of the last round were made with what the rounds before had shown.
    assert max(abs(one.error_pct) for one in last.candidates) < abs(verified.first.error_pct) / 2
    assert VERIFICATION_DOCUMENT.load(asked.measuring.out) == verified


def test_a_search_that_was_right_ends_after_one_round(tmp_path: Path) -> None:
    asked = request(tmp_path)
    verified = run(asked, MODEL.latency_ms)
    assert len(verified.rounds) == 1
    assert verified.winner == verified.first
    assert verified.rounds[0].correction.common == pytest.approx(1.0, abs=1e-4)
    # Of cells that share the best score the fastest is taken.
    best = asked.search.candidates[0]
    key = SPACE.score_key(SPACE.parse(verified.first.architecture))
    assert key == best.score_key
    cells = [one for one in SPACE.architectures() if SPACE.score_key(one) == key]
    assert verified.first.measured_ms == pytest.approx(min(map(MODEL.latency_ms, cells)), rel=1e-4)


@pytest.mark.parametrize(
    ("factor", "hope"),
    [(20.0, "nor does any architecture: the least possible is"), (1.5, "but others of the space may, down to")],
)
def test_where_no_candidate_can_hold_the_loop_ends_with_the_reason(tmp_path: Path, factor: float, hope: str) -> None:
    # The search met only what stands right below its limit.
    near = [one for one in CELLS if MODEL.latency_ms(one) > 0.9 * LIMIT_MS]
    asked = request(tmp_path, found(SPACE, near, (USUAL,), costly), most_rounds=10)
    verified = run(asked, slower(factor))
    assert verified.winner is None
    assert len(verified.rounds) <= 3
    assert (verified.rounds[-1].within, verified.rounds[-1].first, verified.untested) == (0, None, 0)
    with pytest.raises(LimitMissedError, match=f"measured candidates keeps .* no candidate keeps all limits, {hope}"):
        verified.require_winner()


def test_rounds_and_time_bound_the_loop(tmp_path: Path) -> None:
    one_round = run(request(tmp_path, most_rounds=1, top=2), slower(1.08))
    assert len(one_round.rounds) == 1
    assert len(one_round.candidates) == 2
    assert one_round.winner is None
    assert one_round.untested > 0
    assert one_round.reason is not None
    assert "not measured, are believed to keep it" in one_round.reason
    # The clock goes on by 10 s with every look: at the start, before each round and after it.
    timed = run(request(tmp_path, top=1, budget_s=25.0), slower(1.08), Clock(10.0))
    assert len(timed.rounds) == 1


def test_a_device_that_is_faster_lets_better_ones_in(tmp_path: Path) -> None:
    # With the paper's penalty those above the limit have scores, too.
    search = usual_search(PAPER)
    once = run(request(tmp_path, search, most_rounds=1), slower(0.8))
    assert once.winner == once.first
    assert once.untested > 0
    once.require_winner()
    settled = run(request(tmp_path, search, most_rounds=10), slower(0.8))
    assert settled.winner is not None
    assert settled.untested == 0
    scores = {one.architecture: one.score for one in search.candidates}
    best = max(
        score for text, score in scores.items() if score and 0.8 * MODEL.latency_ms(SPACE.parse(text)) <= LIMIT_MS
    )
    assert costly(SPACE.parse(settled.winner.architecture)) == pytest.approx(best, rel=0.01)
    assert costly(SPACE.parse(once.winner.architecture)) < 0.9 * best


def test_a_cheaper_cell_of_a_good_score_is_proposed(tmp_path: Path) -> None:
    dear = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    cheap = SPACE.parse("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    assert SPACE.score_key(dear) == SPACE.score_key(cheap)
    plain = SPACE.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")

    # A table charges no dead edge, so what separates the two is set by hand.
    def costs_of(archive: Archive) -> NDArray[np.float64]:
        texts = [SPACE.format(Architecture(SPACE.name, tuple(map(int, row)))) for row in archive.genotypes]
        return np.array([{SPACE.format(cheap): 1.0, SPACE.format(plain): 0.5}.get(text, 4.0) for text in texts])

    constraints = (latency_limit(PRICE, 3.0),)
    search = found(SPACE, [dear, plain], constraints, lambda one: float(one == dear))
    archive = Archive(SPACE, search, constraints)
    costs = costs_of(archive)
    best = archive.standing(0, costs, costs, ()).within[0]
    assert (best.architecture, best.score, best.predicted_ms) == (SPACE.format(cheap), 1.0, 1.0)
    assert best.parameters == SPACE.parameters(cheap) != SPACE.parameters(dear)
    # What was measured is not measured against a cheaper one of the same score.
    costs[:1] = 2.0
    assert archive.standing(0, costs, costs, ()).within[0].architecture == SPACE.format(cheap)
    assert archive.standing(0, costs, costs, {SPACE.format(dear)}).within[0].architecture == SPACE.format(dear)


def test_what_the_search_screened_out_and_is_now_within_is_counted(tmp_path: Path) -> None:
    verified = run(request(tmp_path), slower(0.8))
    assert verified.winner == verified.first
    assert verified.rounds[0].unscored > 0
    assert run(request(tmp_path), slower(1.08)).rounds[0].unscored == 0


def test_other_limits_stay_predicted(tmp_path: Path) -> None:
    parameters = CountPrice(SPACE, PARAMETERS)
    small = float(np.median([parameters.cost(one) for one in CELLS]))
    constraints = (Constraint(Limit(PARAMETERS, small), parameters), latency_limit(PRICE, LIMIT_MS))
    search = found(SPACE, CELLS, constraints, costly)
    verified = run(request(tmp_path, search, constraints, most_rounds=10), slower(1.08))
    assert verified.max_latency_ms == LIMIT_MS
    measured = [SPACE.parse(one.architecture) for one in verified.candidates]
    assert max(map(parameters.cost, measured)) <= small
    assert verified.winner is not None
    assert verified.winner.measured_ms <= LIMIT_MS


def test_a_calibration_holds_its_bound_against_the_limit(tmp_path: Path) -> None:
    space = calibrations.SPACE
    made = calibration(fitted(network_ms(noise_pct=1.0)))
    model = CalibratedModel(space, made)
    ratio = model.upper_ratio(0.95)
    cells = random_cells(space, 80)
    at_most = float(np.median([model.latency_ms(one) for one in cells]))
    constraints = (latency_limit(LatencyPrice("calibration.json", model), at_most, 0.95, ratio),)
    search = found(space, cells, constraints, model.latency_ms, cells=2)
    asked = replace(request(tmp_path, constraints=constraints, search=search, priced_by=made), space=space)
    verified = run(asked, lambda one: 1.1 * model.latency_ms(one))
    assert verified.winner is not None
    assert verified.winner.measured_ms <= at_most
    assert not verified.rounds[0].candidates[0].feasible
    assert all(one.bound_over_prediction >= ratio > 1 for one in verified.rounds)


def test_what_fails_leaves_the_rounds_before_it(tmp_path: Path) -> None:
    asked = request(tmp_path, top=1)
    program = agent_program(lambda text: 1.08 * MODEL.latency_ms(SPACE.parse(text)))
    transports: list[FakeTransport] = []

    def connect(_device: Device) -> FakeTransport:
        broken = agent_program(lambda _text: 1.0, failing=frozenset(map(SPACE.format, SPACE.architectures())))
        transports.append(FakeTransport(broken if transports else program))
        return transports[-1]

    with pytest.raises(MeasurementFailedError, match="it crashed"):
        watched(closed_loop(asked, connect))
    kept = VERIFICATION_DOCUMENT.load(asked.measuring.out)
    assert len(kept.rounds) == len(kept.candidates) == 1
    assert kept.winner is None
    assert kept.untested > 0


def test_another_device_than_the_tables_is_refused(tmp_path: Path) -> None:
    program = agent_program(lambda _text: 1.0, replace(KEY, device_fingerprint="aarch64-1"))
    asked = request(tmp_path)
    with pytest.raises(KeyMismatchError, match="device_fingerprint"):
        watched(closed_loop(asked, lambda _: FakeTransport(program)))
    assert not asked.measuring.out.exists()


@pytest.mark.parametrize("wrong", [{"top": 0}, {"most_rounds": 0}])
def test_a_loop_of_nothing_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(BadInputError, match="at least one"):
        LoopSettings(KEY, Device(), QUICK, tmp_path / "verification.json", **wrong)


def test_prices_of_other_limits_are_refused(tmp_path: Path) -> None:
    search = request(tmp_path).search
    with pytest.raises(BadInputError, match="not of the limits"):
        request(tmp_path, search=search, constraints=(latency_limit(PRICE, 2 * LIMIT_MS),))
