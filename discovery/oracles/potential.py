"""The oracle that relaxes prototype structures with an interatomic potential."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping

from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter

from discovery.composition import amounts
from discovery.oracles.base import Budget
from discovery.oracles.elements import element_energy
from discovery.records import Failure, Measurement
from discovery.structures.assignment import has_prototype
from discovery.structures.candidates import candidates
from discovery.structures.potentials import CHGNET_SCHEME, Potential, load_potential
from discovery.structures.search import Found, SearchError, SearchLimits, find_structure, screen

UNRELAXED = "unrelaxed"  # the rung of `discovery.fidelity` that relaxes nothing
SYMMETRY_TOLERANCE = 0.05  # A, in the CIF


class PotentialOracle:
    """Formation energies from a potential: total energy of the lowest relaxed prototype, minus the elements.

    Args:
        name: ``chgnet``, loaded at the first call, or the name of `potential`.
        references: eV/atom of each element in the potential's total energies; None: computed from elemental crystals
            when first needed (see `discovery.oracles.elements`).
        potential: a potential that was loaded already.
    """

    def __init__(self, name: str, references: Mapping[str, float] | None, potential: Potential | None = None) -> None:
        self._name = name
        self._references = None if references is None else dict(references)
        self._potential = potential
        self._computed: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The potential's name."""
        return self._name

    @property
    def scheme(self) -> str:
        """The scheme of the energies; known without loading the potential."""
        return CHGNET_SCHEME if self._potential is None else self._potential.scheme

    def can_measure(self, formula: str) -> bool:
        """True where a prototype fits and all elements have a reference."""
        known = self._references
        return has_prototype(formula) and (known is None or all(symbol in known for symbol in amounts(formula)))

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """Formation energy in eV/atom of the lowest structure that was found, with its CIF."""
        start = time.monotonic()
        try:
            elements = self._elements(formula)
            if budget.rung == UNRELAXED:
                return self._unrelaxed(formula, elements, start)
            found = self._search(formula, budget)
        except SearchError as error:
            return Failure(formula, self.name, error.reason, error.detail, time.monotonic() - start)
        relaxed = found.relaxed
        energy = relaxed.energy_per_atom - _mean(elements, amounts(formula))
        return Measurement(
            formula=formula,
            oracle=self.name,
            scheme=self.scheme,
            formation_energy_per_atom=energy,
            cif=cif_of(relaxed.structure),
            prototype=found.prototype,
            seconds=time.monotonic() - start,
            provenance=self._provenance(found),
        )

    def _unrelaxed(self, formula: str, elements: Mapping[str, float], start: float) -> Measurement:
        """The lowest prototype at its best volume, not relaxed: a tenth of the time of a relaxation."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pymatgen|spglib|ase")
            starts = screen(candidates(formula), self._loaded())
        if not starts:
            raise SearchError("no prototype")
        energy = starts[0].energy_per_atom - _mean(elements, amounts(formula))
        facts = {"potential": self._loaded().name, "rung": UNRELAXED, **self._loaded().versions}
        return Measurement(
            formula, self.name, self.scheme, energy, prototype=starts[0].prototype,
            seconds=time.monotonic() - start, provenance=facts,
        )  # fmt: skip

    def _search(self, formula: str, budget: Budget) -> Found:
        limits = SearchLimits(budget.max_relaxations, budget.max_steps, budget.max_seconds)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pymatgen|spglib|ase")  # about odd cells, judged by energy here
            return find_structure(formula, self._loaded(), limits)

    def _elements(self, formula: str) -> dict[str, float]:
        """Reference energies of a composition's elements, eV/atom."""
        symbols = amounts(formula)
        if self._references is not None:
            missing = sorted(set(symbols) - set(self._references))
            if missing:
                raise SearchError(f"no elemental reference: {', '.join(missing)}")
            return {symbol: self._references[symbol] for symbol in symbols}
        for symbol in symbols:
            if symbol not in self._computed:
                self._computed[symbol] = element_energy(symbol, self._loaded())
        return {symbol: self._computed[symbol] for symbol in symbols}

    def _loaded(self) -> Potential:
        if self._potential is None:
            self._potential = load_potential(self._name)
        return self._potential

    def _provenance(self, found: Found) -> dict[str, str]:
        relaxed = found.relaxed
        facts = {
            "potential": self._loaded().name,
            "converged": str(relaxed.converged).lower(),
            "largest_force": f"{relaxed.largest_force:.3f}",  # eV/A
            "steps": str(found.steps),
            "candidates": str(found.candidates),
            "relaxations": str(found.relaxations),
            "elemental_references": "given" if self._references is not None else "computed",
        }
        return facts | dict(self._loaded().versions)


def cif_of(structure: Structure) -> str:
    """CIF text, with the symmetry where it can be found; P1 where it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen announces changes of its CIF writer
        try:
            return str(CifWriter(structure, symprec=SYMMETRY_TOLERANCE))
        except (ValueError, TypeError, AttributeError):  # spglib finds no symmetry in distorted or huge cells
            return str(CifWriter(structure))


def _mean(by_element: Mapping[str, float], counts: Mapping[str, int]) -> float:
    return sum(by_element[symbol] * count for symbol, count in counts.items()) / sum(counts.values())
