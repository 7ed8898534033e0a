from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from discovery.acquisition import (
    ACQUISITIONS,
    Beliefs,
    expected_improvement,
    judged,
    lower_confidence_bound,
    probability_of_stability,
    score,
    select_batch,
    thompson,
)

RNG = np.random.default_rng(0)


def beliefs(mean: list[float], std: list[float], best: float = 0.0, tolerance: float = 0.1) -> Beliefs:
    return Beliefs(np.array(mean), np.array(std), best, tolerance)


def test_expected_improvement_equals_its_closed_form() -> None:
    # EI = s (z Phi(z) + phi(z)), z = (best - mean) / s; Jones et al. (1998), eq. 15
    mean, std, best = np.array([-0.2, 0.0, 0.1, 0.3]), np.array([0.1, 0.05, 0.2, 0.15]), 0.05
    z = (best - mean) / std
    expected = std * (z * norm.cdf(z) + norm.pdf(z))
    got = expected_improvement(Beliefs(mean, std, best, 0.1), RNG)
    np.testing.assert_allclose(np.exp(got), expected, rtol=1e-10)


def test_expected_improvement_agrees_with_monte_carlo() -> None:
    draws = 0.1 + 0.2 * np.random.default_rng(1).standard_normal(2_000_000)
    simulated = np.maximum(0.05 - draws, 0).mean()
    got = np.exp(expected_improvement(beliefs([0.1], [0.2], best=0.05), RNG))[0]
    assert got == pytest.approx(simulated, rel=5e-3)


def test_expected_improvement_stays_finite_and_ordered_far_above_the_best() -> None:
    # z = -100: the plain value underflows to 0; the two formulas must join at z = -50
    far = expected_improvement(beliefs([10.0, 20.0, 40.0], [0.1, 0.1, 0.1]), RNG)
    assert np.isfinite(far).all()
    assert far[0] > far[1] > far[2]
    certain = expected_improvement(beliefs([-9.0], [0.1]), RNG)  # z = 90: the improvement is the difference itself
    assert np.exp(certain)[0] == pytest.approx(9.0)
    joint = expected_improvement(beliefs([5.0 - 1e-9, 5.0 + 1e-9], [0.1, 0.1]), RNG)  # z = -50 on either side
    assert joint[0] == pytest.approx(joint[1], abs=1e-5)


def test_probability_of_stability_is_the_normal_distribution() -> None:
    got = np.exp(probability_of_stability(beliefs([0.1, 0.0, 0.3], [0.05, 0.1, 0.1], tolerance=0.1), RNG))
    np.testing.assert_allclose(got, [0.5, norm.cdf(1), norm.cdf(-2)], rtol=1e-12)


def test_lower_confidence_bound_prefers_the_more_uncertain_of_two_equal_means() -> None:
    values = lower_confidence_bound(beliefs([0.1, 0.1], [0.01, 0.2]), RNG)
    assert values[1] > values[0]


def test_thompson_follows_its_generator() -> None:
    b = beliefs([0.1] * 5, [0.1] * 5)
    same = [thompson(b, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], thompson(b, np.random.default_rng(8)))


@pytest.mark.parametrize("name", sorted(set(ACQUISITIONS) - {"random"}))
def test_lower_energy_is_never_less_desirable(name: str) -> None:
    b = beliefs([0.3, 0.2, 0.1, 0.0, -0.1], [1e-9] * 5)
    assert (np.diff(score(name, b, np.zeros(5), 0.0, np.random.default_rng(0))) >= 0).all()


def test_the_prior_breaks_ties_and_missing_priors_count_as_the_lowest() -> None:
    b = beliefs([0.1] * 3, [0.1] * 3)
    values = score("stability", b, np.array([-3.0, np.nan, -9.0]), 1.0, RNG)
    assert values[0] - values[2] == pytest.approx(6.0)
    assert values[1] == values[2]


def test_a_batch_takes_the_best_but_not_too_many_of_one_system() -> None:
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    systems = ["Li-O", "Li-O", "Li-O", "Na-Cl", "K-F"]
    assert select_batch(scores, systems, 3, 2) == [0, 1, 3]
    assert select_batch(scores, systems, 4, 1) == [0, 3, 4, 1]  # short of other systems: filled up
    assert select_batch(scores, systems, 9, 1) == [0, 3, 4, 1, 2]


def test_candidates_that_cannot_be_scored_are_never_selected() -> None:
    assert select_batch(np.array([-np.inf, 1.0]), ["A-B", "C-D"], 2, 2) == [1]


def test_without_a_judge_the_log_odds_are_those_of_the_predictions() -> None:
    b = beliefs([0.1, 0.0], [0.05, 0.1])
    np.testing.assert_allclose(judged(b, RNG), [0.0, np.log(norm.cdf(1) / norm.cdf(-1))], atol=1e-12)
    told = dataclasses.replace(b, log_odds=np.array([3.0, -2.0]))
    np.testing.assert_array_equal(score("judged", told, np.array([-1.0, -9.0]), 0.5, RNG), [2.5, -6.5])
