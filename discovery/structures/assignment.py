"""Which elements of a composition can take which sites of which prototype.

Two kinds of match. *Plain*: the anonymous formulas agree, one element on each sublattice. *Ordered*: several elements
share a sublattice of a simpler type in an ordered way (SrNdTiNbO6 as a perovskite); there the more electronegative
elements must fill the anion sublattices, as the Pauling test demands, or, in an antitype, the cation sublattices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations

from discovery.composition import amounts, electronegativity_order
from discovery.structures.prototypes import MAX_ATOMS, Prototype, library

# AFLOW's binary types in which elements are known to order: rock salt, caesium chloride, sphalerite, wurtzite, nickel
# arsenide, fluorite, rutile, cadmium iodide, molybdenite, corundum. All of our own types can be parents.
PARENT_TYPES = frozenset({"B1", "B2", "B3", "B4", "B8_1", "C1", "C4", "C6", "C7", "D5_1"})

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Match:
    """One way to put elements on the sublattices of a prototype."""

    prototype: Prototype
    groups: Groups  # for each species of the prototype, the elements on it: indices in electronegativity order
    cells: int  # primitive cells that are needed

    @property
    def ordered(self) -> bool:
        """True where elements share a sublattice."""
        return any(len(group) > 1 for group in self.groups)

    @property
    def atoms(self) -> int:
        """Atoms in the cell."""
        return self.cells * len(self.prototype.structure)


def has_prototype(formula: str) -> bool:
    """True where at least one candidate structure can be made for a reduced formula."""
    return _has_match(ordered_amounts(formula)[1])


def matches(formula: str) -> tuple[Match, ...]:
    """All plain matches and, after them, all ordered ones; the order is fixed."""
    return _matches(ordered_amounts(formula)[1])


@lru_cache(maxsize=65536)
def ordered_amounts(formula: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Elements in ascending electronegativity, and their atoms in the reduced formula unit."""
    found = amounts(formula)
    symbols = tuple(electronegativity_order(found))
    return symbols, tuple(found[symbol] for symbol in symbols)


@lru_cache(maxsize=65536)
def _has_match(counts: tuple[int, ...]) -> bool:
    return tuple(sorted(counts)) in _by_shape() or next(_ordered(counts), None) is not None


@lru_cache(maxsize=4096)
def _matches(counts: tuple[int, ...]) -> tuple[Match, ...]:
    return (*_plain(counts), *_ordered(counts))


def _plain(counts: tuple[int, ...]) -> Iterator[Match]:
    for prototype in _by_shape().get(tuple(sorted(counts)), ()):
        divisor = math.gcd(*prototype.counts)
        wanted = [count // divisor for count in prototype.counts]
        for order in permutations(range(len(counts))):
            if [counts[i] for i in order] == wanted:
                yield Match(prototype, tuple((i,) for i in order), cells=1)


@cache
def _by_shape() -> dict[tuple[int, ...], tuple[Prototype, ...]]:
    shapes: dict[tuple[int, ...], list[Prototype]] = {}
    for prototype in library():
        shapes.setdefault(prototype.shape, []).append(prototype)
    return {shape: tuple(found) for shape, found in shapes.items()}


@dataclass(frozen=True)
class _Signature:
    """Sublattice sizes of parents, by the sign of their charges."""

    cations: tuple[int, ...]  # atoms of each cation species in the primitive cell
    anions: tuple[int, ...]

    @property
    def atoms(self) -> int:
        return sum(self.cations) + sum(self.anions)


@cache
def _parents() -> dict[_Signature, tuple[Prototype, ...]]:
    found: dict[_Signature, list[Prototype]] = {}
    for prototype in library():
        parent = prototype.own or prototype.strukturbericht in PARENT_TYPES
        if parent and prototype.charges is not None:
            found.setdefault(_signature(prototype), []).append(prototype)
    return {signature: tuple(prototypes) for signature, prototypes in found.items()}


def _signature(prototype: Prototype) -> _Signature:
    cations, anions = _sides(prototype)
    return _Signature(tuple(prototype.counts[i] for i in cations), tuple(prototype.counts[i] for i in anions))


def _sides(prototype: Prototype) -> tuple[list[int], list[int]]:
    """Indices of the cation and of the anion species, each in the order of `species`."""
    charge = prototype.charges or {}
    cations = [i for i, symbol in enumerate(prototype.species) if charge[symbol] >= 0]
    return cations, [i for i in range(len(prototype.species)) if i not in cations]


def _ordered(counts: tuple[int, ...]) -> Iterator[Match]:
    total = sum(counts)
    for signature, prototypes in _parents().items():
        cells = total // math.gcd(total, signature.atoms)
        species = len(signature.cations) + len(signature.anions)
        if cells * signature.atoms > MAX_ATOMS or species >= len(counts):
            continue
        units = cells * signature.atoms // total
        for left, right in _fillings(tuple(units * n for n in counts), signature, cells):
            for prototype in prototypes:
                yield Match(prototype, _by_species(prototype, left, right), cells)


def _fillings(counts: tuple[int, ...], signature: _Signature, cells: int) -> Iterator[tuple[Groups, Groups]]:
    """Pairs of groups for the cation and the anion species; `counts` are atoms in the whole cell."""
    cations = tuple(cells * n for n in signature.cations)
    anions = tuple(cells * n for n in signature.anions)
    for split in range(1, len(counts)):
        positive, negative = tuple(range(split)), tuple(range(split, len(counts)))
        charge = sum(counts[:split])
        if charge == sum(cations):
            for left in _distribute(positive, counts, cations):
                yield from ((left, right) for right in _distribute(negative, counts, anions))
        if charge == sum(anions) != sum(cations):  # antitype
            for right in _distribute(positive, counts, anions):
                yield from ((left, right) for left in _distribute(negative, counts, cations))


def _distribute(elements: tuple[int, ...], counts: Sequence[int], targets: tuple[int, ...]) -> Iterator[Groups]:
    """All ways to split `elements` into one group for each target with exactly that many atoms."""
    if not targets:
        if not elements:
            yield ()
        return
    for chosen in _subsets(elements, counts, targets[0]):
        rest = tuple(i for i in elements if i not in chosen)
        yield from ((chosen, *others) for others in _distribute(rest, counts, targets[1:]))


def _subsets(elements: tuple[int, ...], counts: Sequence[int], target: int) -> Iterator[tuple[int, ...]]:
    if target == 0:
        yield ()
        return
    for position, element in enumerate(elements):
        if counts[element] <= target:
            for others in _subsets(elements[position + 1 :], counts, target - counts[element]):
                yield (element, *others)


def _by_species(prototype: Prototype, left: Groups, right: Groups) -> Groups:
    cations, anions = _sides(prototype)
    placed = dict(zip(cations, left, strict=True)) | dict(zip(anions, right, strict=True))
    return tuple(placed[i] for i in range(len(prototype.species)))
