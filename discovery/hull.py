"""The convex hull of formation energies, and how far a composition lies above or below it.

Energy above hull is signed and taken against the hull *without* the composition itself: Bartel's decomposition energy
(npj Comput. Mater. 6, 97 (2020)), positive above the hull, negative where the composition is stable. The energy of the
competing phases is a linear program over the phases of the chemical system, min sum_i w_i E_i subject to
sum_i w_i f_i = f, w >= 0, with E_i in eV/atom and f the atomic fractions; elements always compete at 0.

Phases are kept in one block per chemical system. A question gathers the blocks of its sub-systems, once for all
compositions of a system, and many questions are solved together (`discovery.simplex`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from discovery.competitors import PREDICTED_MARK, Block, Competitors, System, better, gather, place, sub_systems
from discovery.composition import canonical_key, compound_amounts
from discovery.errors import SchemeError
from discovery.reference.base import Phase
from discovery.simplex import Programs, cheapest_mixtures

__all__ = ["PREDICTED_MARK", "Hull", "HullPoint", "System"]

FloatArray = NDArray[np.float64]

KEPT_TABLES = 2048  # gathered chemical systems that are kept, about 10 MB
ROWS_TOGETHER = 8192  # phases in the programs that are solved together: they stay in the processor's cache


@dataclass(frozen=True)
class HullPoint:
    """Where a composition lies relative to the phases that compete with it."""

    energy_above_hull: float  # eV/atom, signed, against the hull without the composition itself
    competing_phases: tuple[str, ...]  # reduced formulas, alphabetical; "*" follows where the energy is predicted


@dataclass(frozen=True)
class _Mixture:
    """The cheapest mixture of other phases with a composition."""

    table: Competitors
    rows: tuple[int, ...]
    weights: tuple[float, ...]  # of the atoms, add up to 1
    energy: float  # eV/atom

    def shares(self) -> dict[str, float]:
        """Phase -> share of the atoms, in alphabetical order."""
        pairs = zip(self.rows, self.weights, strict=True)
        return dict(sorted((self.table.label(row), weight) for row, weight in pairs if weight > 1e-9))


class Hull:
    """Phases of one scheme, indexed by chemical system. Immutable: adding a phase gives a new hull.

    The new hull shares all blocks and gathered tables that the phase does not touch. Where a formula occurs twice the
    lower energy counts, and a measured one before a predicted one.

    Raises:
        SchemeError: `scheme` is empty.
    """

    def __init__(self, phases: Sequence[Phase], scheme: str) -> None:
        if not scheme:
            raise SchemeError("the phases of a hull need a scheme: give a column `scheme` or the option --scheme")
        self.scheme = scheme
        self._blocks: dict[System, Block] = {}
        self._tables: dict[System, Competitors] = {}
        self._insert(phases)

    def __len__(self) -> int:
        return sum(len(block.phases) for block in self._blocks.values())

    def __getstate__(self) -> dict[str, object]:
        return {"scheme": self.scheme, "_blocks": self._blocks, "_tables": {}}

    def with_phase(self, phase: Phase, scheme: str) -> Hull:
        """A hull with one more phase; see `with_phases`."""
        return self.with_phases((phase,), scheme)

    def with_phases(self, phases: Sequence[Phase], scheme: str) -> Hull:
        """A hull with more phases, whose energies must be of this hull's scheme.

        Raises:
            SchemeError: `scheme` differs.
        """
        if scheme != self.scheme:
            raise SchemeError(f"phases of scheme {scheme!r} cannot join a hull of {self.scheme!r}: use one scheme")
        hull = Hull((), self.scheme)
        hull._blocks = dict(self._blocks)
        changed = hull._insert(phases)
        tables = self._tables.items()
        hull._tables = {system: table for system, table in tables if changed.isdisjoint(sub_systems(system))}
        return hull

    def facing(self, formulas: Sequence[str]) -> Hull:  # noqa: ARG002 - the same call as of a completed hull
        """The hull that these compositions face: this one (see `reference.competition.CompletedHull`)."""
        return self

    def predicted_by(self, surrogate: object) -> Hull:  # noqa: ARG002 - the same call as of a completed hull
        """The hull with what it predicts predicted by a surrogate: this one, which predicts nothing."""
        return self

    def phase(self, formula: str) -> Phase | None:
        """The phase of this composition, None where there is none."""
        system, key = place(formula)
        block = self._blocks.get(system)
        row = block.rows.get(key) if block else None
        return None if block is None or row is None else block.phases[row]

    def phases_in(self, symbols: Iterable[str]) -> tuple[Phase, ...]:
        """All compounds whose elements lie in `symbols`."""
        blocks = (self._blocks.get(part) for part in sub_systems(tuple(sorted(symbols))))
        return tuple(phase for block in blocks if block for phase in block.phases)

    def energy_above_hull(self, formula: str, formation_energy_per_atom: float) -> HullPoint:
        """Where a composition of the given energy (eV/atom) lies; also for one that is a phase of this hull."""
        return self.points([formula], [formation_energy_per_atom])[0]

    def points(self, formulas: Sequence[str], energies: Sequence[float] | FloatArray) -> list[HullPoint]:
        """`energy_above_hull` of n compositions: many times quicker than one by one, and the same to the last bit."""
        found = {
            i: HullPoint(float(energies[i]) - mixture.energy, tuple(mixture.shares()))
            for i, mixture in self._mixtures(formulas)
        }
        return [found[i] for i in range(len(formulas))]

    def energies_above_hull(self, formulas: Sequence[str], energies: Sequence[float] | FloatArray) -> FloatArray:
        """Signed energies above hull, eV/atom, of n compositions, shape (n,).

        Raises:
            CompositionError: a formula that is no compound: nothing competes with an element.
        """
        above = np.array(energies, dtype=np.float64)
        for i, mixture in self._mixtures(formulas):
            above[i] -= mixture.energy
        return above

    def hull_energy(self, formula: str) -> tuple[float, tuple[str, ...]]:
        """Energy of the best combination of *other* phases (eV/atom), and which these are."""
        _, mixture = next(self._mixtures([formula]))
        return mixture.energy, tuple(mixture.shares())

    def decomposition(self, formula: str) -> dict[str, float]:
        """The competing phases with the share of the atoms that each one takes; they add up to 1."""
        _, mixture = next(self._mixtures([formula]))
        return mixture.shares()

    def _mixtures(self, formulas: Sequence[str]) -> Iterator[tuple[int, _Mixture]]:
        """Position and cheapest mixture of each formula, system by system."""
        compounds = [compound_amounts(formula) for formula in formulas]
        systems = [tuple(sorted(counts)) for counts in compounds]
        order = sorted(range(len(formulas)), key=lambda i: (len(systems[i]), systems[i]))
        for batch, tables in self._batches(order, systems):
            yield from zip(batch, _solved(tables, [compounds[i] for i in batch]), strict=True)

    def _batches(
        self, order: Sequence[int], systems: Sequence[System]
    ) -> Iterator[tuple[list[int], list[Competitors]]]:
        """Positions of compositions with equally many elements, and their tables, about `ROWS_TOGETHER` rows a time."""
        for _, group in groupby(order, key=lambda i: len(systems[i])):
            batch: list[int] = []
            tables: list[Competitors] = []
            rows = 0
            for i in group:
                batch.append(i)
                tables.append(self._competitors(systems[i]))
                rows += len(tables[-1].energies)
                if rows >= ROWS_TOGETHER:
                    yield batch, tables
                    batch, tables, rows = [], [], 0
            if batch:
                yield batch, tables

    def _competitors(self, system: System) -> Competitors:
        table = self._tables.get(system)
        if table is None:
            table = gather(system, self._blocks)
            if len(self._tables) >= KEPT_TABLES:
                self._tables = {}
            self._tables[system] = table
        return table

    def _insert(self, phases: Sequence[Phase]) -> set[System]:
        """Add phases to the (not yet shared) dictionary of blocks; returns the systems that changed."""
        by_system: dict[System, dict[str, Phase]] = {}
        for phase in phases:
            system, key = place(phase.formula)
            if len(system) > 1:  # elements are there anyway
                known = by_system.setdefault(system, self._by_key(system))
                known[key] = better(known.get(key), phase)
        for system, known in by_system.items():
            self._blocks[system] = Block.of(system, known)
        return set(by_system)

    def _by_key(self, system: System) -> dict[str, Phase]:
        block = self._blocks.get(system)
        return block.by_key() if block else {}


def _solved(tables: Sequence[Competitors], compounds: Sequence[Mapping[str, int]]) -> Iterator[_Mixture]:
    """The cheapest mixtures of compositions with equally many elements, each one in its own table."""
    pairs = zip(tables, compounds, strict=True)
    atoms = np.array([[counts[symbol] for symbol in table.system] for table, counts in pairs], dtype=np.float64)
    targets = atoms / atoms.sum(axis=1, keepdims=True)
    programs = Programs.stacked([(table.fractions, table.energies) for table in tables], targets)
    for table, counts, start in zip(tables, compounds, programs.starts, strict=True):
        if (own := table.row(canonical_key(counts))) is not None:
            programs.costs[start + own] = np.inf  # a composition does not compete with itself
    rows, weights = cheapest_mixtures(programs)
    energies = (weights * programs.costs[rows + programs.starts[:, None]]).sum(axis=1)
    for table, chosen, shares, energy in zip(tables, rows.tolist(), weights.tolist(), energies.tolist(), strict=True):
        yield _Mixture(table, tuple(chosen), tuple(shares), energy)
