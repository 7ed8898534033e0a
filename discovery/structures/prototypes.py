"""Crystal structure prototypes: AFLOW's set from pymatgen, and our own ternary and quaternary ones."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure

from discovery.errors import DataError
from discovery.structures.ions import charges
from discovery.structures.symmetry import RawCell, dataset, group_type, orbit_of, primitive

OWN_LIBRARY = Path(str(resources.files("discovery.structures"))) / "data" / "prototypes.json"
MAX_ATOMS = 28  # atoms in the primitive cell: a relaxation step costs time in proportion


@dataclass(frozen=True)
class Cell:
    """A conventional cell by its space group: one site for each occupied orbit."""

    hall_number: int  # spglib's number of space group and setting
    parameters: tuple[float, ...]  # a, b, c in A, alpha, beta, gamma in degrees
    sites: tuple[tuple[str, str, tuple[float, float, float]], ...]  # element, Wyckoff letter, fractional coordinates

    def as_record(self) -> dict[str, object]:
        """Plain JSON values, with the international number and symbol beside the Hall number."""
        group = group_type(self.hall_number)
        return {
            "space_group": group.number,
            "symbol": group.international_short,
            "hall_number": self.hall_number,
            "cell": [round(value, 5) for value in self.parameters],
            "sites": [[element, letter, *(round(x, 6) for x in point)] for element, letter, point in self.sites],
        }


@dataclass(frozen=True)
class Prototype:
    """A structure type: a primitive cell whose species are replaced by others."""

    name: str
    compound: str  # reduced formula of the compound that it is named after
    source: str
    structure: Structure  # primitive cell of the compound
    own: bool  # from our own table (AFLOW's otherwise)
    known_charges: Mapping[str, float] | None = None  # oxidation states of the compound, where our table has them
    strukturbericht: str = ""  # AFLOW's designation, such as B1

    @cached_property
    def species(self) -> tuple[str, ...]:
        """Elements of the compound; each stands for one sublattice."""
        return tuple(sorted({site.specie.symbol for site in self.structure}))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Atoms of each species in the primitive cell."""
        found = Counter(site.specie.symbol for site in self.structure)
        return tuple(found[symbol] for symbol in self.species)

    @cached_property
    def charges(self) -> Mapping[str, float] | None:
        """Oxidation states of the compound's elements; None for intermetallic types."""
        return self.known_charges if self.own else charges(self.compound)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Smallest integer ratio of the species, ascending: the anonymous formula."""
        divisor = math.gcd(*self.counts)
        return tuple(sorted(count // divisor for count in self.counts))


@cache
def library() -> tuple[Prototype, ...]:
    """All prototypes of up to `MAX_ATOMS` atoms, our own first; the order is fixed."""
    return tuple(prototype for prototype in (*_own(), *_aflow()) if len(prototype.structure) <= MAX_ATOMS)


def cell_structure(cell: Cell) -> Structure:
    """The conventional cell with all its atoms."""
    species: list[str] = []
    positions: list[NDArray[np.float64]] = []
    for element, _, point in cell.sites:
        orbit = orbit_of(np.array(point), cell.hall_number)
        species += [element] * len(orbit)
        positions += list(orbit)
    return Structure(Lattice.from_parameters(*cell.parameters), species, positions)


def cell_of(standard: RawCell, tolerance: float) -> Cell:
    """The orbits of a cell in spglib's standard setting; `tolerance` in A."""
    first = dataset(standard, tolerance)
    lattice, positions, numbers = first.std_lattice, first.std_positions, first.std_types
    found = dataset((lattice, positions, numbers), tolerance)
    representatives = sorted(set(found.crystallographic_orbits.tolist()))
    sites = tuple(
        (Element.from_Z(int(numbers[i])).symbol, str(found.wyckoffs[i]), tuple(positions[i])) for i in representatives
    )
    return Cell(int(found.hall_number), tuple(float(value) for value in Lattice(lattice).parameters), sites)


def _own() -> list[Prototype]:
    if not OWN_LIBRARY.exists():
        raise DataError(f"{OWN_LIBRARY} is missing: run python -m discovery.structures.build_prototypes")
    return [_from_record(record) for record in json.loads(OWN_LIBRARY.read_text(encoding="utf-8"))]


def _from_record(record: Mapping[str, Any]) -> Prototype:
    sites = tuple((element, letter, (x, y, z)) for element, letter, x, y, z in record["sites"])
    cell = Cell(record["hall_number"], tuple(record["cell"]), sites)
    structure = primitive(cell_structure(cell))
    return Prototype(record["name"], record["compound"], record["source"], structure, True, record["charges"])


def _aflow() -> list[Prototype]:
    """AFLOW's prototypes, read from pymatgen's file: importing pymatgen's module for them takes seconds."""
    spec = importlib.util.find_spec("pymatgen.analysis.prototypes")
    if spec is None or spec.origin is None:
        raise DataError("pymatgen.analysis.prototypes is missing: run pip install 'pymatgen>=2025.10'")
    with gzip.open(Path(spec.origin).parent / "aflow_prototypes.json.gz", "rt", encoding="utf-8") as file:
        records = json.load(file)
    prototypes = [_from_aflow(record) for record in records]
    return [prototype for prototype in prototypes if len(prototype.species) > 1]


def _from_aflow(record: Mapping[str, Any]) -> Prototype:
    tags = record["tags"]
    structure = Structure.from_dict(record["snl"])
    name = tags.get("mineral") or tags["aflow"]
    source = f"AFLOW {tags['aflow']}, M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017)"
    return Prototype(
        name, structure.composition.reduced_formula, source, structure, False, strukturbericht=tags["strukturbericht"]
    )
