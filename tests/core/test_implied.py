import pytest

from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.reference.competition import CompletedHull
from discovery.reference.implied import WithBinaries, binaries
from discovery.reference.known import ListedFormulas
from discovery.validity import judge


def test_binaries_are_charge_neutral_and_written_as_elsewhere():
    assert binaries(("F", "Sc")) == binaries(("Sc", "F"))
    assert "ScF3" in binaries(("F", "Sc"))
    assert set(binaries(("Fe", "O"))) >= {"FeO", "Fe2O3"}
    assert all(judge(formula).electronegativity_balanced for formula in binaries(("Fe", "O")))
    assert binaries(("Na", "K")) == ()  # no anion among them
    assert binaries(("He", "O")) == ()


def test_a_system_holds_its_known_phases_and_its_implied_binaries():
    known = WithBinaries(ListedFormulas(["CsF", "Cs3ScF6", "NaCl"]))
    found = known.in_system(("Cs", "Sc", "F"))
    assert found[:2] == ("CsF", "Cs3ScF6")
    assert "ScF3" in found
    assert "NaCl" not in found
    assert "ScF3" not in known  # implied, not known
    assert len(known) == 3


class Constant:
    """Predicts -3 eV/atom for everything."""

    def predict(self, formulas, scheme):
        import numpy as np

        from discovery.surrogates.base import Prediction

        return Prediction(np.full(len(formulas), -3.0), np.zeros(len(formulas)), np.ones(len(formulas)))


def test_a_missing_binary_competes_with_its_predicted_energy():
    phases = [Phase("CsF", -2.0)]
    alone = Hull(phases, "mp2019")
    assert alone.hull_energy("Cs3ScF6")[0] == pytest.approx(-2.0 * 6 / 10)  # 3 CsF and the elements
    completed = CompletedHull(alone, WithBinaries(ListedFormulas(["CsF"])), Constant())
    energy, competing = completed.hull_energy("Cs3ScF6")
    assert competing == ("CsF", "ScF3*")
    assert energy == pytest.approx(-2.0 * 6 / 10 - 3.0 * 4 / 10)
