"""What competes in a chemical system: the phases of each system in a block, and those of all sub-systems gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts, canonical_key
from discovery.reference.base import Phase

FloatArray = NDArray[np.float64]
System = tuple[str, ...]  # element symbols in alphabetical order

PREDICTED_MARK = "*"  # follows the formula of a competing phase whose energy is predicted, as in "Li2O*"


@dataclass(frozen=True)
class Block:
    """The phases of exactly one chemical system, in alphabetical order of their keys."""

    phases: tuple[Phase, ...]
    rows: Mapping[str, int]  # canonical key (the identity of a composition, however it is written) -> row
    fractions: FloatArray  # (phases, elements of the system)
    energies: FloatArray  # (phases,), eV/atom

    @classmethod
    def of(cls, system: System, phases: Mapping[str, Phase]) -> Block:
        """From canonical key -> phase."""
        rows = {key: row for row, key in enumerate(sorted(phases))}
        ordered = tuple(phases[key] for key in rows)
        counts = [amounts(phase.formula) for phase in ordered]
        atoms = np.array([[count[symbol] for symbol in system] for count in counts], dtype=np.float64)
        energies = np.array([phase.formation_energy_per_atom for phase in ordered], dtype=np.float64)
        return cls(ordered, rows, atoms / atoms.sum(axis=1, keepdims=True), energies)

    def by_key(self) -> dict[str, Phase]:
        """Canonical key -> phase."""
        return dict(zip(self.rows, self.phases, strict=True))


@dataclass(frozen=True)
class Competitors:
    """Everything that can compete in a chemical system: the elements, then the phases block by block."""

    system: System
    parts: tuple[tuple[int, Block], ...]  # first row of each block
    fractions: FloatArray  # (n, elements of the system)
    energies: FloatArray  # (n,), eV/atom

    def row(self, key: str) -> int | None:
        """The row of a composition that has all elements of the system, None where it is no phase."""
        start, block = self.parts[-1] if self.parts else (0, None)
        row = block.rows.get(key) if block else None  # keys name their elements: no other block has this one
        return None if row is None else start + row

    def label(self, row: int) -> str:
        """Reduced formula, with the mark of a predicted energy."""
        if row < len(self.system):
            return self.system[row]
        start, block = next(part for part in reversed(self.parts) if part[0] <= row)
        phase = block.phases[row - start]
        return phase.formula + PREDICTED_MARK * phase.predicted


@lru_cache(maxsize=131072)  # the known phases are looked up again and again
def place(formula: str) -> tuple[System, str]:
    """Chemical system and canonical key of a composition."""
    counts = amounts(formula)
    return tuple(sorted(counts)), canonical_key(counts)


def sub_systems(system: System) -> Iterator[System]:
    """All chemical systems of two or more elements within a system, small ones first and itself last."""
    return chain.from_iterable(combinations(system, size) for size in range(2, len(system) + 1))


def better(known: Phase | None, new: Phase) -> Phase:
    """Measured before predicted, then the lower energy."""
    if known is None:
        return new
    order = [(p.predicted, p.formation_energy_per_atom) for p in (known, new)]
    return known if order[0] <= order[1] else new


@lru_cache(maxsize=16)
def _columns(size: int) -> tuple[NDArray[np.int64], ...]:
    """Where the elements of each sub-system stand in a system of so many elements, in the order of `sub_systems`."""
    places = tuple(str(i) for i in range(size))
    return tuple(np.array([int(place) for place in part]) for part in sub_systems(places))


def gather(system: System, blocks: Mapping[System, Block]) -> Competitors:
    """One table of the elements (energy 0) and all phases of the sub-systems."""
    size = len(system)
    pairs = zip(_columns(size), sub_systems(system), strict=True)
    found = [(columns, block) for columns, part in pairs if (block := blocks.get(part)) is not None]
    count = size + sum([len(block.energies) for _, block in found])
    fractions, energies = np.zeros((count, size)), np.zeros(count)
    fractions.flat[: size * size : size + 1] = 1.0
    parts, start = [], size
    for columns, block in found:
        end = start + len(block.energies)
        fractions[start:end, columns] = block.fractions
        energies[start:end] = block.energies
        parts.append((start, block))
        start = end
    return Competitors(system, tuple(parts), fractions, energies)
