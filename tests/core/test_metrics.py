import pytest

from discovery.metrics import generative_metrics, reduced
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
