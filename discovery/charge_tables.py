"""Look-ahead for constrained decoding: from which net charges can a composition still be closed?

Elements come in ascending electronegativity, so a balanced composition is a run of cations and then a run of anions.
Going backwards over the elements, every table entry is the set of net charges (bit q of an integer = charge q) from
which the elements still to come can reach zero within the atoms and elements that are left: exact, no dead ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from discovery.composition import pauling_electronegativity

Grid = list[list[int]]  # [elements left][atoms left] -> set of charges


@dataclass(frozen=True)
class Mode:
    """One way in which all atoms of an element are charged."""

    cation: bool
    shifts: tuple[int, ...]  # sizes of the charge per atom; several where the atoms may differ (mixed valence)

    def apply(self, charges: int) -> int:
        """Net charges after one atom; those below zero are dropped, since only anions would follow."""
        reached = 0
        for shift in self.shifts:
            reached |= charges << shift if self.cation else charges >> shift
        return reached

    def undo(self, charges: int) -> int:
        """Net charges before one atom."""
        reached = 0
        for shift in self.shifts:
            reached |= charges >> shift if self.cation else charges << shift
        return reached


@dataclass(frozen=True)
class ElementTable:
    """Charges from which an element may be written, as grids over (elements left, atoms left)."""

    grow: tuple[Grid, ...]  # per mode: one atom or more of this element; the element itself counts as one left
    start_after_anion: Grid
    start_after_cation: Grid  # also at the very start
    start_after_tied_cation: Grid  # the last cation has the same electronegativity, so this one cannot be an anion


@dataclass(frozen=True)
class _Closing:
    """Charges that can be closed by the elements from some position on, by what was written last."""

    after_anion: Grid
    after_cation: Grid
    after_tied_cation: Grid


def modes_of(states: Sequence[int], mixed: bool) -> tuple[Mode, ...]:
    """The modes of an element with these oxidation states."""
    cations, anions = sorted(s for s in states if s > 0), sorted(-s for s in states if s < 0)
    if mixed:
        both = (Mode(True, tuple(cations)), Mode(False, tuple(anions)))
        return tuple(mode for mode in both if mode.shifts)
    return tuple([Mode(True, (s,)) for s in cations] + [Mode(False, (s,)) for s in anions])


def tied(first: str, second: str) -> bool:
    """True for elements of equal electronegativity, of which one cannot be the cation of the other."""
    return pauling_electronegativity(first) == pauling_electronegativity(second)


def build_tables(
    symbols: Sequence[str], modes: Sequence[tuple[Mode, ...]], required: frozenset[str], limits: tuple[int, int]
) -> list[ElementTable]:
    """One table per element.

    Args:
        symbols: usable elements in ascending electronegativity.
        modes: their modes, in the same order; an element without any cannot be charged.
        required: elements that may not be skipped.
        limits: largest numbers of elements and of atoms.
    """
    closing = _Closing(_grid(limits, 1), _grid(limits, 0), _grid(limits, 0))
    tables: list[ElementTable] = []
    for position in reversed(range(len(symbols))):
        next_is_tied = position + 1 < len(symbols) and tied(symbols[position], symbols[position + 1])
        behind_cation = closing.after_tied_cation if next_is_tied else closing.after_cation
        table = _element_table(modes[position], closing.after_anion, behind_cation, limits)
        skipped = _Closing(closing.after_anion, closing.after_cation, behind_cation)
        if symbols[position] in required:
            skipped = _Closing(_grid(limits, 0), _grid(limits, 0), _grid(limits, 0))
        closing = _Closing(
            _union([skipped.after_anion, table.start_after_anion], limits),
            _union([skipped.after_cation, table.start_after_cation], limits),
            _union([skipped.after_tied_cation, table.start_after_tied_cation], limits),
        )
        tables.append(table)
    return tables[::-1]


def _element_table(
    modes: tuple[Mode, ...], behind_anion: Grid, behind_cation: Grid, limits: tuple[int, int]
) -> ElementTable:
    grow = tuple(_grow(mode, behind_cation if mode.cation else behind_anion, limits) for mode in modes)
    cations = _union([grid for mode, grid in zip(modes, grow, strict=True) if mode.cation], limits)
    anions = _union([grid for mode, grid in zip(modes, grow, strict=True) if not mode.cation], limits)
    return ElementTable(grow, anions, _union([cations, anions], limits), cations)


def _grow(mode: Mode, behind: Grid, limits: tuple[int, int]) -> Grid:
    grid = _grid(limits, 0)
    for elements in range(1, limits[0] + 1):
        for atoms in range(1, limits[1] + 1):
            grid[elements][atoms] = mode.undo(behind[elements - 1][atoms - 1] | grid[elements][atoms - 1])
    return grid


def _grid(limits: tuple[int, int], value: int) -> Grid:
    return [[value] * (limits[1] + 1) for _ in range(limits[0] + 1)]


def _union(grids: Sequence[Grid], limits: tuple[int, int]) -> Grid:
    union = _grid(limits, 0)
    for grid in grids:
        for row, other in zip(union, grid, strict=True):
            row[:] = [a | b for a, b in zip(row, other, strict=True)]
    return union
