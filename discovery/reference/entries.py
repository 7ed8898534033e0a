"""Entries of a database as they were fetched, and the reference that they make."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from discovery.composition import amounts, reduced_formula
from discovery.errors import CompositionError
from discovery.reference.base import Phase, Reference
from discovery.reference.known import ListedFormulas

NAMED = 5  # ids that a note lists


@dataclass(frozen=True)
class Entry:
    """One entry of a database: a compound in one crystal structure."""

    material_id: str
    formula: str  # as the database writes it
    chemical_system: str  # elements in alphabetical order, joined by "-"
    formation_energy_per_atom: float | None = None  # eV/atom; None where the database has none
    energy_above_hull: float | None = None  # eV/atom, as the database gives it (most of them clip it at 0)
    cif: str | None = None  # where structures were asked for


COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True)
class Fetched:
    """Entries of one version of a database, in order of their ids."""

    version: str  # of the database
    scheme: str
    attribution: str  # licence and citation
    entries: tuple[Entry, ...]
    details: tuple[str, ...] = ()  # what else a reader has to know: thermo type, day, ...


def entry_from(values: Mapping[str, object]) -> Entry:
    """An entry from the row of a table; NaN and None are both unknown."""
    known = {name: values.get(name) for name in COLUMNS}
    return Entry(**{name: None if _unknown(value) else value for name, value in known.items()})  # type: ignore[arg-type]


def table_of(entries: Iterable[Entry]) -> pd.DataFrame:
    """Entries as a table with the columns of `Entry`."""
    kinds = {"formation_energy_per_atom": "float64", "energy_above_hull": "float64"}
    return pd.DataFrame([asdict(entry) for entry in entries], columns=list(COLUMNS)).astype(kinds)


def number(value: object) -> float | None:
    """A finite number, None for anything else that an answer may hold in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def reference_of(name: str, fetched: Fetched) -> Reference:
    """The lowest energy of each compound; compounds without an energy are known, but no phases.

    Args:
        name: what `--reference` was given.
        fetched: the entries, of one scheme.
    """
    compounds, odd = _compounds(fetched.entries)
    lowest: dict[str, Phase] = {}
    for formula, entry in compounds:
        energy = entry.formation_energy_per_atom
        if energy is not None and (formula not in lowest or energy < lowest[formula].formation_energy_per_atom):
            lowest[formula] = Phase(formula, energy, entry.material_id)
    without = [entry.material_id for _, entry in compounds if entry.formation_energy_per_atom is None]
    notes = [*fetched.details, f"{len(fetched.entries)} entries, {len(compounds)} of them compounds"]
    notes += [counted(without, "without a formation energy (known, but no competing phases)")] if without else []
    notes += [counted(odd, "left out: their formulas are no integer compositions")] if odd else []
    return Reference(
        name=name,
        version=f"{fetched.version}+{content_hash(fetched.entries)}",
        scheme=fetched.scheme,
        phases=tuple(lowest.values()),
        known=ListedFormulas([formula for formula, _ in compounds]),
        elemental_references={},
        false_stable_rates={},
        attribution=fetched.attribution,
        notes=tuple(notes),
    )


def content_hash(entries: Iterable[Entry]) -> str:
    """First 12 hexadecimal digits of the SHA-256 of ids, formulas and formation energies."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.material_id} {entry.formula} {entry.formation_energy_per_atom}\n".encode())
    return digest.hexdigest()[:12]


def counted(ids: Sequence[str], what: str) -> str:
    """How many, and which ones: ``3 entries without an energy: mp-1, mp-2, mp-3``."""
    names = ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
    return f"{len(ids)} {'entry' if len(ids) == 1 else 'entries'} {what}: {names}"


def _compounds(entries: Iterable[Entry]) -> tuple[list[tuple[str, Entry]], list[str]]:
    """Compounds with their reduced formulas, and the ids of entries that are no integer compositions."""
    compounds, odd = [], []
    for entry in entries:
        try:
            formula = reduced_formula(entry.formula)
        except CompositionError:
            odd.append(entry.material_id)
            continue
        if len(amounts(formula)) > 1:  # elements compete at 0 anyway
            compounds.append((formula, entry))
    return compounds, odd


def _unknown(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
