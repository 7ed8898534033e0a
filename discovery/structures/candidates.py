"""Candidate structures of a composition: prototypes with its elements on their sites, at a predicted volume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from discovery.composition import pauling_electronegativity
from discovery.structures.assignment import Match, has_prototype, matches, ordered_amounts
from discovery.structures.ions import charges, radius
from discovery.structures.ordering import arrangements
from discovery.structures.prototypes import Prototype

__all__ = ["Candidate", "CandidateLimits", "candidates", "has_prototype"]

RADIUS_WEIGHT = 4.0  # cost of a relative difference in radius, against one unit of charge
WRONG_SIGN = 10.0  # cost of a cation on an anion site: only where nothing else fits
SHARING = 0.4  # cost of each further element on a sublattice: simple types are tried first
SIZE_SPREAD = 3.0  # cost of a relative difference in radius between elements that share a sublattice


@dataclass(frozen=True)
class CandidateLimits:
    """How many structures are made of one composition."""

    count: int = 16
    atoms: int = 220  # in all of them together: single points take time in proportion
    per_prototype: int = 3  # permutations or orderings of one type


@dataclass(frozen=True)
class Candidate:
    """A structure that a composition could have."""

    structure: Structure
    prototype: str  # name of the structure type; "ordered" where elements share a sublattice
    cost: float  # mismatch of charges and radii; smaller is likelier


def candidates(formula: str, limits: CandidateLimits | None = None) -> list[Candidate]:
    """Structures of a reduced formula, the best matching first; empty where no prototype fits. Deterministic."""
    limits = limits or CandidateLimits()
    found: list[Candidate] = []
    atoms = 0
    used: dict[str, int] = {}
    for cost, match in _ranked(formula):
        name = match.prototype.name
        if used.get(name, 0) >= limits.per_prototype:
            continue
        room = limits.per_prototype - used.get(name, 0)
        for structure in _structures(formula, match, room if match.ordered else 1):
            used[name] = used.get(name, 0) + 1
            atoms += len(structure)
            found.append(Candidate(structure, f"{name} (ordered)" if match.ordered else name, cost))
            if len(found) >= limits.count or atoms >= limits.atoms:
                return found
    return found


def _ranked(formula: str) -> list[tuple[float, Match]]:
    found = [(_cost(formula, match), match) for match in matches(formula)]
    return sorted(found, key=lambda pair: pair[0])  # stable: ties keep the order of the library


def _cost(formula: str, match: Match) -> float:
    """Mean mismatch of charge and radius over the atoms."""
    symbols, counts = ordered_amounts(formula)
    states = charges(formula)
    total = 0.0
    for species, group in zip(match.prototype.species, match.groups, strict=True):
        for i in group:
            total += counts[i] / sum(counts) * _mismatch(symbols[i], species, states, match.prototype.charges)
        total += _spread([symbols[i] for i in group], states)
    return total


def _mismatch(
    symbol: str, species: str, states: Mapping[str, float] | None, site_states: Mapping[str, float] | None
) -> float:
    charge = states[symbol] if states else None
    site_charge = site_states[species] if site_states else None
    size = abs(math.log(radius(symbol, charge) / radius(species, site_charge)))
    if charge is None or site_charge is None:
        return RADIUS_WEIGHT * size + abs(_electronegativity(symbol) - _electronegativity(species))
    sign = WRONG_SIGN if charge * site_charge < 0 else 0.0
    return RADIUS_WEIGHT * size + abs(charge - site_charge) + sign


def _spread(sharing: list[str], states: Mapping[str, float] | None) -> float:
    if len(sharing) < 2:
        return 0.0
    sizes = [math.log(radius(symbol, states[symbol] if states else None)) for symbol in sharing]
    return SHARING * (len(sharing) - 1) + SIZE_SPREAD * (max(sizes) - min(sizes)) / len(sharing)


def _electronegativity(symbol: str) -> float:
    value = pauling_electronegativity(symbol)
    return 1.5 if value is None else value  # noble gases and a few actinides have none


def _structures(formula: str, match: Match, limit: int) -> list[Structure]:
    """The prototype with the composition's elements; several where they can be ordered in several ways."""
    symbols, counts = ordered_amounts(formula)
    parent = _supercell(match.prototype, match.cells)
    groups = {species: tuple(symbols[i] for i in group) for species, group in _grouped(match).items()}
    labels = [groups[site.specie.symbol] for site in parent]
    units = match.atoms // sum(counts)
    in_cell = {symbol: units * n for symbol, n in zip(symbols, counts, strict=True)}
    filled = arrangements(parent, labels, in_cell, charges(formula), limit)
    return [_scaled(parent, elements, formula, match.prototype) for elements in filled]


def _grouped(match: Match) -> dict[str, tuple[int, ...]]:
    return dict(zip(match.prototype.species, match.groups, strict=True))


def _supercell(prototype: Prototype, cells: int) -> Structure:
    """The most compact diagonal supercell of `cells` primitive cells."""
    if cells == 1:
        return prototype.structure
    lengths = np.array(prototype.structure.lattice.abc)
    shapes = [shape for shape in product(range(1, cells + 1), repeat=3) if math.prod(shape) == cells]
    best = min(shapes, key=lambda shape: (float(np.ptp(lengths * shape)), shape))
    return prototype.structure.make_supercell(best, in_place=False)


def _scaled(parent: Structure, elements: list[str], formula: str, prototype: Prototype) -> Structure:
    """The parent with new elements, scaled so that its nearest contacts suit their radii as those of the parent did."""
    i, j, distances = _contacts(parent)
    states, site_states = charges(formula), prototype.charges
    ionic = states is not None and site_states is not None  # atomic radii for both otherwise: they are larger
    old = _radii([site.specie.symbol for site in parent], site_states if ionic else None)
    new = _radii(elements, states if ionic else None)
    factor = float(np.mean((new[i] + new[j]) / distances) / np.mean((old[i] + old[j]) / distances))
    return Structure(Lattice(parent.lattice.matrix * factor), elements, parent.frac_coords)


def _radii(elements: list[str], states: Mapping[str, float] | None) -> NDArray[np.float64]:
    return np.array([radius(element, states[element] if states else None) for element in elements])


def _contacts(parent: Structure) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each site its neighbours up to 15 % farther than the nearest: pairs of sites and distances in A."""
    for cutoff in (4.0, 7.0, 12.0):
        centres, neighbours, _, distances = parent.get_neighbor_list(cutoff)
        if len(set(centres.tolist())) == len(parent):
            break
    nearest = np.full(len(parent), np.inf)
    np.minimum.at(nearest, centres, distances)
    close = distances < 1.15 * nearest[centres]
    return centres[close], neighbours[close], distances[close]
