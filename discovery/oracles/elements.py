"""Reference energies of elements for a potential whose scheme has none: relaxed elemental crystals.

ASE's table of ground-state crystals where it can build them; dimers in a large box for the gases H2, N2, O2, F2 and
Cl2; for the rest the lowest of fcc, bcc, hcp, simple cubic and diamond, which lies above the true ground state:
formation energies with these elements then come out too low (most for B, P, S, I; Mn, Ga and Hg a little).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.optimize import FIRE

from discovery.structures.potentials import Potential, to_structure
from discovery.structures.relaxation import RelaxationError, RelaxationLimits, relax
from discovery.structures.search import SearchError

BOND_LENGTHS = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.99}  # A
BOX = 12.0  # A
CRYSTALS = ("fcc", "bcc", "hcp", "sc", "diamond")
PACKING = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "hcp": 1.0, "sc": 1.0, "diamond": 4 / 3**0.5}  # a over bond length
LIMITS = RelaxationLimits(max_steps=150, force_tolerance=0.02)


def element_energy(symbol: str, potential: Potential) -> float:
    """Lowest energy of an element among its reference structures, eV/atom.

    Raises:
        SearchError: the potential has no energy for the element.
    """
    if symbol in BOND_LENGTHS:
        return _dimer_energy(symbol, potential)
    energies = []
    for crystal in _crystals(symbol):
        try:
            energies.append(relax(to_structure(crystal), potential, LIMITS).energy_per_atom)
        except (RelaxationError, NotImplementedError, KeyError):  # this crystal, or this element, is not described
            continue
    if not energies:
        raise SearchError(f"no elemental reference: {symbol}", "no elemental crystal could be relaxed")
    return min(energies)


def _dimer_energy(symbol: str, potential: Potential) -> float:
    atoms = Atoms([symbol, symbol], positions=[(0, 0, 0), (0, 0, BOND_LENGTHS[symbol])], cell=[BOX] * 3, pbc=True)
    atoms.calc = potential.calculator
    try:
        FIRE(atoms, logfile=None).run(fmax=LIMITS.force_tolerance, steps=LIMITS.max_steps)
        energy = float(atoms.get_potential_energy()) / 2
    except (NotImplementedError, KeyError) as error:
        raise SearchError(f"no elemental reference: {symbol}", str(error)) from error
    if not np.isfinite(energy):
        raise SearchError(f"no elemental reference: {symbol}", "the dimer's energy is not a number")
    return energy


def _crystals(symbol: str) -> Iterator[Atoms]:
    number = atomic_numbers[symbol]
    known = reference_states[number] or {}
    try:
        yield bulk(symbol)
        if known.get("symmetry") in ("fcc", "bcc", "hcp", "diamond"):
            return
    except (ValueError, KeyError, RuntimeError, NotImplementedError, TypeError):  # a crystal that ASE cannot build
        known = {}
    bond = 2.1 * float(covalent_radii[number])
    for crystal in CRYSTALS:
        yield bulk(symbol, crystal, a=bond * PACKING[crystal])
