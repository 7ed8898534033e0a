import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from discovery.errors import ConfigError, DataError, SchemeError
from discovery.hull import Hull
from discovery.reference import competition
from discovery.reference.__main__ import main
from discovery.reference.base import Phase, Reference
from discovery.reference.building import add_rates, formation_table, known_formulas, measured_rates, write_reference
from discovery.reference.builtin import DATA, load_builtin, read_reference
from discovery.reference.competition import CompletedHull, complete_phases, has_unmeasured_phases, missing_phases
from discovery.reference.fitting import fit_references, formation_energies
from discovery.reference.known import ListedFormulas
from discovery.reference.loading import load_reference
from discovery.reference.quality import Completion, Rate, apparent_energies, false_stable_rates, false_unstable_rates
from discovery.surrogates.base import Prediction

AMOUNTS = [("", ""), ("2", ""), ("", "2"), ("3", ""), ("", "3"), ("3", "2")]
COMPOUNDS = [f"{cation}{m}{anion}{n}" for cation in ("Na", "K") for anion in ("Cl", "F") for m, n in AMOUNTS]
TRUE_REFERENCES = {"Na": -1.3, "K": -1.1, "Cl": -1.8, "F": -1.9}


class ConstantSurrogate:
    """Predicts one energy for everything, and counts the calls."""

    schemes = ("test",)

    def __init__(self, energy: float) -> None:
        self.energy = energy
        self.version = f"constant {energy}"
        self.asked: list[list[str]] = []

    def predict(self, formulas: Sequence[str], scheme: str) -> Prediction:
        assert scheme == "test"
        self.asked.append(list(formulas))
        zeros = np.zeros(len(formulas))
        return Prediction(zeros + self.energy, zeros, zeros)


def total_energies(formation: NDArray[np.float64]) -> NDArray[np.float64]:
    return formation - formation_energies(COMPOUNDS, np.zeros(len(COMPOUNDS)), TRUE_REFERENCES)


def test_fit_recovers_references_in_spite_of_an_outlier() -> None:
    formation = np.linspace(-3, -0.5, len(COMPOUNDS))
    total = total_energies(formation)
    total[2] += 2.0
    fit = fit_references(COMPOUNDS, total, formation, {})
    assert fit.references == pytest.approx(TRUE_REFERENCES, abs=0.02)
    assert fit.residuals[2] == pytest.approx(2.0, abs=0.02)
    assert fit.by_element(COMPOUNDS)["F"]["compounds"] == 12


def test_the_prior_decides_only_where_there_are_no_compounds() -> None:
    formation = np.linspace(-3, -0.5, len(COMPOUNDS))
    fit = fit_references(COMPOUNDS, total_energies(formation), formation, {"Xe": -0.05, "Na": 5.0})
    assert fit.references["Xe"] == pytest.approx(-0.05)
    assert fit.references["Na"] == pytest.approx(TRUE_REFERENCES["Na"], abs=0.1)


def test_formation_energy_of_an_element_is_zero() -> None:
    assert formation_energies(["Na"], np.array([-1.3]), TRUE_REFERENCES) == pytest.approx([0.0])


def test_rates_are_counted_against_those_truly_above_or_within() -> None:
    true, apparent = np.array([0.3, 0.2, 0.05, -0.1, -0.2]), np.array([0.3, 0.05, -0.1, 0.15, -0.3])
    assert false_stable_rates(true, apparent, (0.0, 0.1)) == {0.0: Rate(1, 3), 0.1: Rate(1, 2)}
    assert false_unstable_rates(true, apparent, (0.0, 0.1)) == {0.0: Rate(1, 2), 0.1: Rate(1, 3)}
    assert Rate(1, 4).share == 0.25
    assert Rate(0, 0).share == 0.0


def test_a_missing_phase_makes_an_unstable_compound_look_stable_and_completion_mends_it() -> None:
    rows = pd.DataFrame({"reduced_formula": ["Li3O"], "formation_energy_per_atom": [-1.0]})
    hull = Hull([Phase("Li3O", -1.0)], "test")
    assert apparent_energies(rows, hull) == pytest.approx([-1.0])
    completion = Completion(ListedFormulas(["Li2O", "Li3O"]), lambda formulas: np.full(len(formulas), -2.0))
    # Li3O = Li2O (3 of 4 atoms) + Li
    assert apparent_energies(rows, hull, completion) == pytest.approx([-1.0 + 1.5])


def test_missing_known_phases_compete_with_predicted_energies() -> None:
    hull = Hull([Phase("Li2O", -2.0), Phase("NaCl", -2.1)], "test")
    known = ListedFormulas(["Li2O", "Li2O2", "NaCl", "KCl"])
    assert missing_phases(hull, known, ["O", "Li"]) == ("Li2O2",)
    phases = complete_phases(hull, known, ["Li", "O"], lambda formulas: np.full(len(formulas), -1.7))
    assert phases == (Phase("Li2O2", -1.7, predicted=True),)
    assert has_unmeasured_phases(hull, known, ["Li", "O"])
    assert not has_unmeasured_phases(hull, known, ["Na", "Cl"])


def test_completed_hull_asks_the_surrogate_once_for_many_systems() -> None:
    surrogate = ConstantSurrogate(-1.0)
    plain = Hull([Phase("NaCl", -2.1)], "test")
    hull = CompletedHull(plain, ListedFormulas(["Li2O", "KCl", "NaCl", "MgO"]), surrogate)
    facing = hull.facing(["Li3O", "K2Cl", "Na2Cl", "Li4O"])
    assert surrogate.asked == [["KCl", "Li2O"]]
    assert facing.hull_energy("Li3O") == (-0.75, ("Li", "Li2O*"))
    assert hull.energy_above_hull("K2Cl", -0.5).competing_phases == ("K", "KCl*")
    assert len(surrogate.asked) == 1
    assert hull.phase("MgO") == Phase("MgO", -1.0, predicted=True)
    assert len(plain) == 1


def test_a_measured_phase_takes_the_place_of_its_prediction() -> None:
    hull = CompletedHull(Hull([], "test"), ListedFormulas(["Li2O"]), ConstantSurrogate(-3.0))
    assert hull.hull_energy("Li3O")[1] == ("Li", "Li2O*")
    measured = hull.with_phase(Phase("Li2O", -2.0), "test")
    assert measured.hull_energy("Li3O") == (-1.5, ("Li", "Li2O"))
    assert hull.hull_energy("Li3O")[1] == ("Li", "Li2O*")
    with pytest.raises(SchemeError):
        hull.with_phase(Phase("Li2O", -2.0), "mp2020")


def test_another_surrogate_predicts_all_that_competes_by_prediction() -> None:
    """Candidates and competitors of one surrogate: what it gets wrong about both cancels."""
    first, shifted = ConstantSurrogate(-1.0), ConstantSurrogate(-1.5)
    hull = CompletedHull(Hull([Phase("NaCl", -2.1)], "test"), ListedFormulas(["Li2O", "NaCl"]), first)
    assert hull.hull_energy("Li3O")[0] == -0.75
    grown = hull.with_phase(Phase("KCl", -2.2), "test").predicted_by(shifted)
    assert grown.phase("Li2O") == Phase("Li2O", -1.5, predicted=True)
    assert grown.hull_energy("Li3O")[0] == -1.5 * 3 / 4
    assert grown.phase("NaCl") == Phase("NaCl", -2.1)  # measured ones stay
    assert grown.phase("KCl") == Phase("KCl", -2.2)
    assert hull.phase("Li2O") == Phase("Li2O", -1.0, predicted=True)
    assert hull.predicted_by(ConstantSurrogate(-1.0)) is hull


def test_completed_hull_does_not_depend_on_the_order_of_questions() -> None:
    known = ListedFormulas(["Li2O", "LiCl", "Cl2O"])
    hulls = [CompletedHull(Hull([], "test"), known, ConstantSurrogate(-1.0)) for _ in range(2)]
    asked = ["Li3O", "Li2Cl", "Li2ClO"]
    first = [hulls[0].hull_energy(formula) for formula in asked]
    assert [hulls[1].hull_energy(formula) for formula in asked[::-1]][::-1] == first


def test_a_completed_hull_keeps_its_memory_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competition, "KEPT_SYSTEMS", 2)
    hull = CompletedHull(Hull([], "test"), ListedFormulas(["Li2O", "NaCl"]), ConstantSurrogate(-1.0))
    asked = ["Li3O", "Na2Cl", "KF", "MgO", "Li4O", "LiNaO"]
    once = [hull.hull_energy(formula) for formula in asked]
    assert len(hull._done) <= 2
    assert [hull.hull_energy(formula) for formula in asked] == once
    assert len(hull) == 2


def build_small(folder: Path) -> None:
    """A whole reference of a few salts; one of them suspicious."""
    formation = np.linspace(-3, -0.5, len(COMPOUNDS))
    total = total_energies(formation)
    total[4] -= 0.8
    ids = [f"mp-{i}" for i in range(len(COMPOUNDS))]
    computed = {"reduced_formula": COMPOUNDS, "material_id": ids, "energy_per_atom": total, "relaxed": False}
    structures = {"material_id": ids, "formation_energy_per_atom": formation}
    energies = formation_table(pd.DataFrame(computed), pd.DataFrame(structures), {})
    assert energies.dropped == (COMPOUNDS[4],)
    known = known_formulas(pd.DataFrame({"reduced_formula": [*COMPOUNDS, "LiCl"], "in_mp": True}))
    write_reference(folder, energies, known, {"command": "test"})


def test_a_written_reference_reads_back(tmp_path: Path) -> None:
    build_small(tmp_path)
    reference = read_reference(tmp_path)
    assert {phase.formula for phase in reference.phases} == set(COMPOUNDS) - {COMPOUNDS[4]}
    assert reference.phases[0] == Phase("NaCl", pytest.approx(-3.0, abs=0.02), "mp-0")
    assert reference.elemental_references == pytest.approx(TRUE_REFERENCES, abs=0.03)
    assert "LiCl" in reference.known
    assert reference.false_stable_rates == {}
    assert reference.scheme == "chgnet-0.3.0"


def test_rates_in_the_card_are_those_of_the_hull_in_use(tmp_path: Path) -> None:
    build_small(tmp_path)
    columns = {"formation_energy_per_atom": [-1.0, -1.0], "decomposition_energy_per_atom": [0.5, -1.0]}
    truth = pd.DataFrame({"reduced_formula": ["Na2Cl", "KF"], **columns})
    rates = measured_rates(truth, {"KF"})
    assert rates["false_stable"][0.0] == Rate(1, 1)
    add_rates(tmp_path, "alone", rates, "test")
    assert read_reference(tmp_path).false_stable_rate(0.1) == 1.0
    add_rates(tmp_path, "completed", {"false_stable": {0.0: Rate(1, 4), 0.2: Rate(1, 8)}}, "test")
    assert read_reference(tmp_path).false_stable_rate(0.1) == pytest.approx(0.1875)
    assert read_reference(tmp_path, completed=False).false_stable_rate(0.1) == 1.0


@pytest.mark.parametrize("name", ["builtin.parquet", "known.npz", "card.json"])
def test_damaged_or_missing_files_are_errors_with_a_remedy(tmp_path: Path, name: str) -> None:
    build_small(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="install the package again"):
        read_reference(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="install the package again"):
        read_reference(tmp_path)


@pytest.fixture(scope="module")
def builtin() -> Reference:
    return load_builtin()


def test_the_builtin_reference_is_what_it_says(builtin: Reference) -> None:
    card = json.loads((DATA / "card.json").read_text())
    assert builtin.scheme == "chgnet-0.3.0"
    assert len(builtin.phases) == card["phases"] > 22_000
    assert len(builtin.known) > 378_000
    assert card["error_against_dft"]["mae"] < 0.025
    assert "CC BY 4.0" in builtin.attribution
    assert 0 < builtin.false_stable_rate(0.1) < builtin.false_stable_rate(0.0) < 0.4
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 5e6
    assert all(phase.formula in builtin.known for phase in builtin.phases[::50])


def test_builtin_energies_of_textbook_compounds(builtin: Reference) -> None:
    """Materials Project (MP2020) formation energies, eV/atom."""
    energies = {phase.formula: phase.formation_energy_per_atom for phase in builtin.phases}
    assert energies["NaCl"] == pytest.approx(-2.11, abs=0.03)
    assert energies["SrTiO3"] == pytest.approx(-3.55, abs=0.03)


def write_table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["formula,formation_energy_per_atom,scheme,material_id", *rows]) + "\n")
    return path


def test_snapshot_takes_the_lowest_energy_and_knows_its_own_formulas(tmp_path: Path) -> None:
    path = write_table(tmp_path / "own.csv", ["Fe4O6,-1.5,lab,a", "Fe2O3,-1.7,lab,b", "FeO,-1.4,lab,c"])
    reference = load_reference(f"snapshot:{path}")
    assert set(reference.phases) == {Phase("Fe2O3", -1.7, "b"), Phase("FeO", -1.4, "c")}
    assert reference.scheme == "lab"
    assert reference.name == f"snapshot:{path}"
    assert "Fe2O3" in reference.known
    assert "NaCl" not in reference.known
    assert reference.false_stable_rate(0.1) is None


def test_snapshot_needs_one_scheme(tmp_path: Path) -> None:
    mixed = write_table(tmp_path / "mixed.csv", ["Fe2O3,-1.7,mp2019,a", "FeO,-1.4,mp2020,b"])
    with pytest.raises(SchemeError, match=r"mp2019, mp2020.*--scheme"):
        load_reference(f"snapshot:{mixed}")
    unnamed = tmp_path / "unnamed.csv"
    unnamed.write_text("formula,formation_energy_per_atom\nFeO,-1.4\n")
    assert load_reference(f"snapshot:{unnamed}", "lab").scheme == "lab"
    with pytest.raises(SchemeError, match="--scheme"):
        load_reference(f"snapshot:{unnamed}")


@pytest.mark.parametrize("name", ["", "snapshot:", "mpx", "mp:", "builtin:x", "optimade:"])
def test_unknown_references_list_the_choices(name: str) -> None:
    with pytest.raises(ConfigError, match=r"builtin, mp.*snapshot:FILE"):
        load_reference(name)


def test_info_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "own.csv", ["FeO,-1.4,lab,c"])
    assert main(["info", "--reference", f"snapshot:{path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["phases"] == 1
    assert main(["info", "--reference", "nonsense"]) == 2
    assert "optimade:URL or snapshot:FILE" in capsys.readouterr().err
