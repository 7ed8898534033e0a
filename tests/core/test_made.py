import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from benchmarks.replay import made
from benchmarks.replay.made import (
    Call,
    Episode,
    as_energies,
    compositions,
    diversity,
    loop_structures,
    metallic_systems,
    msun,
    random_structures,
    run_episode,
)
from benchmarks.replay.made_run import Plan, table
from discovery.composition import amounts
from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.structures.potentials import Potential
from discovery.structures.relaxation import RelaxationLimits
from discovery.surrogates.base import Prediction

LIMITS = RelaxationLimits(max_steps=3)


def episode():
    return Episode(("Au", "Cu"), Hull((), "emt"), {"Au": 0.0, "Cu": 0.0}, [])


class FlatSurrogate:
    """Says 0 eV/atom of everything."""

    def predict(self, formulas, scheme):
        del scheme
        return Prediction(*(np.zeros(len(formulas)) for _ in range(3)))


def test_compositions_cover_the_system_and_its_parts_once():
    found = compositions(("Au", "Cu"))
    assert len(found) == len(set(found)) == 11  # coprime pairs of 1..4
    assert "CuAu" in found
    assert {len(amounts(formula)) for formula in compositions(("Ag", "Au", "Cu"))} == {2, 3}


def test_systems_hold_metals_with_a_known_phase_in_every_pair():
    phases = ["CuAu", "AgAu", "AgCu", "NaCl", "CuPd", "AuPd"]
    rng = np.random.default_rng(0)
    assert set(metallic_systems(phases, (3,), 2, rng)) == {("Ag", "Au", "Cu"), ("Au", "Cu", "Pd")}


def test_random_structures_keep_the_published_ranges():
    structures = random_structures(("Ag", "Au", "Cu"), np.random.default_rng(0))
    for _, structure in zip(range(50), structures, strict=False):
        assert all(3.0 <= length <= 15.0 for length in structure.lattice.abc)
        assert all(60.0 - 1e-6 <= angle <= 120.0 + 1e-6 for angle in structure.lattice.angles)
        assert 2 <= len(structure) <= 20


def test_a_find_competes_from_then_on_and_is_new_only_once():
    cell = Structure(Lattice.tetragonal(2.8, 3.7), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    state, potential = episode(), Potential("emt", "emt", EMT())
    first = state.ask(cell, potential, LIMITS)
    again = state.ask(cell, potential, LIMITS)
    assert first.new
    assert not again.new  # the same structure
    assert again.energy_above_hull == pytest.approx(0.0)  # of the hull that holds the first
    assert len(state.hull) == 1
    assert [call.counts(np.inf) for call in state.calls] == [True, False]


def test_a_polymorph_is_measured_from_the_lowest_one_of_its_composition():
    state = episode()
    state.hull = state.hull.with_phase(Phase("CuAu", -0.4), "emt")
    assert state.floor("CuAu") == pytest.approx(-0.4)
    assert state.floor("Cu3Au") == pytest.approx(-0.2)  # half of its atoms as CuAu, the others as Cu
    state.hull = state.hull.with_phase(Phase("CuAu", 0.1), "emt").with_phase(Phase("Cu3Au", 0.3), "emt")
    assert state.floor("Cu3Au") == pytest.approx(-0.2)  # its own phase lies above the hull


def test_the_loop_asks_for_new_prototypes_in_the_order_of_the_potential():
    potential = Potential("emt", "emt", EMT())
    state = episode()
    flat = FlatSurrogate()
    first = next(loop_structures(state, flat, potential, width=3))
    energies = [option.energy for option in made._options(state, flat, potential, 3)]
    assert potential.energy_per_atom(first) == pytest.approx(min(energies))
    known = episode()
    known.known.append(first)
    assert not StructureMatcher().fit(next(loop_structures(known, flat, potential, width=3)), first)


def test_answers_correct_the_weights_of_the_clues():
    assert made._fitted_weights([]) == pytest.approx(made.PRIOR)
    rng = np.random.default_rng(0)
    true = np.array([0.2, 0.5, 0.1])
    clues = np.column_stack([rng.uniform(0, 1.5, 4000), rng.uniform(-0.2, 0.2, 4000), np.ones(4000)])
    asked = [(clue, float(clue @ true + rng.normal(0, made.NOISE))) for clue in clues]
    assert made._fitted_weights(asked) == pytest.approx(true, abs=0.05)


def test_a_failed_relaxation_costs_a_call():
    overlapping = Structure(Lattice.cubic(4.0), ["Au", "Cu"], [[0, 0, 0], [0.01, 0, 0]])
    state = episode()
    calls = run_episode(state, iter([overlapping] * 3), Potential("emt", "emt", EMT()), 2, LIMITS)
    assert [call.energy_above_hull for call in calls] == [None, None]
    assert len(state.hull) == 0


def test_figures_of_an_episode_by_hand():
    calls = [Call("CuAu", 0.05, True), Call("CuAu", 0.05, False), Call("Cu3Au", 0.02, True), Call("CuAu3", None, False)]
    assert msun(calls, 0.1) == 0.5
    assert msun(calls, 0.03) == 0.25
    assert diversity(calls, 0.1) == 2
    assert as_energies(calls, 5).tolist() == [0.05, np.inf, 0.02, np.inf, np.inf]
    rows = table({("loop", ("Au", "Cu"), 0): calls, ("random structures", ("Au", "Cu"), 0): calls[1:]}, Plan(calls=4))
    loop = next(row for row in rows if row["arm"] == "loop" and row["tolerance"] == 0.1)
    assert (loop["found"], loop["enrichment"]["value"], loop["largest_enrichment"]) == (2, 2.0, 4.0)


def test_a_system_counts_once_whatever_its_episodes():
    find, miss = Call("CuAu", 0.05, True), Call("CuAu", 0.5, True)
    calls = {
        ("loop", ("Au", "Cu"), 0): [find] * 4,
        ("random structures", ("Au", "Cu"), 0): [find, miss, miss, miss],
        ("random structures", ("Au", "Cu"), 1): [find, find, find, miss],
        ("loop", ("Ag", "Cu"), 0): [find, find, miss, miss],
        ("random structures", ("Ag", "Cu"), 0): [miss] * 4,
    }
    loop, chance = (row for row in reversed(table(calls, Plan(calls=4))[:2]))
    assert (loop["systems"], loop["episodes"], chance["episodes"]) == (2, 2, 3)
    assert chance["found_per_episode"]["value"] == 1.0  # (2 + 0) / 2
    assert loop["enrichment"]["value"] == 3.0  # 6 / 2 against (2 + 0) / 2
