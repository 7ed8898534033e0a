import json
from itertools import product
from math import gcd

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import likelihood_ranking as bench
from discovery.composition import canonical_key
from discovery.errors import DataError
from discovery.validity import Rules, verdict


def small_pool(known=("KZnF3", "K2ZnF4", "K2ZnO2", "KZn4F99")):
    found = {}
    for formula in known:
        counts = bench.amounts(formula)
        found.setdefault(tuple(sorted(counts)), set()).add(canonical_key(counts))
    return bench.build_pool(found, max_atoms=9, states="icsd24")


@pytest.mark.parametrize("states", ["icsd24", "icsd24-medium", "smact14"])
@pytest.mark.parametrize("system", [("K", "Zn", "O"), ("Fe", "S"), ("Na", "C", "Se")])
def test_the_enumeration_is_exactly_the_balanced_compositions(system, states):
    found = {canonical_key(counts) for counts in bench.balanced_compositions(system, 8, states)}
    every = (dict(zip(system, row, strict=True)) for row in product(range(1, 9), repeat=len(system)))
    reduced = [counts for counts in every if sum(counts.values()) <= 8 and gcd(*counts.values()) == 1]
    rules = Rules(states=states)
    assert found == {canonical_key(c) for c in reduced if verdict(c, rules).electronegativity_balanced}
    assert found or "Se" in system  # carbon and selenium are equally electronegative: nothing under the strict states


def test_the_pool_marks_the_known_ones_and_counts_those_out_of_reach():
    pool = small_pool()
    known = {formula for formula, flag in zip(pool.formulas, pool.withheld, strict=True) if flag}
    assert known == {"F3K1Zn1", "F4K2Zn1", "K2O2Zn1"}
    assert pool.outside == 1
    assert set(pool.systems) == {0, 1}
    assert pool.atoms[pool.formulas.index("F4K2Zn1")] == 7


def test_the_area_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, 500).astype(float)  # many ties
    positive = rng.random(500) < 0.1 + 0.02 * scores
    weights = rng.integers(0, 3, 500).astype(float)
    assert bench.auc(scores, positive, weights) == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
    assert bench.auc(positive.astype(float), positive, np.ones(500)) == 1
    assert bench.auc(np.zeros(500), positive, np.ones(500)) == 0.5


def test_ties_across_the_border_count_by_expectation():
    positive = np.array([True, True, False, False, False, True])
    assert bench.found_first(np.array([5.0, 4, 3, 2, 1, 0]), positive, 2) == 2
    assert bench.found_first(np.zeros(6), positive, 2) == pytest.approx(1.0)
    assert bench.found_first(np.array([9.0, 1, 1, 1, 1, 0]), positive, 3) == pytest.approx(1 + 2 / 4)


def test_perfect_and_useless_rankings():
    pool = small_pool()
    perfect = bench.ranking(pool.withheld.astype(float), pool, seed=0)
    assert perfect["auc"] == perfect["auc_low"] == perfect["auc_high"] == 1
    useless = bench.ranking(np.zeros(len(pool.formulas)), pool, seed=0)
    assert useless["auc"] == 0.5


class Knows:
    """Each token costs ln 4; the known ones come first by a constant that perplexity sees, too."""

    version = "knows"
    card = {"data": {"withheld": {"K-Zn": 3}}}  # noqa: RUF012 (a fake)

    def log_probability(self, formulas):
        return -np.log(4.0) * np.array([sum(bench.amounts(formula).values()) + 1 for formula in formulas])


def test_perplexity_is_per_token():
    found = bench.measure(Knows(), frozenset({"K", "Zn"}), small_pool(), seed=0)
    assert found["perplexity_per_token"] == pytest.approx(4.0)
    assert found["trained_without_family"] is True
    assert found["auc"] == bench.ranking(-small_pool().atoms.astype(float), small_pool(), 0)["auc"]
    assert bench.trained_without(Knows(), frozenset({"K", "Zn", "O"})) is True
    assert bench.trained_without(Knows(), frozenset({"K", "Na"})) is None


def test_the_command(tmp_path, capsys):
    (tmp_path / "known.csv").write_text("formula\nKZnF3\nK2ZnF4\nNaCl\nK2ZnO2\n")
    options = ["--data", str(tmp_path / "known.csv"), "--max-atoms", "8"]
    assert bench.main(["--models", "random", *options, "--family", "K-Zn"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["family"], found["systems"], found["withheld"]) == ("K-Zn", 2, 3)
    assert found["models"]["random"]["auc"] == 0.5
    assert found["models"]["random"]["trained_without_family"] is None
    assert found["models"]["random"]["perplexity_per_token"] is None
    with pytest.raises(DataError, match="no compound with"):
        bench.main(["--models", "random", *options, "--family", "Cs-Zn"])
