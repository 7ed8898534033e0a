"""Ordered arrangements of several elements on one sublattice, the electrostatically best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.special import erfc

from discovery.structures.ions import radius

MAX_ARRANGEMENTS = 1500  # looked at; larger numbers are sampled
SCREENING_LENGTH = 3.0  # A: of the screened Coulomb interaction; far pairs hardly tell arrangements apart
CUTOFF = 9.0  # A
SIZE_CHARGE = 0.3  # charge per A of radius: elements of equal charge order by size


def arrangements(
    parent: Structure,
    labels: Sequence[tuple[str, ...]],
    counts: Mapping[str, int],
    states: Mapping[str, float] | None,
    limit: int,
) -> list[list[str]]:
    """Elements for each site of `parent`, up to `limit` different arrangements.

    Args:
        parent: cell whose sites are to be filled.
        labels: the elements that may stand on each site; sites with equal labels form a sublattice.
        counts: atoms of each element in the cell.
        states: oxidation state of each element; None: ordered by size alone.
        limit: how many to give.

    Returns:
        Arrangements by ascending screened Coulomb energy; those of equal energy count as one (symmetry).
    """
    effective = _effective_charges(counts, states)
    matrix = _interaction(parent)
    found: dict[float, list[str]] = {}
    for elements in _arrangements(labels, counts):
        vector = np.array([effective[element] for element in elements])
        found.setdefault(round(float(vector @ matrix @ vector), 4), elements)
    return [found[energy] for energy in sorted(found)[:limit]]


def _effective_charges(counts: Mapping[str, int], states: Mapping[str, float] | None) -> dict[str, float]:
    charge = {symbol: (states or {}).get(symbol, 0.0) for symbol in counts}
    size = {symbol: radius(symbol, charge[symbol]) for symbol in counts}
    mean = float(np.mean(list(size.values())))
    return {symbol: charge[symbol] + SIZE_CHARGE * (size[symbol] - mean) for symbol in counts}


def _arrangements(labels: Sequence[tuple[str, ...]], counts: Mapping[str, int]) -> Iterator[list[str]]:
    sublattices: dict[tuple[str, ...], list[int]] = {}
    for site, elements in enumerate(labels):
        sublattices.setdefault(elements, []).append(site)
    partial: list[dict[int, str]] = [{}]
    rng = np.random.default_rng(0)
    for elements, sites in sublattices.items():
        choices = list(_limited(_fillings(tuple(sites), elements, counts), rng, (sites, elements, counts)))
        pairs = [(old, new) for old in partial for new in choices]
        if len(pairs) > MAX_ARRANGEMENTS:
            pairs = [pairs[i] for i in sorted(rng.choice(len(pairs), MAX_ARRANGEMENTS, replace=False))]
        partial = [old | new for old, new in pairs]
    yield from ([filling[site] for site in range(len(labels))] for filling in partial)


def _fillings(sites: tuple[int, ...], elements: tuple[str, ...], counts: Mapping[str, int]) -> Iterator[dict[int, str]]:
    if len(elements) == 1:
        yield dict.fromkeys(sites, elements[0])
        return
    for chosen in combinations(sites, counts[elements[0]]):
        rest = tuple(site for site in sites if site not in chosen)
        for others in _fillings(rest, elements[1:], counts):
            yield dict.fromkeys(chosen, elements[0]) | others


def _limited(
    fillings: Iterator[dict[int, str]],
    rng: np.random.Generator,
    problem: tuple[list[int], tuple[str, ...], Mapping[str, int]],
) -> list[dict[int, str]]:
    """All fillings, or random ones where there are too many."""
    taken = [filling for filling, _ in zip(fillings, range(MAX_ARRANGEMENTS + 1), strict=False)]
    if len(taken) <= MAX_ARRANGEMENTS:
        return taken
    sites, elements, counts = problem
    multiset = [element for element in elements for _ in range(counts[element])]
    return [dict(zip(sites, rng.permutation(multiset).tolist(), strict=True)) for _ in range(MAX_ARRANGEMENTS)]


def _interaction(structure: Structure) -> NDArray[np.float64]:
    """Screened Coulomb interaction of unit charges between all pairs of sites, 1/A, shape (n, n)."""
    centres, neighbours, _, distances = structure.get_neighbor_list(CUTOFF)
    matrix = np.zeros((len(structure), len(structure)))
    np.add.at(matrix, (centres, neighbours), erfc(distances / SCREENING_LENGTH) / distances)
    return matrix
