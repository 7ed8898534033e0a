"""The *made* protocol: a potential as oracle in small intermetallic systems, against random structures.

After MADE (arXiv 2601.20996): ternary, quaternary and quinary systems of metals, 50 calls an episode, every structure
relaxed with its cell, found = within 0.1 eV/atom of the hull that grows with the finds (a polymorph: of the lowest
one, too), and new. The baseline is theirs: random composition, lattice (3-15 A, 60-120 degrees) and positions.
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
VOLUMES = (0.85, 0.92, 1.0, 1.08, 1.16)  # of a prototype, times the predicted volume
CLIP = (-0.3, 1.5)  # eV/atom above hull; beyond, more tells nothing new
PRIOR = np.array([0.35, 1.0, 0.05])  # relaxed energy above hull from unrelaxed, predicted, and 1, before any answer
PRIOR_STD = np.array([0.2, 0.5, 0.2])
NOISE = 0.3  # eV/atom
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
        energy = self.formation_energy(structure.composition, relaxed.energy_per_atom)
        above = energy - self.floor(formula)
        new = not self.knows(relaxed.structure)
        self.calls.append(Call(formula, above, new))
        self.hull = self.hull.with_phase(Phase(formula, energy), self.hull.scheme)
        self.known.append(relaxed.structure)
        return self.calls[-1]

    def formation_energy(self, composition: Composition, energy_per_atom: float) -> float:
        """Of a total energy under the potential, both eV/atom."""
        total = sum(self.references[e.symbol] * n for e, n in composition.items())
        return energy_per_atom - float(total / composition.num_atoms)

    def floor(self, formula: str) -> float:
        """Energy of the hull of the moment at a composition, its own phase included, eV/atom."""
        own = self.hull.phase(formula)
        mixture = self.hull.hull_energy(formula)[0]
        return mixture if own is None else min(mixture, own.formation_energy_per_atom)

    def knows(self, structure: Structure) -> bool:
        """Whether a structure matches one that is known."""
        formula = reduced_formula(structure.composition.reduced_formula)
        return any(StructureMatcher().fit(structure, other) for other in self._same(formula))

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


@dataclass(frozen=True)
class Option:
    """A prototype structure that the loop may ask for, after the cheap rung."""

    formula: str
    structure: Structure  # at the best of the tried volumes
    energy: float  # formation energy as it is there, eV/atom
    predicted: float  # energy of its composition above the first hull by the surrogate, eV/atom


def loop_structures(episode: Episode, surrogate: Surrogate, potential: Potential, width: int) -> Structures:
    """The loop: compositions by the surrogate, their prototypes by the potential's energy at the best of five volumes.

    The `width` best compositions (predicted energy above hull) give the options; those that match a known structure
    before any relaxation are left out. Each call goes to the option with the lowest expected energy above the hull of
    the moment: linear in the unrelaxed and in the predicted one, with weights that the answers correct.
    """
    options = list(_options(episode, surrogate, potential, width))
    asked: list[tuple[FloatArray, float]] = []
    while options:
        clues = _clues(episode, options)
        place = int(np.argmin(clues @ _fitted_weights(asked)))
        option, clue = options.pop(place), clues[place]
        if episode.knows(option.structure):
            continue
        calls = len(episode.calls)
        yield option.structure
        if len(episode.calls) > calls:
            asked.append((clue, _answer(episode.calls[-1])))


def _options(episode: Episode, surrogate: Surrogate, potential: Potential, width: int) -> Iterator[Option]:
    formulas = compositions(episode.system)
    above = episode.hull.energies_above_hull(formulas, surrogate.predict(formulas, episode.hull.scheme).mean)
    used = 0
    for row in np.argsort(above, kind="stable").tolist():
        fitting = [c.structure for c in candidates(formulas[row]) if len(c.structure) <= LARGEST_CELL]
        for structure in fitting:
            best, energy = _best_volume(structure, potential)
            formation = episode.formation_energy(best.composition, energy)
            yield Option(formulas[row], best, formation, float(above[row]))
        used += bool(fitting)
        if used == width:
            return


def _best_volume(structure: Structure, potential: Potential) -> tuple[Structure, float]:
    """The structure at the volume of lowest energy, and that energy, eV/atom; an energy only, nothing is relaxed."""
    scaled = [structure.copy() for _ in VOLUMES]
    for one, factor in zip(scaled, VOLUMES, strict=True):
        one.scale_lattice(structure.volume * factor)
    return min(((one, potential.energy_per_atom(one)) for one in scaled), key=lambda pair: pair[1])


def _clues(episode: Episode, options: Sequence[Option]) -> FloatArray:
    """Unrelaxed and predicted energy above hull (eV/atom), and 1, of n options, shape (n, 3)."""
    floors = {formula: episode.floor(formula) for formula in {option.formula for option in options}}
    unrelaxed = np.clip([option.energy - floors[option.formula] for option in options], *CLIP)
    return np.column_stack([unrelaxed, [option.predicted for option in options], np.ones(len(options))])


def _answer(call: Call) -> float:
    """What a call taught, eV/atom above the hull that it met; a failed one is as bad as one can be."""
    return CLIP[1] if call.energy_above_hull is None else float(np.clip(call.energy_above_hull, *CLIP))


def _fitted_weights(asked: Sequence[tuple[FloatArray, float]]) -> FloatArray:
    """Mode of Bayesian linear regression with normal priors around `PRIOR`, shape (3,)."""
    precision = np.diag(1.0 / np.square(PRIOR_STD))
    clues = np.array([clue for clue, _ in asked]).reshape(-1, 3)
    answers = np.array([answer for _, answer in asked])
    curvature = precision + clues.T @ clues / NOISE**2
    solved: FloatArray = np.linalg.solve(curvature, precision @ PRIOR + clues.T @ answers / NOISE**2)
    return solved


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
