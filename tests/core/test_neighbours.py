import numpy as np
import pytest

from discovery import neighbours
from discovery.composition import amounts
from discovery.neighbours import (
    BIAS_STD,
    SPREAD,
    Labelled,
    covariance,
    fractions_of,
    informed,
    joint_batch,
    shifts,
    similarity,
)


def fractions(*formulas):
    return fractions_of([amounts(formula) for formula in formulas])


NOTHING = Labelled(np.zeros((0, fractions("NaCl").shape[1])), np.zeros(0), np.zeros(0, dtype=bool))


def test_similarity_is_shared_atoms_over_all_atoms_cubed():
    one = fractions("NaCl", "KBr", "NaCl2", "NaBr")
    found = similarity(one[:1], one)[0]
    shared = 1 / 3 + 1 / 2  # Na 1/3 of 1/2 and 1/3, Cl 1/2 of 1/2 and 2/3
    assert found == pytest.approx([1.0, 0.0, (shared / (2 - shared)) ** 3, (0.5 / 1.5) ** 3])
    assert fractions("NaCl").sum() == 1.0


def test_similarities_are_a_covariance():
    formulas = [f"{a}{n}{b}" for a in ("Na", "K", "Mg", "Al") for b in ("Cl", "O", "F") for n in (1, 2, 3)]
    assert np.linalg.eigvalsh(covariance(fractions(*formulas), fractions(*formulas))).min() > -1e-9


def test_without_labels_nothing_moves():
    odds = np.array([0.3, -2.0])
    latent = informed(NOTHING, fractions("NaCl", "KBr"), odds)
    np.testing.assert_array_equal(latent.mean, odds)
    assert latent.covariance.diagonal() == pytest.approx([SPREAD**2 + BIAS_STD**2] * 2)


def test_one_label_moves_its_neighbour_more_than_a_stranger():
    candidates, odds = fractions("Na2Cl3", "KBr"), np.zeros(2)
    for stable in (True, False):
        labelled = Labelled(fractions("NaCl"), np.zeros(1), np.array([stable]))
        near, far = informed(labelled, candidates, odds).mean * (1 if stable else -1)
        assert near > far > 0  # the stranger moves with the bias alone


def test_shifts_are_the_mean_without_the_covariance(monkeypatch):
    monkeypatch.setattr(neighbours, "PART", 2)
    labelled = Labelled(fractions("NaCl", "MgO", "K2O"), np.array([1.0, -0.5, 0.2]), np.array([True, False, True]))
    candidates, odds = fractions("Na2Cl3", "KBr", "CaO", "K3O", "LiF"), np.arange(5.0)
    assert odds + shifts(labelled, candidates) == pytest.approx(informed(labelled, candidates, odds).mean)
    assert not shifts(NOTHING, candidates).any()


def test_one_label_by_hand():
    """One label: the mode a solves a = k (1 - expit(a)), and the mean of a twin is a itself."""
    labelled = Labelled(fractions("NaCl"), np.zeros(1), np.array([True]))
    latent = informed(labelled, fractions("NaCl"), np.zeros(1))
    k, mode = SPREAD**2 + BIAS_STD**2, latent.mean[0]
    chance = 1 / (1 + np.exp(-mode))
    assert mode == pytest.approx(k * (1 - chance), rel=1e-5)
    assert latent.covariance[0, 0] == pytest.approx(1 / (1 / k + chance * (1 - chance)), rel=1e-5)


def test_a_batch_leaves_a_twin_for_what_says_something_new():
    candidates = fractions("NaCl", "Na8Cl9", "KBr")
    latent = informed(NOTHING, candidates, np.array([0.0, -0.01, -0.02]))
    assert joint_batch(latent, 2, optimism=0.0) == [0, 1]
    assert joint_batch(latent, 3, optimism=1.0) == [0, 2, 1]


def test_variances_in_a_batch_are_those_of_conditioning():
    """The rank-one updates agree with the plain formula K - k' (K + noise)^-1 k."""
    formulas = ("NaCl", "NaCl2", "KCl", "KBr", "Na3Cl", "MgO")
    prior = covariance(fractions(*formulas), fractions(*formulas))
    mean = np.array([3.0, 2.0, 1.0, 0.0, -0.5, -1.0])
    chosen = joint_batch(informed(NOTHING, fractions(*formulas), mean), 2, optimism=0.3)
    chance = 1 / (1 + np.exp(-mean[chosen]))
    inner = prior[np.ix_(chosen, chosen)] + np.diag(1 / (chance * (1 - chance)))
    left = (prior - prior[:, chosen] @ np.linalg.solve(inner, prior[chosen])).diagonal()
    value = np.where(np.isin(np.arange(6), chosen), -np.inf, mean + 0.3 * np.sqrt(left))
    assert joint_batch(informed(NOTHING, fractions(*formulas), mean), 3, optimism=0.3)[2] == int(np.argmax(value))
