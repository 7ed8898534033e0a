from collections import Counter
from math import exp

import numpy as np
import pytest
from pymatgen.analysis.structure_prediction.substitution_probability import SubstitutionProbability

from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.generators.ion_exchange import ION_EXCHANGE, IonExchange
from discovery.generators.ions import assigned_ions
from discovery.generators.zoo import load_generator
from discovery.validity import judge


def draw(generator, n=200, seed=0, constrained=False, **constraints):
    options = SamplingOptions(constrained=constrained, constraints=Constraints(**constraints))
    return generator.sample(n, np.random.default_rng(seed), options)


@pytest.mark.parametrize(
    ("formula", "charges"),
    [
        ("SrTiO3", {"Sr": 2, "Ti": 4, "O": -2}),
        ("LiFePO4", {"Li": 1, "Fe": 2, "P": 5, "O": -2}),
        ("K2Cr2O7", {"K": 1, "Cr": 6, "O": -2}),
        ("KClO4", {"K": 1, "Cl": 7, "O": -2}),
        ("Fe3O4", None),  # mixed valence
        ("NiTi", None),
    ],
)
def test_oxidation_states_of_textbooks(formula, charges):
    found = assigned_ions(formula)
    assert (None if found is None else dict(found)) == charges


def test_an_exchange_keeps_the_stoichiometry_and_at_least_one_ion_changes():
    parent = amounts("LiFePO4")
    changed = Counter()
    for sample in draw(IonExchange(("LiFePO4",)), 300):
        found = amounts(sample.formula)
        assert sorted(found.values()) == sorted(parent.values())
        new = found.keys() - parent.keys()
        changed[len(new)] += 1
        assert judge(sample.formula).charge_neutral
    assert set(changed) == {1, 2}


def test_probabilities_are_those_of_the_table():
    """NaCl: odds of each exchange are the product of exp(lambda) ratios over the exchanged ions."""
    table = SubstitutionProbability()
    own = {"Na": exp(table.get_lambda("Na+", "Na+")), "Cl": exp(table.get_lambda("Cl-", "Cl-"))}
    potassium = exp(table.get_lambda("Na+", "K+")) / own["Na"]
    lithium = exp(table.get_lambda("Na+", "Li+")) / own["Na"]
    bromide = exp(table.get_lambda("Cl-", "Br-")) / own["Cl"]
    drawn = Counter(sample.formula for sample in draw(IonExchange(("NaCl",)), 4000))
    assert "NaCl" not in drawn
    assert drawn["KCl"] / drawn["LiCl"] == pytest.approx(potassium / lithium, rel=0.25)
    assert drawn["KCl"] / drawn["NaBr"] == pytest.approx(potassium / bromide, rel=0.25)
    assert drawn["KBr"] / drawn["KCl"] == pytest.approx(bromide, rel=0.25)


def test_samples_of_the_shipped_reference_are_valid_and_follow_the_seed():
    samples = draw(ION_EXCHANGE)
    assert samples == draw(ION_EXCHANGE) != draw(ION_EXCHANGE, seed=1)
    verdicts = [judge(sample.formula) for sample in samples]
    assert all(v.charge_neutral for v in verdicts)
    assert sum(v.electronegativity_balanced for v in verdicts) > 180
    assert len({sample.formula for sample in samples}) > 180
    assert all(sample.sequence.endswith("<end>") and sample.log_probability == 0 for sample in samples)


def test_constrained_ones_all_pass_the_pauling_test():
    free = [judge(sample.formula).electronegativity_balanced for sample in draw(ION_EXCHANGE, 600)]
    assert not all(free), "some must fail for the comparison to mean anything"
    assert all(judge(sample.formula).electronegativity_balanced for sample in draw(ION_EXCHANGE, 600, constrained=True))


@pytest.mark.parametrize(
    "limits",
    [
        {"allowed": frozenset({"Li", "Zn", "P", "O"}), "required": frozenset({"Li", "Zn", "P", "O"})},
        {"required": frozenset({"Cs", "Zr"})},
        {"excluded": frozenset({"O", "F"}), "max_atoms": 6, "max_elements": 3},
        {"allowed": frozenset({"Na", "K", "Cl", "Br", "Mg"})},
    ],
)
def test_constraints_are_honoured(limits):
    for sample in draw(ION_EXCHANGE, 60, **limits):
        assert Constraints(**limits).violation(amounts(sample.formula)) is None


def test_impossible_constraints_are_said():
    with pytest.raises(ConstraintError, match="no exchange"):
        draw(ION_EXCHANGE, 1, allowed=frozenset({"Li", "Na"}))
    with pytest.raises(ConstraintError, match="no exchange"):
        draw(IonExchange(("NaCl",)), 1, required=frozenset({"Mg"}))


def test_it_is_in_the_zoo(tmp_path):
    assert load_generator("ion-exchange") is ION_EXCHANGE
    ION_EXCHANGE.save(tmp_path)
    assert load_generator(str(tmp_path)) is ION_EXCHANGE
    assert ION_EXCHANGE.fine_tune(["NaCl"], np.random.default_rng(0), 1, 1e-3) is ION_EXCHANGE
    assert ION_EXCHANGE.on("cpu") is ION_EXCHANGE
    assert list(ION_EXCHANGE.log_probability(["NaCl"])) == [0.0]
    own = IonExchange(("NaCl",))
    assert own.version not in (ION_EXCHANGE.version, IonExchange(("KCl",)).version)
    with pytest.raises(ConfigError, match="own parents"):
        own.save(tmp_path)
