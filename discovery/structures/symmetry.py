"""Space groups by spglib, with its announcements of coming changes silenced here and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure

RawCell = tuple[
    Any, Any, Any
]  # lattice vectors in A as rows (3, 3), fractional coordinates (n, 3), atomic numbers (n,)

# Monoclinic settings other than the first one: international number and spglib's name of the choice.
_MONOCLINIC = {"P2_1/n": (14, "b2"), "I2/m": (12, "b3"), "I2/a": (15, "b3")}


@cache
def hall_number(symbol: str) -> int:
    """Spglib's number of a space group in a setting: ``Pnma``, ``Fd-3m:2`` (origin choice 2), ``P2_1/n``."""
    if symbol in _MONOCLINIC:
        return _hall_numbers()[_MONOCLINIC[symbol]]
    short, _, choice = symbol.partition(":")
    for wanted in (choice,) if choice else ("", "1", "H", "b", "b1"):
        if (short, wanted) in _hall_numbers():
            return _hall_numbers()[short, wanted]
    raise KeyError(f"unknown space group {symbol}")


def group_type(hall: int) -> Any:
    """Spglib's record of a setting: `number`, `international_short`, `choice`."""
    with _quiet():
        return spglib.get_spacegroup_type(hall)


def orbit_of(point: NDArray[np.float64], hall: int) -> NDArray[np.float64]:
    """Distinct images of a fractional point within the cell, shape (multiplicity, 3); 0.001 apart counts as one."""
    rotations, translations = _operations(hall)
    images = np.mod(rotations @ point + translations, 1.0)
    difference = images[:, None, :] - images[None, :, :]
    same = np.abs(difference - np.round(difference)).max(axis=-1) < 1e-3  # (operations, operations)
    first = np.argmax(same, axis=1) == np.arange(len(images))
    return np.asarray(images[first])


def dataset(cell: RawCell, tolerance: float) -> Any:
    """Spglib's symmetry dataset; `tolerance` is the distance in A within which symmetry is looked for."""
    with _quiet():
        return spglib.get_symmetry_dataset(cell, symprec=tolerance)


def standard_cell(structure: Structure, tolerance: float) -> RawCell:
    """The conventional cell in spglib's standard setting, idealised."""
    with _quiet():
        found = spglib.standardize_cell(raw_cell(structure), to_primitive=False, no_idealize=False, symprec=tolerance)
    lattice, positions, numbers = found
    return lattice, positions, numbers


def primitive(structure: Structure, tolerance: float = 0.01) -> Structure:
    """The primitive cell."""
    with _quiet():
        lattice, positions, numbers = spglib.find_primitive(raw_cell(structure), symprec=tolerance)
    return Structure(Lattice(lattice), [Element.from_Z(int(z)).symbol for z in numbers], positions)


def raw_cell(structure: Structure) -> RawCell:
    """A structure as spglib takes it."""
    return structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure]


@cache
def _operations(hall: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with _quiet():
        found = spglib.get_symmetry_from_database(hall)
    return found["rotations"].astype(float), found["translations"]


@cache
def _hall_numbers() -> dict[tuple[str | int, str], int]:
    numbers: dict[tuple[str | int, str], int] = {}
    for hall in range(1, 531):
        group = group_type(hall)
        numbers.setdefault((group.international_short, group.choice), hall)
        numbers.setdefault((group.number, group.choice), hall)
    return numbers


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        yield
