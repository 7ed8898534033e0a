import numpy as np
import pytest

from discovery.metrics import evaluation, generative_metrics, reduced, share
from discovery.records import Sample


def samples(*formulas):
    return [Sample("", formula, 0.0) for formula in formulas]


def test_rates_are_over_all_samples():
    # valid, valid (a multiple of the first), charge neutral only, not neutral, single element, no composition
    drawn = samples("NaCl", "Na2Cl2", "CSe2", "NaK", "O2", None, "MgO", "SrTiO3")
    metrics = generative_metrics(drawn, training={"NaCl", "MgO"}, held_out={"SrTiO3", "CaO"})
    assert metrics.n == 8
    assert metrics.charge_neutral == 5 / 8
    assert metrics.electronegativity_balanced == 4 / 8
    assert metrics.uniqueness == 5 / 8  # NaCl, CSe2, NaK, MgO, SrTiO3
    assert metrics.novelty == 3 / 5
    assert metrics.recovery == 1 / 2
    assert metrics.recovered == 1


def test_a_multiple_counts_as_its_reduced_formula():
    assert reduced(Sample("", "O6Fe4", 0.0)) == "Fe2O3"


def test_metrics_without_any_composition():
    metrics = generative_metrics(samples(None, "O2"), training=set())
    assert (metrics.charge_neutral, metrics.uniqueness, metrics.novelty, metrics.recovery) == (0, 0, 0, None)


def test_the_table_of_states_matters():
    drawn = samples("MgCl", "NaCl")  # magnesium +1 is in the older list only
    filtered = generative_metrics(drawn, set())
    older = generative_metrics(drawn, set(), states="smact14")
    assert (filtered.states, older.states) == ("icsd24", "smact14")
    assert (filtered.charge_neutral, older.charge_neutral) == (0.5, 1.0)


def test_rates_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        generative_metrics([], set())


def test_an_interval_has_the_width_of_a_binomial():
    found = share(900, 1000, np.random.default_rng(0))
    error = (0.9 * 0.1 / 1000) ** 0.5
    assert found.value == 0.9
    assert found.low == pytest.approx(0.9 - 1.96 * error, abs=0.002)
    assert found.high == pytest.approx(0.9 + 1.96 * error, abs=0.002)
    assert found == share(900, 1000, np.random.default_rng(0))


def test_none_or_all_is_no_certainty():
    none, every = share(0, 100, np.random.default_rng(0)), share(100, 100, np.random.default_rng(0))
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(0.0370, abs=1e-4)  # Wilson's interval of 0 out of 100
    assert every.low == pytest.approx(1 - 0.0370, abs=1e-4)
    nothing = share(0, 0, np.random.default_rng(0))
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 1.0)


def test_intervals_of_uniqueness_and_recovery_hold_the_truth():
    """A resampled list repeats formulas, so a naive bootstrap finds too few; ours must hold the expected share."""
    rng = np.random.default_rng(0)
    names = [f"Na{a}Cl{b}" for a in range(1, 60) for b in range(1, 60) if np.gcd(a, b) == 1]
    chances = 1 / np.arange(5, 5 + len(names))
    chances /= chances.sum()
    held_out = rng.choice(len(names), size=400, replace=False)
    n, repeats = 600, 60
    seen = 1 - (1 - chances) ** n
    truths = {"uniqueness": seen.sum() / n, "recovery": seen[held_out].mean()}
    held = dict.fromkeys(truths, 0)
    for _ in range(repeats):
        drawn = [names[index] for index in rng.choice(len(names), size=n, p=chances)]
        found = evaluation(drawn, set(), {names[index] for index in held_out}, rng)
        for name, truth in truths.items():
            held[name] += getattr(found, name).low <= truth <= getattr(found, name).high
    assert all(count >= 0.9 * repeats for count in held.values()), held
