"""Reads the table of structure types that the prototype library is built from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from discovery.errors import DataError
from discovery.structures.symmetry import hall_number, orbit_of

TABLE = "literature.txt"


@dataclass(frozen=True)
class LiteratureEntry:
    """One line of the table; a coordinate that is a letter is unknown."""

    name: str
    compound: str
    space_group: str  # international symbol, with the setting where it is not the first one
    cell: tuple[float, ...]  # a, b, c in A, alpha, beta, gamma in degrees
    sites: tuple[tuple[str, tuple[str, str, str]], ...]  # element, fractional coordinates as text
    source: str

    @property
    def unknowns(self) -> tuple[str, ...]:
        """Names of the unknown coordinates: the number of the site and the letter."""
        names = [f"{i}{text}" for i, (_, xyz) in enumerate(self.sites) for text in xyz if text.isalpha()]
        return tuple(dict.fromkeys(names))

    def structure(self, values: Mapping[str, float]) -> Structure:
        """The conventional cell with `values` for the unknown coordinates."""
        hall = hall_number(self.space_group)
        species: list[str] = []
        positions: list[NDArray[np.float64]] = []
        for i, (element, xyz) in enumerate(self.sites):
            point = [values[f"{i}{text}"] if text.isalpha() else _number(text) for text in xyz]
            orbit = orbit_of(np.array(point), hall)
            species += [element] * len(orbit)
            positions += list(orbit)
        return Structure(Lattice.from_parameters(*self.cell), species, positions)


def read_literature() -> tuple[LiteratureEntry, ...]:
    """All entries of the table that ships with the package, in its order.

    Raises:
        DataError: a line that cannot be read; the message holds its number.
    """
    text = (resources.files("discovery.structures") / "data" / TABLE).read_text(encoding="utf-8")
    return tuple(_entries(text))


def _entries(text: str) -> Iterator[LiteratureEntry]:
    handbooks: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, _, title = line[1:].strip().partition("  ")
            handbooks[key] = title.strip()
        elif line.strip():
            yield _entry(line, number, handbooks)


def _entry(line: str, number: int, handbooks: Mapping[str, str]) -> LiteratureEntry:
    try:
        name, compound, symbol, cell, sites, source = [part.strip() for part in line.split("|")]
        parsed = [site.split() for site in sites.split(";")]
        placed = tuple((element, (x, y, z)) for element, x, y, z in parsed)
        return LiteratureEntry(name, compound, symbol, _cell(cell, symbol), placed, handbooks[source])
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{TABLE}, line {number}: {error}; write name | compound | group | cell | sites | source"
        ) from error


def _cell(text: str, symbol: str) -> tuple[float, ...]:
    numbers = [float(part) for part in text.split()]
    hexagonal = symbol[1:2] in "36" or symbol[1:3] in ("-3", "-6")
    if hexagonal and symbol.startswith(("P", "R")):
        numbers += [90.0, 90.0, 120.0]
    return tuple([*numbers, 90.0, 90.0, 90.0][:6])


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)
