"""The *made* protocol: a potential as oracle in small intermetallic systems, against random structures.

After MADE (arXiv 2601.20996): ternary, quaternary and quinary systems of metals, 50 calls an episode, every structure
relaxed with its cell, found = within 0.1 eV/atom of the hull that grows with the finds, and new. The baseline is
theirs: random composition, random lattice (3-15 A, 60-120 degrees), random positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import gcd

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Element, Lattice, Structure

from discovery.composition import amounts, reduced_formula
from discovery.hull import Hull
from discovery.judging import FloatArray
from discovery.reference.base import Phase
from discovery.structures.candidates import candidates
from discovery.structures.potentials import Potential
from discovery.structures.relaxation import RelaxationError, RelaxationLimits, relax
from discovery.surrogates.base import Surrogate

TOLERANCE = 0.1  # eV/atom above the hull of the moment
LARGEST_CELL = 20  # atoms
LENGTHS = (3.0, 15.0)  # A
ANGLES = (60.0, 120.0)  # degrees
MAX_PER_ELEMENT = 4  # atoms of an element in a listed composition
Structures = Iterator[Structure]


@dataclass(frozen=True)
class Call:
    """One structure that was relaxed."""

    formula: str
    energy_above_hull: float | None  # eV/atom, against the hull of the moment; None: the relaxation failed
    new: bool  # no known or earlier structure matches
    detail: str = ""

    def counts(self, tolerance: float) -> bool:
        """Metastable, unique and novel: a find."""
        return self.new and self.energy_above_hull is not None and self.energy_above_hull <= tolerance


@dataclass
class Episode:
    """The state of one episode in one system."""

    system: tuple[str, ...]
    hull: Hull
    references: Mapping[str, float]  # energy per atom of each element under the potential, eV/atom
    known: list[Structure]
    calls: list[Call] = field(default_factory=list)

    def ask(self, structure: Structure, potential: Potential, limits: RelaxationLimits) -> Call:
        """Relax, place on the hull of the moment, compare with everything known; costs one call."""
        formula = reduced_formula(structure.composition.reduced_formula)
        try:
            relaxed = relax(structure, potential, limits)
        except RelaxationError as error:
            self.calls.append(Call(formula, None, False, error.reason))
            return self.calls[-1]
        energy = relaxed.energy_per_atom - self._elements(structure.composition)
        above = self.hull.energy_above_hull(formula, energy).energy_above_hull
        new = not any(StructureMatcher().fit(relaxed.structure, other) for other in self._same(formula))
        self.calls.append(Call(formula, above, new))
        self.hull = self.hull.with_phase(Phase(formula, energy), self.hull.scheme)
        self.known.append(relaxed.structure)
        return self.calls[-1]

    def _elements(self, composition: Composition) -> float:
        total = sum(self.references[e.symbol] * n for e, n in composition.items())
        return float(total / composition.num_atoms)

    def _same(self, formula: str) -> list[Structure]:
        return [s for s in self.known if reduced_formula(s.composition.reduced_formula) == formula]


def metallic_systems(
    phases: Sequence[str], sizes: Sequence[int], number: int, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    """Systems of metals drawn by chance, `number` of each size, in which every pair has a known phase."""
    metals = sorted({s for f in phases for s in amounts(f) if Element(s).is_metal})
    pairs = {frozenset(amounts(f)) for f in phases if len(amounts(f)) == 2}
    systems: list[tuple[str, ...]] = []
    for size in sizes:
        found: set[tuple[str, ...]] = set()
        for _ in range(100_000):
            drawn = tuple(sorted(rng.choice(metals, size, replace=False).tolist()))
            if all(frozenset((a, b)) in pairs for i, a in enumerate(drawn) for b in drawn[:i]):
                found.add(drawn)
            if len(found) == number:
                break
        systems += sorted(found)
    return systems


def compositions(system: Sequence[str]) -> list[str]:
    """All reduced formulas within a system (all its sub-systems), up to `MAX_PER_ELEMENT` atoms of each element."""
    found: dict[str, None] = {}
    for counts in product(range(MAX_PER_ELEMENT + 1), repeat=len(system)):
        present = [n for n in counts if n]
        if len(present) >= 2 and gcd(*present) == 1 and sum(present) <= LARGEST_CELL:
            found[reduced_formula("".join(f"{s}{n}" for s, n in zip(system, counts, strict=True) if n))] = None
    return list(found)


def random_structures(system: Sequence[str], rng: np.random.Generator) -> Structures:
    """The baseline: composition, lattice and positions by chance."""
    formulas = compositions(system)
    while True:
        composition = Composition(formulas[int(rng.integers(len(formulas)))])
        lengths, angles = rng.uniform(*LENGTHS, 3), rng.uniform(*ANGLES, 3)
        try:
            lattice = Lattice.from_parameters(*lengths, *angles)
        except ValueError:
            continue  # three angles that close no cell
        if not np.isfinite(lattice.volume) or lattice.volume < 1.0:
            continue
        species = [e.symbol for e, n in composition.items() for _ in range(int(n))]
        yield Structure(lattice, species, rng.random((len(species), 3)))


def loop_structures(episode: Episode, surrogate: Surrogate, potential: Potential, depth: int) -> Structures:
    """The loop: compositions by the surrogate's energy above the hull of the moment, structures from prototypes.

    A composition is asked for with its best prototypes by the potential's unrelaxed energy (the cheap rung); after each
    answer the ranking is made anew, and a composition that disappointed falls back by what it missed.
    """
    formulas = compositions(episode.system)
    energies = surrogate.predict(formulas, episode.hull.scheme).mean
    tried: dict[str, int] = {}
    missed = np.zeros(len(formulas))
    empty: set[str] = set()
    while len(empty) < len(formulas):
        above = episode.hull.energies_above_hull(formulas, energies) + missed
        for row in np.argsort(above, kind="stable").tolist():
            formula = formulas[row]
            made = [] if formula in empty or tried.get(formula, 0) >= depth else _prototypes(formula, potential)
            if len(made) <= tried.get(formula, 0):
                empty.add(formula)
                continue
            yield made[tried.get(formula, 0)]
            tried[formula] = tried.get(formula, 0) + 1
            missed[row] = _missed(episode, formula, missed[row])
            break
        else:
            return


def _missed(episode: Episode, formula: str, before: float) -> float:
    """How far above the hull the last answer for a composition was, eV/atom, where the next structure starts from."""
    last = episode.calls[-1]
    if last.formula != formula or last.energy_above_hull is None:
        return before + TOLERANCE
    return before + max(0.0, last.energy_above_hull)


def _prototypes(formula: str, potential: Potential) -> list[Structure]:
    """Prototype structures of a composition, the lowest unrelaxed energy first."""
    made = [candidate.structure for candidate in candidates(formula)]
    fitting = [structure for structure in made if len(structure) <= LARGEST_CELL]
    return sorted(fitting, key=potential.energy_per_atom)


def run_episode(
    episode: Episode, structures: Structures, potential: Potential, calls: int, limits: RelaxationLimits | None = None
) -> list[Call]:
    """Ask for structures until the calls are spent or none are left."""
    for structure in structures:
        if len(episode.calls) >= calls:
            break
        episode.ask(structure, potential, limits or RelaxationLimits())
    return episode.calls


def msun(calls: Sequence[Call], tolerance: float) -> float:
    """Share of the calls that gave a metastable, unique and novel structure."""
    return sum(call.counts(tolerance) for call in calls) / len(calls) if calls else 0.0


def diversity(calls: Sequence[Call], tolerance: float) -> int:
    """Distinct reduced formulas among the finds."""
    return len({call.formula for call in calls if call.counts(tolerance)})


def as_energies(calls: Sequence[Call], number: int) -> FloatArray:
    """Energies above hull of the new structures, infinite for the others, shape (number,): input of `metrics`."""
    values = np.full(number, np.inf)
    for place, call in enumerate(calls[:number]):
        if call.new and call.energy_above_hull is not None:
            values[place] = call.energy_above_hull
    return values
