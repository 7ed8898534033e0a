"""What is replayed: what everybody may know, what may be asked, and what is withheld."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from discovery.composition import amounts, reduced_formula
from discovery.errors import DataError
from discovery.formulas import read_formulas
from discovery.hull import Hull
from discovery.labels import lowest_per_formula, read_labels
from discovery.reference.base import Phase
from discovery.surrogates.base import Labels


@dataclass(frozen=True)
class Problem:
    """One replay. Everything but `answers` and `truth` may be seen by those who ask."""

    name: str
    scheme: str
    known: Mapping[str, float]  # reduced formula -> formation energy, eV/atom: to train on, and the hull at the start
    candidates: tuple[str, ...]  # reduced formulas that may be asked for; empty: whatever a generator writes
    answers: Mapping[str, float]  # withheld formation energies, eV/atom, handed out one by one
    truth: Mapping[str, float]  # energies above the complete hull, eV/atom: for the score alone
    compete: bool = False  # the candidates are reported compounds, so each may be a competitor of the others
    free: bool = False  # asking for what the table does not know costs nothing and is listed instead

    @property
    def labels(self) -> Labels:
        """What is known, as labels to train on."""
        return Labels(tuple(self.known), np.array(list(self.known.values())), (self.scheme,) * len(self.known))

    @cached_property
    def digest(self) -> str:
        """Short hash of what may be known: models of equal digests may be shared."""
        text = "\n".join(f"{formula} {energy:.6f}" for formula, energy in sorted(self.known.items()))
        return hashlib.sha256(f"{self.scheme}\n{text}".encode()).hexdigest()[:12]

    def stable(self, tolerance: float) -> int:
        """How many of the candidates (of all withheld ones where none are listed) are stable."""
        pool = self.candidates if self.candidates else tuple(self.truth)
        return sum(self.truth.get(formula, np.inf) <= tolerance for formula in pool)

    def size(self) -> int:
        """How many can be asked for."""
        return len(self.candidates) or len(self.answers)


class Withheld:
    """The one door to the withheld labels; it notes who went through."""

    def __init__(self, answers: Mapping[str, float]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def ask(self, formula: str) -> float | None:
        """The formation energy, eV/atom; None where there is no label."""
        self.asked.append(formula)
        return self._answers.get(formula)


def complete_truth(known: Mapping[str, float], answers: Mapping[str, float], scheme: str) -> dict[str, float]:
    """Energies of the withheld compounds above the hull of all compounds, eV/atom."""
    phases = [Phase(formula, energy) for formula, energy in {**known, **answers}.items()]
    hull = Hull(phases, scheme)
    formulas = list(answers)
    energies = hull.energies_above_hull(formulas, [answers[formula] for formula in formulas])
    return dict(zip(formulas, energies.tolist(), strict=True))


def problem_from_files(candidates: Path, labels: Path, reference: Path, scheme: str | None) -> Problem:
    """The *pool* protocol on anybody's files: the columns are those of `discovery.labels` and `discovery.formulas`.

    Raises:
        DataError: unreadable files, labels of several schemes, or a label that the reference gives away.
    """
    listed = tuple(dict.fromkeys(reduced_formula(formula) for formula in read_formulas(candidates)))
    withheld, own_scheme = _energies(labels, scheme)
    known, known_scheme = _energies(reference, scheme)
    if own_scheme != known_scheme:
        raise DataError(f"{labels} is of scheme {own_scheme}, {reference} of {known_scheme}: use one scheme")
    if shared := sorted(set(withheld) & set(known)):
        raise DataError(f"{reference} gives {len(shared)} withheld labels away, such as {shared[0]}: remove them")
    truth = _given_truth(labels, scheme) or complete_truth(known, withheld, own_scheme)
    return Problem(f"pool {candidates.name}", own_scheme, known, listed, withheld, truth)


def without(table: Mapping[str, float], systems: Sequence[frozenset[str]]) -> dict[str, float]:
    """The rows whose elements contain none of the element sets."""
    return {
        formula: energy
        for formula, energy in table.items()
        if not any(system <= amounts(formula).keys() for system in systems)
    }


def _energies(path: Path, scheme: str | None) -> tuple[dict[str, float], str]:
    table = lowest_per_formula(read_labels(path, scheme))
    schemes = sorted(set(table.scheme))
    if len(schemes) != 1:
        raise DataError(f"{path} holds energies of schemes {', '.join(schemes)}: keep one of them in the file")
    return dict(zip(table.formula, table.formation_energy_per_atom.astype(float), strict=True)), str(schemes[0])


def _given_truth(path: Path, scheme: str | None) -> dict[str, float]:
    table = lowest_per_formula(read_labels(path, scheme))
    if table.energy_above_hull.isna().any():
        return {}
    return dict(zip(table.formula, table.energy_above_hull.astype(float), strict=True))
