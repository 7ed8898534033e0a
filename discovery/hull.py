"""The convex hull of formation energies, and how far a composition lies above or below it.

Energy above hull is signed and taken against the hull *without* the composition itself: Bartel's decomposition energy
(npj Comput. Mater. 6, 97 (2020)), positive above the hull, negative where the composition is stable. The energy of the
competing phases is a linear program over the phases of the chemical system, min sum_i w_i E_i subject to
sum_i w_i f_i = f, w >= 0, with E_i in eV/atom and f the atomic fractions; elements always compete at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts, canonical_key
from discovery.errors import CompositionError, SchemeError
from discovery.reference.base import Phase

FloatArray = NDArray[np.float64]
System = tuple[str, ...]  # element symbols in alphabetical order

PREDICTED_MARK = "*"  # follows the formula of a competing phase whose energy is predicted, as in "Li2O*"
REDUCED_COST = 1e-10  # eV/atom; a phase that would lower the energy by less is not worth a pivot
GREEDY_PIVOTS = 100  # then Bland's rule, which cannot cycle; 9 is a usual number


@dataclass(frozen=True)
class HullPoint:
    """Where a composition lies relative to the phases that compete with it."""

    energy_above_hull: float  # eV/atom, signed, against the hull without the composition itself
    competing_phases: tuple[str, ...]  # reduced formulas, alphabetical; "*" follows where the energy is predicted


@dataclass(frozen=True)
class _Block:
    """The phases of exactly one chemical system, in alphabetical order."""

    phases: tuple[Phase, ...]
    keys: tuple[str, ...]  # canonical keys: the identity of a composition, however its formula is written
    fractions: FloatArray  # (phases, elements of the system)
    energies: FloatArray  # (phases,), eV/atom


@dataclass(frozen=True)
class _Competitors:
    """Everything that can compete in a chemical system; the elements come first."""

    labels: tuple[str, ...]  # reduced formulas with the mark of predicted ones, (n,)
    rows: Mapping[str, int]  # canonical key of a compound -> row
    fractions: FloatArray  # (n, elements of the system)
    energies: FloatArray  # (n,), eV/atom


class Hull:
    """Phases of one scheme, indexed by chemical system. Immutable: adding a phase gives a new hull.

    Where a formula occurs twice the lower energy counts, and a measured one before a predicted one.

    Raises:
        SchemeError: `scheme` is empty.
    """

    def __init__(self, phases: Sequence[Phase], scheme: str) -> None:
        if not scheme:
            raise SchemeError("the phases of a hull need a scheme: give a column `scheme` or the option --scheme")
        self.scheme = scheme
        self._blocks: dict[System, _Block] = {}
        self._cache: dict[System, _Competitors] = {}
        self._insert(phases)

    def __len__(self) -> int:
        return sum(len(block.phases) for block in self._blocks.values())

    def __getstate__(self) -> dict[str, object]:
        return {"scheme": self.scheme, "_blocks": self._blocks, "_cache": {}}

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
        hull._insert(phases)
        return hull

    def facing(self, formulas: Sequence[str]) -> Hull:  # noqa: ARG002 - the same call as of a completed hull
        """The hull that these compositions face: this one (see `reference.competition.CompletedHull`)."""
        return self

    def phase(self, formula: str) -> Phase | None:
        """The phase of this composition, None where there is none."""
        counts = amounts(formula)
        return self._by_key(tuple(sorted(counts))).get(canonical_key(counts))

    def phases_in(self, symbols: Iterable[str]) -> tuple[Phase, ...]:
        """All compounds whose elements lie in `symbols`."""
        return tuple(phase for block in self._blocks_in(tuple(sorted(symbols))) for phase in block[1].phases)

    def energy_above_hull(self, formula: str, formation_energy_per_atom: float) -> HullPoint:
        """Where a composition of the given energy (eV/atom) lies; also for one that is a phase of this hull."""
        energy, competing = self.hull_energy(formula)
        return HullPoint(float(formation_energy_per_atom) - energy, competing)

    def energies_above_hull(self, formulas: Sequence[str], energies: Sequence[float] | FloatArray) -> FloatArray:
        """Signed energies above hull, eV/atom, of n compositions, shape (n,)."""
        competing = [self.hull_energy(formula)[0] for formula in formulas]
        return np.asarray(energies, dtype=np.float64) - np.array(competing, dtype=np.float64)

    def hull_energy(self, formula: str) -> tuple[float, tuple[str, ...]]:
        """Energy of the best combination of *other* phases (eV/atom), and which these are."""
        energy, shares = self._solve(formula)
        return energy, tuple(sorted(shares))

    def decomposition(self, formula: str) -> dict[str, float]:
        """The competing phases with the share of the atoms that each one takes; they add up to 1."""
        return dict(sorted(self._solve(formula)[1].items()))

    def _solve(self, formula: str) -> tuple[float, dict[str, float]]:
        counts = amounts(formula)
        if len(counts) < 2:
            raise CompositionError(
                f"{formula!r} is an element, which no phase competes with: give a compound such as NaCl"
            )
        system = tuple(sorted(counts))
        competitors = self._competitors(system)
        target = np.array([counts[symbol] for symbol in system], dtype=np.float64)
        costs = competitors.energies
        row = competitors.rows.get(canonical_key(counts))
        if row is not None:
            costs = costs.copy()
            costs[row] = np.inf
        basis, weights = _cheapest_mixture(competitors.fractions, costs, target / target.sum())
        shares = {competitors.labels[i]: float(w) for i, w in zip(basis, weights, strict=True) if w > 1e-9}
        return float(weights @ costs[basis]), shares

    def _competitors(self, system: System) -> _Competitors:
        if system not in self._cache:
            self._cache[system] = _gather(system, self._blocks_in(system))
        return self._cache[system]

    def _blocks_in(self, system: System) -> list[tuple[System, _Block]]:
        found = (combination for size in range(2, len(system) + 1) for combination in combinations(system, size))
        return [(part, self._blocks[part]) for part in found if part in self._blocks]

    def _insert(self, phases: Sequence[Phase]) -> None:
        """Add phases to the (not yet shared) dictionary of blocks; elements are there anyway."""
        by_system: dict[System, dict[str, Phase]] = {}
        for phase in phases:
            counts = amounts(phase.formula)
            system, key = tuple(sorted(counts)), canonical_key(counts)
            if len(system) > 1:
                known = by_system.setdefault(system, self._by_key(system))
                known[key] = _better(known.get(key), phase)
        for system, known in by_system.items():
            self._blocks[system] = _block(system, known)

    def _by_key(self, system: System) -> dict[str, Phase]:
        block = self._blocks.get(system)
        return dict(zip(block.keys, block.phases, strict=True)) if block else {}


def _better(known: Phase | None, new: Phase) -> Phase:
    """Measured before predicted, then the lower energy."""
    if known is None:
        return new
    order = [(p.predicted, p.formation_energy_per_atom) for p in (known, new)]
    return known if order[0] <= order[1] else new


def _block(system: System, known: Mapping[str, Phase]) -> _Block:
    keys = tuple(sorted(known))
    phases = tuple(known[key] for key in keys)
    counts = np.array([[amounts(phase.formula)[symbol] for symbol in system] for phase in phases], dtype=np.float64)
    energies = np.array([phase.formation_energy_per_atom for phase in phases], dtype=np.float64)
    return _Block(phases, keys, counts / counts.sum(axis=1, keepdims=True), energies)


def _gather(system: System, blocks: list[tuple[System, _Block]]) -> _Competitors:
    """One table of the elements (energy 0) and all phases of the sub-systems."""
    size = len(system)
    fractions, energies, labels = [np.eye(size)], [np.zeros(size)], list(system)
    row_of: dict[str, int] = {}
    for part, block in blocks:
        columns = [system.index(symbol) for symbol in part]
        rows = np.zeros((len(block.phases), size))
        rows[:, columns] = block.fractions
        fractions.append(rows)
        energies.append(block.energies)
        row_of.update({key: len(labels) + i for i, key in enumerate(block.keys)})
        labels += [phase.formula + PREDICTED_MARK * phase.predicted for phase in block.phases]
    return _Competitors(tuple(labels), row_of, np.vstack(fractions), np.concatenate(energies))


def _cheapest_mixture(
    fractions: FloatArray, costs: FloatArray, target: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """Primal simplex method from the elements: which rows mix to `target` at the lowest cost, and their weights.

    The program has as many constraints as elements (eight at most), so a dense inverse of the basis is exact enough and
    quick: 0.1 ms for a ternary system, where a call of a general solver costs 2 ms before it starts.

    Args:
        fractions: (n, d); the first d rows are the identity (the elements), so that they are a first mixture.
        costs: (n,), eV/atom; infinite where a row must not be used.
        target: (d,), positive, adds up to 1.
    """
    size = len(target)
    basis = np.arange(size)
    for pivot in range(100 * GREEDY_PIVOTS):
        inverse = np.linalg.inv(fractions[basis].T)  # rows: what each basis phase takes of each element
        weights = np.maximum(inverse @ target, 0.0)
        gain = costs - fractions @ (costs[basis] @ inverse)
        gain[basis] = 0.0
        bland = pivot >= GREEDY_PIVOTS
        entering = int(np.argmax(gain < -REDUCED_COST)) if bland else int(np.argmin(gain))
        if gain[entering] >= -REDUCED_COST:
            return basis, weights
        basis[_leaving(inverse @ fractions[entering], weights, basis)] = entering
    raise ArithmeticError(f"the hull of {len(costs)} phases and {size} elements was not found: please report this case")


def _leaving(direction: FloatArray, weights: FloatArray, basis: NDArray[np.int64]) -> int:
    """Position in the basis that reaches zero first as the entering phase grows; ties by the smallest row (Bland)."""
    usable = direction > 1e-9
    ratios = np.full(len(weights), np.inf)
    ratios[usable] = weights[usable] / direction[usable]
    tied = np.flatnonzero(ratios <= ratios.min() + 1e-12)
    return int(tied[np.argmin(basis[tied])])
