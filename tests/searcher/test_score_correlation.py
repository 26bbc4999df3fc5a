"""Correlations of scores with accuracy: τ-b by definition, resample for resample, and differences that are paired."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.cost_models.agreement import Estimate, kendall_tau
from searcher.errors import BadInputError
from searcher.search.scores.correlation import correlation, correlation_difference

Values = NDArray[np.float64]


def related(count: int, noise: float, seed: int = 0) -> tuple[Values, Values, Values]:
    """Accuracies with ties, and two scores of them that err alike but for a little."""
    generator = np.random.default_rng(seed)
    accuracies = np.round(generator.normal(size=count), 1)
    first = accuracies + noise * generator.normal(size=count)
    return accuracies, first, first + 0.1 * noise * generator.normal(size=count)


def written_out(scores: Values, accuracies: Values, seed: int, resamples: int) -> list[float]:
    """τ-b of resamples that are written out, architecture by architecture."""
    count = len(scores)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    taus = []
    for times in drawn:
        chosen = np.repeat(np.arange(count), times)
        tau = kendall_tau(scores[chosen], accuracies[chosen])
        assert tau is not None
        taus.append(tau)
    return taus


def test_every_resample_has_the_tau_of_its_definition() -> None:
    accuracies, scores, _ = related(25, 0.8)
    found = correlation(np.round(scores, 1), accuracies, np.random.default_rng(5), resamples=300)
    assert found.value == kendall_tau(np.round(scores, 1), accuracies)
    taus = written_out(np.round(scores, 1), accuracies, 5, 300)
    assert found.interval == pytest.approx(tuple(np.quantile(taus, [0.025, 0.975])), abs=1e-12)


def test_a_difference_is_paired() -> None:
    accuracies, first, second = related(40, 0.8)
    found = correlation_difference(first, second, accuracies, np.random.default_rng(5), resamples=300)
    taus, others = (np.array(written_out(one, accuracies, 5, 300)) for one in (first, second))
    assert found.interval == pytest.approx(tuple(np.quantile(taus - others, [0.025, 0.975])), abs=1e-12)
    tau, other = kendall_tau(first, accuracies), kendall_tau(second, accuracies)
    assert tau is not None
    assert other is not None
    assert found.value == pytest.approx(tau - other)
    # What is common to both cancels: either tau alone is known much less well.
    alone = correlation(first, accuracies, np.random.default_rng(5), resamples=300)
    assert found.interval is not None
    assert alone.interval is not None
    assert found.interval[1] - found.interval[0] < 0.5 * (alone.interval[1] - alone.interval[0])


def test_a_score_does_not_differ_from_itself() -> None:
    accuracies, first, _ = related(30, 0.5)
    found = correlation_difference(first, 3 * first, accuracies, np.random.default_rng(0), resamples=50)
    assert found == Estimate(0.0, (0.0, 0.0))


def test_intervals_cover_what_they_should() -> None:
    # The true τ of a bivariate normal distribution is 2/π · arcsin(r) for a correlation of r.
    rho, runs, covered = 0.7, 60, 0
    truth = 2 / np.pi * np.arcsin(rho)
    generator = np.random.default_rng(2)
    for _ in range(runs):
        accuracies = generator.normal(size=60)
        scores = rho * accuracies + np.sqrt(1 - rho**2) * generator.normal(size=60)
        interval = correlation(scores, accuracies, generator, resamples=300).interval
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.88 <= covered / runs < 1


def test_ten_thousand_resamples_are_the_default_and_the_seed_decides() -> None:
    accuracies, scores, _ = related(60, 0.8)
    once, again, other = (correlation(scores, accuracies, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once == again != other
    assert once.value == other.value


def test_a_constant_side_has_no_correlation() -> None:
    accuracies, scores, _ = related(10, 0.5)
    constant = np.ones(10)
    assert correlation(constant, accuracies, np.random.default_rng(0), 20) == Estimate(None, None)
    assert correlation_difference(scores, constant, accuracies, np.random.default_rng(0), 20) == Estimate(None, None)


@pytest.mark.parametrize(
    ("scores", "accuracies", "wrong", "complaint"),
    [
        ([1.0, 2.0], [1.0], {}, "no numbers of the same architectures"),
        ([], [], {}, "no numbers of the same architectures"),
        ([[1.0], [2.0]], [[1.0], [2.0]], {}, "no numbers of the same architectures"),
        ([1.0, np.nan], [1.0, 2.0], {}, "not a finite number"),
        ([1.0, 2.0], [1.0, 2.0], {"resamples": 0}, "at least 1 resample"),
        ([1.0, 2.0], [1.0, 2.0], {"confidence": 1.0}, "a confidence between 0 and 1"),
    ],
)
def test_what_cannot_be_correlated_is_refused(
    scores: Any, accuracies: Any, wrong: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInputError, match=complaint):
        correlation(np.array(scores), np.array(accuracies), np.random.default_rng(0), **wrong)
