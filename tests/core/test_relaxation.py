"""Relaxation against closed forms, and what happens to structures that run away."""

from typing import ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from pymatgen.core import Lattice, Structure

from discovery.errors import OracleError
from discovery.structures.potentials import Potential, load_potential, potential_from, to_atoms, to_structure
from discovery.structures.relaxation import RelaxationError, RelaxationLimits, relax, shortest_distance

ROCK_SALT = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0], [0.5] * 3, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]


class Broken(Calculator):
    """A potential whose energy is not a number, or falls without end."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, energy: float, pressure: float) -> None:
        super().__init__()
        self.energy, self.pressure = energy, pressure

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        stress = np.array([-self.pressure] * 3 + [0.0] * 3)
        self.results = {"energy": self.energy, "forces": np.zeros((len(self.atoms), 3)), "stress": stress}


@pytest.fixture(scope="module")
def chgnet() -> Potential:
    return load_potential("chgnet")


def test_lennard_jones_crystal_has_its_closed_form_energy_and_distance() -> None:
    # Lattice sums of fcc: A6 = 14.4539, A12 = 12.1319; E = -A6^2 / (2 A12), r = (2 A12 / A6)^(1/6); Kittel, ch. 3.
    potential = potential_from("lj", LennardJones(sigma=3.0, epsilon=0.1, rc=18.0))
    start = to_structure(bulk("Ar", "fcc", a=4.9))
    relaxed = relax(start, potential, RelaxationLimits(max_steps=80, force_tolerance=1e-4))
    assert relaxed.converged
    assert relaxed.energy_per_atom == pytest.approx(-0.8610, abs=0.010)
    assert shortest_distance(to_atoms(relaxed.structure)) == pytest.approx(1.0902 * 3.0, abs=0.005)


def test_emt_copper_relaxes_to_its_minimum_from_either_side() -> None:
    potential = potential_from("emt", EMT())
    edges = []
    for start in (3.45, 3.75):
        relaxed = relax(
            to_structure(bulk("Cu", cubic=True, a=start)), potential, RelaxationLimits(force_tolerance=0.002)
        )
        edges.append(relaxed.structure.lattice.a)
    assert edges == pytest.approx([3.59, 3.59], abs=0.01)  # EMT's lattice constant of copper (ASE)


def test_displaced_atom_returns_to_its_site() -> None:
    atoms = bulk("Cu", cubic=True, a=3.59)
    atoms.positions[0] += (0.15, 0.1, -0.1)
    relaxed = relax(to_structure(atoms), potential_from("emt", EMT()), RelaxationLimits(force_tolerance=0.01))
    assert relaxed.converged
    assert relaxed.energy_per_atom == pytest.approx(-0.007, abs=0.003)  # eV/atom of fcc copper in EMT


def test_step_limit_keeps_the_energy_as_an_upper_bound() -> None:
    start = to_structure(bulk("Cu", cubic=True, a=3.9))
    short = relax(start, potential_from("emt", EMT()), RelaxationLimits(max_steps=1, force_tolerance=1e-4))
    long = relax(start, potential_from("emt", EMT()), RelaxationLimits(max_steps=60, force_tolerance=1e-4))
    assert not short.converged
    assert short.energy_per_atom > long.energy_per_atom


def test_overlapping_atoms_are_a_failure() -> None:
    start = Structure(Lattice.cubic(4), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0, 0]])
    with pytest.raises(RelaxationError, match="relaxation diverged") as caught:
        relax(start, potential_from("emt", EMT()), RelaxationLimits())
    assert "0.20 A apart" in caught.value.detail


def test_atoms_at_the_same_place_are_a_failure() -> None:
    start = Structure(Lattice.cubic(4), ["Cu", "Cu"], [[0, 0, 0], [1, 0, 0]])
    assert shortest_distance(to_atoms(start)) == pytest.approx(0.0)


@pytest.mark.parametrize(("energy", "pressure", "detail"), [(float("nan"), 0.0, "not numbers"), (0.0, 5.0, "volume")])
def test_nonsense_potentials_are_a_failure(energy: float, pressure: float, detail: str) -> None:
    with pytest.raises(RelaxationError, match="relaxation diverged") as caught:
        relax(to_structure(bulk("Cu")), potential_from("broken", Broken(energy, pressure)), RelaxationLimits())
    assert detail in caught.value.detail


def test_time_limit_is_a_failure() -> None:
    with pytest.raises(RelaxationError, match="timeout"):
        relax(to_structure(bulk("Cu")), potential_from("emt", EMT()), RelaxationLimits(max_seconds=-1.0))


def test_shortest_distance_sees_images() -> None:
    assert shortest_distance(to_atoms(Structure(Lattice.cubic(3.0), ["Cu"], [[0, 0, 0]]))) == pytest.approx(3.0)
    pair = Structure(Lattice.cubic(10.0), ["Cu", "Cu"], [[0.05, 0, 0], [0.95, 0, 0]])
    assert shortest_distance(to_atoms(pair)) == pytest.approx(1.0)


def test_unknown_potentials_say_what_to_do() -> None:
    with pytest.raises(OracleError, match="module:factory"):
        load_potential("vasp")
    with pytest.raises(OracleError, match="cannot import"):
        load_potential("no_such_module:make")
    with pytest.raises(OracleError, match="no ASE calculator"):
        load_potential("builtins:list")


def test_factory_potential_has_its_name_as_scheme() -> None:
    assert load_potential("ase.calculators.emt:EMT").scheme == "ase.calculators.emt:EMT"


def test_chgnet_rock_salt_has_the_lattice_constant_of_sodium_chloride(chgnet: Potential) -> None:
    start = Structure(Lattice.cubic(5.3), ["Na"] * 4 + ["Cl"] * 4, ROCK_SALT)
    relaxed = relax(start.get_primitive_structure(), chgnet, RelaxationLimits(max_steps=40, force_tolerance=0.02))
    assert relaxed.converged
    assert (4 * relaxed.structure.volume) ** (1 / 3) == pytest.approx(5.66, abs=0.08)  # PBE 5.70, experiment 5.64 A


def test_chgnet_calculator_agrees_with_the_package(chgnet: Potential) -> None:
    structure = Structure(Lattice.cubic(5.5), ["Na"] * 4 + ["Cl"] * 4, ROCK_SALT)
    structure.translate_sites([0], [0.02, 0.01, -0.03])
    theirs = chgnet.calculator.model.predict_structure(structure, task="efs")
    atoms = to_atoms(structure)
    atoms.calc = chgnet.calculator
    assert atoms.get_forces() == pytest.approx(theirs["f"], abs=1e-4)
    assert atoms.get_potential_energy() / 8 == pytest.approx(float(theirs["e"]), abs=1e-5)
    assert atoms.get_stress(voigt=False) * 160.21766 == pytest.approx(theirs["s"], abs=1e-3)  # GPa
    assert chgnet.energy_per_atom(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
