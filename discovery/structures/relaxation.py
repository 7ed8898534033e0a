"""Relaxation of cell and positions with a step limit; one that runs away is an error with its reason."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import UnitCellFilter
from ase.optimize import BFGS
from numpy.typing import NDArray
from pymatgen.core import Structure

from discovery.structures.potentials import Potential, to_atoms, to_structure

SHORTEST_DISTANCE = 0.65  # A; H2 has 0.74: nothing chemical lies closer
LARGEST_FORCE = 200.0  # eV/A; steeper ones come from overlapping atoms, where a learned potential knows nothing


@dataclass(frozen=True)
class RelaxationLimits:
    """When a relaxation ends, and when it counts as run away."""

    max_steps: int = 60  # steps of the optimiser
    force_tolerance: float = 0.1  # eV/A, of atoms and (scaled by the cell filter) of the cell
    max_seconds: float | None = None  # wall clock; None: no limit
    largest_volume_change: float = 3.0  # factor, either way
    largest_energy_drop: float = 15.0  # eV/atom below the start: no bonds are that strong


@dataclass(frozen=True)
class Relaxed:
    """A relaxed structure. Not converged: its energy is an upper bound."""

    structure: Structure
    energy_per_atom: float  # total energy, eV/atom, the lowest on the way
    steps: int
    converged: bool  # the largest force is below the tolerance
    largest_force: float  # eV/A


class RelaxationError(Exception):
    """A relaxation that gave no structure; its text is short and can be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def relax(
    structure: Structure, potential: Potential, limits: RelaxationLimits, *, keep_symmetry: float | None = None
) -> Relaxed:
    """Relax cell and positions until the largest force is below the tolerance or the steps are used up.

    BFGS, since it needed the fewest potential calls for prototypes (CHGNet, 0.1 eV/A): 6, 9, 42, 44 against 17, 23, 51,
    49 of FIRE, from LiMnCoO4 as spinel and olivine and Rb2NaYCl6.

    Args:
        structure: an ordered structure.
        potential: gives energy, forces and stress.
        limits: when it ends.
        keep_symmetry: keep the space group that is found within this distance, A; None: free.

    Raises:
        RelaxationError: not a number, atoms on top of each other, volume or energy that ran away, or the time limit.
    """
    atoms = to_atoms(structure)
    atoms.calc = potential.calculator
    if keep_symmetry is not None:
        atoms.set_constraint(FixSymmetry(atoms, symprec=keep_symmetry, verbose=False))
    watch = _Watch(atoms, limits)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # overflow is judged by the watch
        converged = _run(atoms, watch, limits)
    best = Atoms(atoms.get_chemical_symbols(), positions=watch.best.positions, cell=watch.best.cell, pbc=True)
    return Relaxed(to_structure(best), watch.best.energy_per_atom, watch.steps, converged, watch.best.largest_force)


def _run(atoms: Atoms, watch: _Watch, limits: RelaxationLimits) -> bool:
    watch.check()
    run = BFGS(UnitCellFilter(atoms), logfile=None)
    run.attach(watch.check_step)
    try:
        return bool(run.run(fmax=limits.force_tolerance, steps=limits.max_steps))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
        raise RelaxationError("relaxation diverged", f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class _Frame:
    energy_per_atom: float
    largest_force: float
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]


@dataclass
class _Watch:
    """Looks at each step and ends a relaxation that ran away."""

    atoms: Atoms
    limits: RelaxationLimits
    steps: int = 0
    start: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.first_volume = self.atoms.get_volume()
        self.first_energy: float | None = None
        self._best: _Frame | None = None

    @property
    def best(self) -> _Frame:
        """The frame of lowest energy so far."""
        if self._best is None:
            raise RelaxationError("relaxation diverged", "no step was finished")
        return self._best

    def check_step(self) -> None:
        """Count a step and check it; the optimiser calls it once before its first step too."""
        self.check()
        self.steps += 1

    def check(self) -> None:
        """Raise where the present frame makes no sense; remember it where it is the best one."""
        self._check_geometry()
        forces = self.atoms.get_forces()  # first, so that energy, forces and stress come from one call
        energy = float(self.atoms.get_potential_energy()) / len(self.atoms)
        self._check_energy(energy, forces)
        if self._best is None or energy < self._best.energy_per_atom:
            largest = float(np.linalg.norm(forces, axis=1).max())
            self._best = _Frame(energy, largest, self.atoms.cell.array.copy(), self.atoms.get_positions())

    def _check_geometry(self) -> None:
        limit, seconds = self.limits.max_seconds, time.monotonic() - self.start
        if limit is not None and seconds > limit:
            raise RelaxationError("timeout", f"{seconds:.0f} s")
        ratio = self.atoms.get_volume() / self.first_volume
        if not 1 / self.limits.largest_volume_change < ratio < self.limits.largest_volume_change:
            raise RelaxationError("relaxation diverged", f"volume changed by a factor of {ratio:.2f}")
        if (distance := shortest_distance(self.atoms)) < SHORTEST_DISTANCE:
            raise RelaxationError("relaxation diverged", f"atoms {distance:.2f} A apart")

    def _check_energy(self, energy: float, forces: NDArray[np.float64]) -> None:
        if not np.isfinite(energy) or not np.isfinite(forces).all():
            raise RelaxationError("relaxation diverged", "energy or forces are not numbers")
        if self.first_energy is None:
            self.first_energy = energy
        if energy < self.first_energy - self.limits.largest_energy_drop:
            raise RelaxationError("relaxation diverged", f"energy fell by {self.first_energy - energy:.1f} eV/atom")
        if (largest := float(np.abs(forces).max())) > LARGEST_FORCE:
            raise RelaxationError("relaxation diverged", f"force of {largest:.0f} eV/A")


def shortest_distance(atoms: Atoms) -> float:
    """Shortest distance between two atoms or an atom and its own image, A."""
    cell = atoms.cell.array
    if not np.isfinite(cell).all() or not np.isfinite(atoms.positions).all():
        raise RelaxationError("relaxation diverged", "cell or positions are not numbers")
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    return _shortest(cell, fractional)


def _shortest(cell: NDArray[np.float64], fractional: NDArray[np.float64]) -> float:
    difference = fractional[:, None, :] - fractional[None, :, :]  # (n, n, 3)
    difference -= np.round(difference)
    images = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])  # (27, 3)
    vectors = (difference[:, :, None, :] + images) @ cell  # (n, n, 27, 3)
    distances = np.linalg.norm(vectors, axis=-1)
    itself = np.arange(len(fractional))
    distances[itself, itself, len(images) // 2] = np.inf
    return float(distances.min())
