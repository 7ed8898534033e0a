"""From a composition to its lowest structure: candidates, single points at a few volumes, relaxation of the best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from discovery.structures.candidates import Candidate, candidates
from discovery.structures.potentials import SMALLEST_VOLUME, Potential, to_atoms
from discovery.structures.relaxation import (
    SHORTEST_DISTANCE,
    RelaxationError,
    RelaxationLimits,
    Relaxed,
    relax,
    shortest_distance,
)

# Half of the starts are given up after a few steps: of 25 stable compounds of the Materials Project, the same number
# ended within 0.02 eV/atom of the known structure as with full relaxations, in two thirds of the time.
QUICK_FACTOR = 2
QUICK_STEPS = 5
LENGTH_STEP = 0.04  # relative change of the cell's lengths between the single points of a candidate
LARGEST_STRETCH = 0.28  # relative change of length at which the search for the volume ends
SAME_ENERGY = 0.003  # eV/atom: candidates nearer than this are compared; the same type can come in twice


@dataclass(frozen=True)
class SearchLimits:
    """How much a search may cost."""

    relaxations: int = 3
    steps: int = 60  # of each relaxation
    max_seconds: float | None = None  # wall clock of the whole search; None: no limit


@dataclass(frozen=True)
class Start:
    """A candidate at its best volume."""

    structure: Structure
    prototype: str
    energy_per_atom: float  # eV/atom, of the parabola through the single points, or relaxed


@dataclass(frozen=True)
class Found:
    """The lowest structure that a search found."""

    relaxed: Relaxed
    prototype: str
    candidates: int  # distinct ones that were screened
    relaxations: int  # that gave a structure
    steps: int  # of all relaxations together


class SearchError(Exception):
    """No structure was found; `reason` is short and can be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def find_structure(formula: str, potential: Potential, limits: SearchLimits) -> Found:
    """The lowest relaxed candidate of a reduced formula; deterministic where there is no time limit.

    Raises:
        SearchError: "no prototype", "timeout", or why the last relaxation gave nothing ("relaxation diverged").
    """
    deadline = _Deadline(limits.max_seconds)
    starts = screen(candidates(formula), potential, deadline)
    if not starts:
        raise SearchError("no prototype")
    quick = _relaxed(starts[: QUICK_FACTOR * limits.relaxations], potential, min(QUICK_STEPS, limits.steps), deadline)
    rest = limits.steps - QUICK_STEPS
    again = [start for start, relaxed in quick[: limits.relaxations] if rest > 0 and not relaxed.converged]
    full = _relaxed(again, potential, rest, deadline, needed=False)
    best, relaxed = min(quick + full, key=lambda pair: pair[1].energy_per_atom)
    return Found(relaxed, best.prototype, len(starts), len(quick), sum(result.steps for _, result in quick + full))


def screen(found: list[Candidate], potential: Potential, deadline: _Deadline | None = None) -> list[Start]:
    """Candidates at their best volume by ascending energy, each structure once.

    Raises:
        SearchError: "timeout"; or "no energy" where the potential has none for any candidate.
    """
    starts: list[Start] = []
    for candidate in found:
        if deadline is not None and deadline.remaining() == 0.0:
            raise SearchError("timeout", f"after {len(starts)} of {len(found)} single points")
        start = _at_best_volume(candidate, potential)
        if np.isfinite(start.energy_per_atom):
            starts.append(start)
    if found and not starts:
        raise SearchError("no energy", "the potential gave no finite energy for any candidate")
    return list(_distinct(sorted(starts, key=lambda start: start.energy_per_atom)))


@dataclass(frozen=True)
class _Deadline:
    max_seconds: float | None
    start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", time.monotonic())

    def remaining(self) -> float | None:
        """Seconds that are left, at least 0; None where there is no limit."""
        if self.max_seconds is None:
            return None
        return max(0.0, self.max_seconds - (time.monotonic() - self.start))


def _relaxed(
    starts: list[Start], potential: Potential, steps: int, deadline: _Deadline, needed: bool = True
) -> list[tuple[Start, Relaxed]]:
    """Relaxed starts by ascending energy, each beside a start at what was reached; runaway ones are left out.

    Raises:
        SearchError: `needed`, and nothing came out: the reason of the last one.
    """
    results: list[tuple[Start, Relaxed]] = []
    failure = SearchError("timeout")
    for start in starts:
        try:
            relaxed = relax(start.structure, potential, RelaxationLimits(steps, max_seconds=deadline.remaining()))
        except RelaxationError as error:
            failure = SearchError(error.reason, f"{start.prototype}: {error.detail}")
            continue
        results.append((Start(relaxed.structure, start.prototype, relaxed.energy_per_atom), relaxed))
    if needed and not results:
        raise failure
    return sorted(results, key=lambda pair: pair[1].energy_per_atom)


def _at_best_volume(candidate: Candidate, potential: Potential) -> Start:
    """Single points downhill in the cell's length until they enclose a minimum, and the minimum of their parabola."""
    structure = candidate.structure
    energies = {stretch: _energy(structure, stretch, potential) for stretch in (0.0, LENGTH_STEP)}
    direction = LENGTH_STEP if energies[LENGTH_STEP] < energies[0.0] else -LENGTH_STEP
    edge = max(0.0, direction)
    while abs(edge + direction) <= LARGEST_STRETCH + 1e-9 and energies[edge] <= min(energies.values()):
        edge = round(edge + direction, 6)
        energies[edge] = _energy(structure, edge, potential)
    lowest = min(energies, key=lambda stretch: (energies[stretch], stretch))
    if not np.isfinite(energies[lowest]):
        return Start(structure, candidate.prototype, np.inf)
    stretch, gain = _vertex(energies, lowest)
    return Start(_stretched(structure, stretch), candidate.prototype, energies[lowest] - gain)


def _energy(structure: Structure, stretch: float, potential: Potential) -> float:
    stretched = _stretched(structure, stretch)
    flat = stretched.volume / len(stretched) < SMALLEST_VOLUME  # a collapsed cell, where the potential has no energy
    if flat or shortest_distance(to_atoms(stretched)) < SHORTEST_DISTANCE:
        return np.inf
    energy = potential.energy_per_atom(stretched)
    return energy if np.isfinite(energy) else np.inf


def _vertex(energies: dict[float, float], lowest: float) -> tuple[float, float]:
    """Minimum of the parabola through the lowest point and its neighbours: where, and how much below the point.

    The point itself at an end of the range, or beside a point without energy.
    """
    below, above = round(lowest - LENGTH_STEP, 6), round(lowest + LENGTH_STEP, 6)
    if below not in energies or above not in energies:
        return lowest, 0.0
    left, right = energies[below] - energies[lowest], energies[above] - energies[lowest]
    if not np.isfinite([left, right]).all() or left + right <= 0:
        return lowest, 0.0
    return lowest + LENGTH_STEP * (left - right) / (2 * (left + right)), (left - right) ** 2 / (8 * (left + right))


def _stretched(structure: Structure, stretch: float) -> Structure:
    lattice = Lattice(structure.lattice.matrix * (1 + stretch))
    return Structure(lattice, structure.species, structure.frac_coords)


def _distinct(starts: list[Start]) -> Iterator[Start]:
    """Each structure once; `starts` by ascending energy."""
    kept: list[Start] = []
    for start in starts:
        if not any(_same(start, other) for other in kept):
            kept.append(start)
            yield start


def _same(one: Start, other: Start) -> bool:
    if abs(one.energy_per_atom - other.energy_per_atom) > SAME_ENERGY:
        return False
    return bool(StructureMatcher(ltol=0.05, stol=0.1, angle_tol=3).fit(one.structure, other.structure))
