import pickle
import random

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from discovery import hull as module
from discovery.composition import SYMBOLS, reduced_formula
from discovery.errors import CompositionError, SchemeError
from discovery.hull import Hull
from discovery.reference.base import Phase

SCHEME = "test"
ELEMENTS = [symbol for symbol in SYMBOLS[:83] if symbol not in ("He", "Ne", "Ar")]  # pymatgen warns about these
IRON_OXIDES = [Phase("FeO", -1.45), Phase("Fe2O3", -1.7), Phase("Fe3O4", -1.7)]


def random_phases(seed: int, elements: int, count: int) -> list[Phase]:
    """Distinct random compounds within a few elements; coarse energies make degenerate hulls likely."""
    rng = random.Random(seed)
    symbols = rng.sample(ELEMENTS, elements)
    energies = {}
    while len(energies) < count:
        chosen = rng.sample(symbols, rng.randint(2, elements))
        formula = reduced_formula("".join(f"{symbol}{rng.randint(1, 4)}" for symbol in chosen))
        energies[formula] = round(rng.uniform(-2, 0.2), 1)
    return [Phase(formula, energy) for formula, energy in energies.items()]


def pymatgen_energies(phases: list[Phase]) -> NDArray[np.float64]:
    """Energies of all phases against the hull without themselves, eV/atom, by convex hulls (qhull) of pymatgen."""
    entries = {p.formula: PDEntry(Composition(p.formula), p.formation_energy_per_atom * atoms(p)) for p in phases}
    symbols = {element for entry in entries.values() for element in entry.composition}
    diagram = PhaseDiagram([*entries.values(), *(PDEntry(Composition(symbol.symbol), 0.0) for symbol in symbols)])
    energy = diagram.get_phase_separation_energy
    return np.array([energy(entry, stable_only=False) for entry in entries.values()], dtype=np.float64)


def atoms(phase: Phase) -> float:
    return float(Composition(phase.formula).num_atoms)


def greatest_difference(phases: list[Phase]) -> float:
    """Between this hull and pymatgen's, eV/atom, over all phases."""
    formulas, energies = zip(*((p.formula, p.formation_energy_per_atom) for p in phases), strict=True)
    found = Hull(phases, SCHEME).energies_above_hull(formulas, energies)
    return float(np.abs(found - pymatgen_energies(phases)).max())


def test_a_lone_binary_competes_with_its_elements() -> None:
    point = Hull([Phase("NaCl", -2.1)], SCHEME).energy_above_hull("NaCl", -2.1)
    assert point.energy_above_hull == pytest.approx(-2.1)
    assert point.competing_phases == ("Cl", "Na")


def test_hand_computed_iron_oxide() -> None:
    # Fe3O4 (7 atoms) = FeO (2) + Fe2O3 (5); 20/21 Fe2O3 + 1/21 Fe would be dearer, -1.619
    hull = Hull(IRON_OXIDES, SCHEME)
    point = hull.energy_above_hull("Fe3O4", -1.7)
    assert point.energy_above_hull == pytest.approx(-1.7 - (2 * -1.45 + 5 * -1.7) / 7)
    assert point.competing_phases == ("Fe2O3", "FeO")
    assert hull.decomposition("Fe3O4") == pytest.approx({"Fe2O3": 5 / 7, "FeO": 2 / 7})


def test_hand_computed_ternary_uses_the_cheaper_of_two_reactions() -> None:
    # SrTiO3 = SrO + TiO2 at (2 * -3 + 3 * -3.5) / 5 = -3.3; Ti2O3 and the elements are dearer
    hull = Hull([Phase("SrO", -3.0), Phase("TiO2", -3.5), Phase("Ti2O3", -3.2), Phase("SrTiO3", -3.5)], SCHEME)
    point = hull.energy_above_hull("SrTiO3", -3.5)
    assert point.energy_above_hull == pytest.approx(-0.2)
    assert point.competing_phases == ("SrO", "TiO2")


def test_a_phase_above_the_elements_never_competes() -> None:
    hull = Hull([Phase("NaCl3", 0.4), Phase("Na3Cl", 0.0)], SCHEME)
    assert hull.hull_energy("NaCl") == (0.0, ("Cl", "Na"))


def test_a_system_without_compounds_has_the_elements() -> None:
    assert Hull([], SCHEME).energy_above_hull("LiFePO4", -1.0).energy_above_hull == pytest.approx(-1.0)


def test_the_formula_may_be_written_in_any_way() -> None:
    hull = Hull([Phase("O6Fe4", -1.7), Phase("FeO", -1.2)], SCHEME)
    assert hull.energy_above_hull("Fe2O3", -1.7) == hull.energy_above_hull("Fe4O6", -1.7)
    assert hull.phase("Fe2O3") == Phase("O6Fe4", -1.7)


@pytest.mark.parametrize(("elements", "count"), [(2, 6), (3, 15), (4, 30), (5, 40), (6, 40), (7, 30)])
def test_equals_pymatgen_on_random_and_degenerate_hulls(elements: int, count: int) -> None:
    assert greatest_difference(random_phases(elements, elements, count)) < 1e-9


@pytest.mark.long
def test_equals_pymatgen_in_a_thousand_random_cases() -> None:
    sizes = [(2, 6), (3, 24), (4, 30), (5, 25), (6, 15)] * 10  # 1,000 compositions in 50 chemical systems
    assert sum(count for _, count in sizes) == 1000
    differences = [greatest_difference(random_phases(100 + i, *size)) for i, size in enumerate(sizes)]
    assert max(differences) < 1e-6


def test_many_at_once_equal_one_by_one_to_the_last_bit() -> None:
    phases = [phase for seed, size in enumerate((2, 3, 4, 5, 6)) for phase in random_phases(seed, size, 8 * size - 9)]
    formulas = [phase.formula for phase in phases] + ["NaCl", "LiFePO4", "NaCl"]
    energies = np.linspace(-2.0, 0.1, len(formulas))
    hull = Hull(phases, SCHEME)
    points = hull.points(formulas, energies)
    assert points == [hull.energy_above_hull(f, e) for f, e in zip(formulas, energies, strict=True)]
    assert hull.energies_above_hull(formulas, energies).tolist() == [point.energy_above_hull for point in points]
    assert hull.points([], []) == []


def test_batches_and_forgotten_tables_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    phases = [phase for seed in range(6) for phase in random_phases(seed, 4, 25)]
    formulas = [phase.formula for phase in phases]
    expected = Hull(phases, SCHEME).points(formulas, np.zeros(len(formulas)))
    monkeypatch.setattr(module, "ROWS_TOGETHER", 40)
    monkeypatch.setattr(module, "KEPT_TABLES", 2)
    hull = Hull(phases, SCHEME)
    assert hull.points(formulas, np.zeros(len(formulas))) == expected
    assert len(hull._tables) <= 2


def test_a_new_phase_touches_only_the_systems_that_hold_it() -> None:
    hull = Hull([*IRON_OXIDES, Phase("NaCl", -2.1), Phase("Na2O", -1.4), Phase("NaFeO2", -1.8)], SCHEME)
    hull.points(["Fe4O5", "NaCl2", "Na2FeO3", "NaClO"], [0.0] * 4)
    more = hull.with_phase(Phase("FeO2", -1.6), SCHEME)
    assert all(more._blocks[system] is block for system, block in hull._blocks.items() if system != ("Fe", "O"))
    assert set(hull._tables) - set(more._tables) == {("Fe", "O"), ("Fe", "Na", "O")}
    assert all(more._tables[system] is hull._tables[system] for system in more._tables)
    assert more.hull_energy("Fe4O5") == Hull([*hull.phases_in(["Fe", "O"]), Phase("FeO2", -1.6)], SCHEME).hull_energy(
        "Fe4O5"
    )


def test_decomposition_conserves_atoms_and_energy() -> None:
    phases = random_phases(7, 5, 50)
    hull = Hull(phases, SCHEME)
    energies = {phase.formula: phase.formation_energy_per_atom for phase in phases}
    for phase in phases:
        shares = hull.decomposition(phase.formula)
        atoms: dict[str, float] = {}
        for formula, share in shares.items():
            for element, fraction in Composition(formula).fractional_composition.items():
                atoms[element.symbol] = atoms.get(element.symbol, 0.0) + share * fraction
        wanted = {e.symbol: x for e, x in Composition(phase.formula).fractional_composition.items()}
        assert {symbol: x for symbol, x in atoms.items() if x > 1e-9} == pytest.approx(wanted)
        total = sum(share * energies.get(formula, 0.0) for formula, share in shares.items())
        assert total == pytest.approx(hull.hull_energy(phase.formula)[0])


def test_never_rises_when_a_phase_is_added() -> None:
    phases = random_phases(3, 4, 40)
    asked = [phase.formula for phase in phases]
    hull = Hull([], SCHEME)
    before = hull.energies_above_hull(asked, np.zeros(len(asked)))
    for phase in phases:
        hull = hull.with_phase(phase, SCHEME)
        after = hull.energies_above_hull(asked, np.zeros(len(asked)))
        assert (after >= before - 1e-9).all()  # energy above hull grows as the hull falls
        before = after


def test_permutation_and_pickling_change_nothing() -> None:
    phases = random_phases(5, 5, 60)
    formulas = [phase.formula for phase in phases]
    hull = Hull(phases, SCHEME)
    others = [Hull(phases[::-1], SCHEME), pickle.loads(pickle.dumps(hull)), Hull(phases[:20], SCHEME)]
    others[2] = others[2].with_phases(phases[20:], SCHEME)
    for other in others:
        assert len(other) == len(hull) == 60
        assert other.points(formulas, np.zeros(60)) == hull.points(formulas, np.zeros(60))


def test_with_phases_leaves_the_old_hull_alone() -> None:
    hull = Hull(IRON_OXIDES[:1], SCHEME)
    before = hull.hull_energy("Fe3O4")
    assert hull.with_phases(IRON_OXIDES, SCHEME).hull_energy("Fe3O4")[0] < before[0]
    assert hull.hull_energy("Fe3O4") == before


def test_the_lower_polymorph_counts_and_a_measured_one_before_a_predicted_one() -> None:
    hull = Hull([Phase("FeO", -1.0), Phase("FeO", -1.2), Phase("FeO", -0.9)], SCHEME)
    assert hull.phase("FeO") == Phase("FeO", -1.2)
    hull = hull.with_phase(Phase("FeO", -5.0, predicted=True), SCHEME)
    assert hull.phase("FeO") == Phase("FeO", -1.2)
    predicted = Hull([Phase("FeO", -5.0, predicted=True)], SCHEME).with_phase(Phase("FeO", -1.2), SCHEME)
    assert predicted.phase("FeO") == Phase("FeO", -1.2)


def test_predicted_competitors_are_marked() -> None:
    hull = Hull([Phase("Li2O", -2.0, predicted=True)], SCHEME)
    assert hull.hull_energy("Li3O")[1] == ("Li", "Li2O*")


def test_phases_in_a_system() -> None:
    hull = Hull([*IRON_OXIDES, Phase("NaCl", -2.1)], SCHEME)
    assert {phase.formula for phase in hull.phases_in(["O", "Fe", "Na"])} == {"FeO", "Fe2O3", "Fe3O4"}


def test_schemes_never_mix() -> None:
    with pytest.raises(SchemeError, match="mp2020"):
        Hull(IRON_OXIDES, SCHEME).with_phase(Phase("NaCl", -2.1), "mp2020")
    with pytest.raises(SchemeError, match="--scheme"):
        Hull(IRON_OXIDES, "")


def test_an_element_has_no_competitors() -> None:
    with pytest.raises(CompositionError, match="element"):
        Hull(IRON_OXIDES, SCHEME).hull_energy("Fe")
