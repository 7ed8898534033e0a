"""Which part of a table of DFT labels is withheld: by time, by chemical system, by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.likelihood_ranking import balanced_compositions
from benchmarks.replay.problem import Problem
from discovery.composition import SYMBOLS, amounts, canonical_key, reduced_formula
from discovery.errors import DataError

SCHEME = "mp2019"
BEFORE = 1_050_000  # MP id: about the end of 2017
COLUMNS = ["reduced_formula", "formation_energy_per_atom", "decomposition_energy_per_atom", "min_mp_number"]
System = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """DFT labels by reduced formula."""

    energies: Mapping[str, float]  # formation energy, eV/atom
    above_hull: Mapping[str, float]  # against the complete hull, eV/atom
    number: Mapping[str, float]  # smallest MP id; NaN where unknown

    def part(self, formulas: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Formation energies and energies above hull of some formulas."""
        return {f: self.energies[f] for f in formulas}, {f: self.above_hull[f] for f in formulas}


def load_table(folder: Path) -> Table:
    """The main table of the data folder.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / "mp_bartel2020.parquet"
    try:
        rows = pd.read_parquet(path, columns=COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): give the data folder with --data") from error
    by_formula = rows.set_index("reduced_formula")
    return Table(*(by_formula[name].astype(float).to_dict() for name in COLUMNS[1:]))


def time_problem(table: Table, limit: int | None, seed: int, *, free: bool = False) -> Problem:
    """Known before an MP id, the rest withheld; `limit` keeps a random part of the candidates.

    With `free` nothing is listed: a generator has to think of the compounds itself.
    """
    known = {f: e for f, e in table.energies.items() if table.number[f] < BEFORE}
    later = [f for f in table.energies if f not in known]
    if limit is not None and limit < len(later) and not free:
        order = np.random.default_rng(seed).permutation(len(later))
        later = [later[i] for i in sorted(order[:limit])]
    answers, truth = table.part(later)
    listed = () if free else tuple(later)
    return Problem("free" if free else "time", SCHEME, known, listed, answers, truth, compete=not free, free=free)


def hidden_problems(table: Table, families: Sequence[System], hiding: Hiding) -> tuple[list[Problem], list[Problem]]:
    """The *family* and the *systems* problems. All of them hide the same compounds, so that one training serves all.

    A family: all compounds with its elements are withheld, and hidden among all balanced compositions of the family
    with one more element, and with the anion and one more. Systems: ternary and quaternary ones, drawn from those with
    two or more stable compounds that the enumeration reaches; the candidates are their balanced compositions.
    """
    drawn = _drawn_systems(table, hiding)
    systems, chosen = {system for system, _ in drawn}, [frozenset(family) for family in families]

    def hides(elements: frozenset[str]) -> bool:
        return tuple(sorted(elements)) in systems or any(family <= elements for family in chosen)

    known, withheld = _split(table, hides)
    of_families = [_family_problem(table, family, known, withheld, hiding) for family in families]
    return of_families, [_system_problem(table, system, listed, known, withheld) for system, listed in drawn]


@dataclass(frozen=True)
class Hiding:
    """What *family* and *systems* list."""

    systems: int = 10  # of each size
    max_atoms: int = 20  # per formula unit
    anion: str | None = "O"  # families: also the systems with this element
    seed: int = 0  # of the drawn systems


def _family_problem(
    table: Table, family: System, known: dict[str, float], withheld: Sequence[str], hiding: Hiding
) -> Problem:
    chosen = frozenset(family)
    listed = tuple(dict.fromkeys(_enumerated(_family_systems(chosen, hiding.anion), hiding.max_atoms)))
    answers, truth = table.part([formula for formula in withheld if chosen <= amounts(formula).keys()])
    if not any(truth.get(formula, 1.0) <= 0 for formula in listed):
        raise DataError(f"no stable compound of {'-'.join(family)} is in the list: choose another family")
    return Problem(f"family {'-'.join(family)}", SCHEME, known, listed, answers, truth)


def _drawn_systems(table: Table, hiding: Hiding) -> list[tuple[System, tuple[str, ...]]]:
    groups: dict[System, list[str]] = {}
    for formula in table.energies:
        groups.setdefault(tuple(sorted(amounts(formula))), []).append(formula)
    rng = np.random.default_rng(hiding.seed)
    chosen: list[tuple[System, tuple[str, ...]]] = []
    for size in (3, 4):
        fitting = _with_stable([system for system in sorted(groups) if len(system) == size], groups, table)
        order = rng.permutation(len(fitting))
        chosen += list(_first_reached((fitting[i] for i in order), table, hiding.systems, hiding.max_atoms))
    return chosen


def _system_problem(
    table: Table, system: System, listed: tuple[str, ...], known: dict[str, float], withheld: Sequence[str]
) -> Problem:
    own = [formula for formula in withheld if tuple(sorted(amounts(formula))) == system]
    return Problem(f"system {'-'.join(system)}", SCHEME, known, listed, *table.part(own))


def _with_stable(systems: Sequence[System], groups: Mapping[System, list[str]], table: Table) -> list[System]:
    return [s for s in systems if sum(table.above_hull[f] <= 0 for f in groups[s]) >= 2]


def _first_reached(
    systems: Iterator[System], table: Table, number: int, max_atoms: int
) -> Iterator[tuple[System, tuple[str, ...]]]:
    found = 0
    for system in systems:
        listed = tuple(dict.fromkeys(_enumerated([system], max_atoms)))
        if sum(table.above_hull.get(formula, 1.0) <= 0 for formula in listed) >= 2:
            found += 1
            yield system, listed
        if found == number:
            return


def _split(table: Table, hides: Callable[[frozenset[str]], bool]) -> tuple[dict[str, float], list[str]]:
    """What stays known, and the formulas that a rule on the set of elements hides."""
    withheld = [formula for formula in table.energies if hides(frozenset(amounts(formula)))]
    gone = set(withheld)
    return {f: e for f, e in table.energies.items() if f not in gone}, withheld


def _family_systems(family: frozenset[str], anion: str | None) -> list[System]:
    systems: dict[System, None] = {}
    for other in SYMBOLS:
        for extra in ({other}, {other, anion} if anion else {other}):
            system = tuple(sorted(family | extra))
            if len(system) > len(family):
                systems[system] = None
    return list(systems)


def _enumerated(systems: Sequence[System], max_atoms: int) -> Iterator[str]:
    for system in systems:
        for counts in balanced_compositions(system, max_atoms, "icsd24"):
            yield reduced_formula(canonical_key(counts))
