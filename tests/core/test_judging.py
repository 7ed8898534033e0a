import numpy as np
import pytest
from scipy.special import expit, logit

from discovery.judging import Clues, Examples, fitted_weights, judge, log_odds, map_logistic


def clues(above_hull, std=0.1, prior=None, atoms=5.0):
    n = len(above_hull)
    priors = np.full(n, np.nan) if prior is None else np.asarray(prior, dtype=float)
    one = np.ones(n)
    return Clues(np.asarray(above_hull, dtype=float), std * one, -one, priors, atoms * one, 3 * one)


def nothing():
    return Examples(clues([]), np.zeros(0, dtype=bool))


def test_without_labels_the_rule_is_the_product_of_experts():
    weights = fitted_weights(np.zeros(0), nothing(), 0.5)
    assert (weights.odds, weights.prior, weights.size) == (1.0, 0.5, 0.0)
    value = weights.value(np.array([1.0, 2.0]), np.array([-4.0, np.nan]), np.array([9.0, 9.0]))
    assert value.tolist() == [1.0 - 2.0, 2.0 - 2.0]


def test_the_mode_has_no_gradient_and_a_wide_prior_gives_the_share():
    labels = np.array([True] * 3 + [False] * 7)
    ones = np.ones((10, 1))
    (bias,) = map_logistic(ones, labels, np.zeros(1), np.array([1e6]))
    assert bias == pytest.approx(logit(0.3))  # maximum likelihood of a constant
    (held,) = map_logistic(ones, labels, np.zeros(1), np.array([0.5]))
    assert (labels - expit(held)).sum() == pytest.approx(held / 0.25)  # likelihood's pull = prior's pull


def test_labels_raise_the_weight_of_the_clue_that_tells():
    rng = np.random.default_rng(0)
    prior = rng.normal(-20.0, 5.0, 400)
    odds = rng.normal(size=400)
    stable = prior + rng.normal(size=400) > -20.0
    weights = fitted_weights(odds, Examples(clues(np.zeros(400), prior=prior), stable), 0.1)
    assert weights.prior > 0.5
    assert weights.odds < 0.6
    shuffled = fitted_weights(odds, Examples(clues(np.zeros(400), prior=prior), rng.permutation(stable)), 0.1)
    assert shuffled.prior < 0.05


def test_the_forest_learns_that_a_clue_lies():
    """More than 0.3 eV/atom below the hull nothing is stable here, as where phases are missing: no monotone rule."""
    rng = np.random.default_rng(0)
    energies = rng.uniform(-1.0, 1.0, 2000)
    known = Examples(clues(energies), (energies < 0) & (energies > -0.3))
    asked = clues([-0.9, -0.15, 0.5])
    odds = judge(known, nothing(), asked, 0.0, seed=1)
    assert odds[1] > 2
    assert (odds[[0, 2]] < -2).all()
    np.testing.assert_array_equal(odds, judge(known, nothing(), asked, 0.0, seed=1))


def test_labels_of_the_campaign_override_known_compounds():
    known = Examples(clues(np.full(60, -0.2)), np.arange(60) % 2 == 0)
    answers = Examples(clues(np.full(60, -0.2)), np.zeros(60, dtype=bool))
    before = judge(known, nothing(), clues([-0.2]), 0.0, seed=0)[0]
    after = judge(known, answers, clues([-0.2]), 0.0, seed=0)[0]
    assert expit(before) == pytest.approx(0.5, abs=0.05)
    assert expit(after) == pytest.approx(30 / (60 + 3 * 60), abs=0.05)


def test_without_examples_the_surrogate_is_believed():
    odds = judge(nothing(), nothing(), clues([0.0, 0.1]), 0.0, seed=0)
    assert expit(odds) == pytest.approx([0.5, 0.158655], abs=1e-5)
    assert judge(nothing(), nothing(), clues([]), 0.0, seed=0).shape == (0,)


def test_log_odds_are_finite():
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
