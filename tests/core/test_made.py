import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from benchmarks.replay.made import (
    Call,
    Episode,
    as_energies,
    compositions,
    diversity,
    metallic_systems,
    msun,
    random_structures,
    run_episode,
)
from benchmarks.replay.made_run import Plan, table
from discovery.composition import amounts
from discovery.hull import Hull
from discovery.structures.potentials import Potential
from discovery.structures.relaxation import RelaxationLimits

LIMITS = RelaxationLimits(max_steps=3)


def episode():
    return Episode(("Au", "Cu"), Hull((), "emt"), {"Au": 0.0, "Cu": 0.0}, [])


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
    assert first.energy_above_hull == pytest.approx(again.energy_above_hull)  # against the hull without itself
    assert len(state.hull) == 1
    assert [call.counts(np.inf) for call in state.calls] == [True, False]


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
    assert (loop["found"], loop["enrichment"]["value"]) == (2, 2.0)
