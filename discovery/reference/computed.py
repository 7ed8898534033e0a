"""Total energies of one's own calculations: pymatgen's `ComputedEntry`s in a JSON file, as formation energies.

Energies of scheme `mp2020` (the default) are corrected by pymatgen's `MaterialsProject2020Compatibility`, which takes
GGA and GGA+U calculations with the settings of the Materials Project; corrections that an entry brings are removed
first, so that all are corrected alike. Energies of another scheme (``--scheme NAME``) are taken as they are, with the
corrections that the entries bring. Elemental references are the lowest energies of the elements in the same file:
E_f = (E - sum_i n_i mu_i) / sum_i n_i, mu_i the energy per atom of element i.

Entries are built from plain values: nothing in a file makes Python import code.
"""

from __future__ import annotations

import gzip
import json
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discovery.composition import parse_any, reduced_formula
from discovery.errors import CompositionError, DataError, SchemeError
from discovery.reference.entries import counted, number

if TYPE_CHECKING:
    from pymatgen.entries.computed_entries import ComputedEntry

CORRECTED = "mp2020"
KINDS = ("ComputedEntry", "ComputedStructureEntry")
PARAMETERS = ("run_type", "hubbards", "is_hubbard", "potcar_symbols", "potcar_spec", "software")
WARNINGS = {
    "No structure or oxide_type": "with the kind of its oxygen guessed from the formula",
    "Failed to guess oxidation states": "without oxidation states (only the most electronegative element is corrected)",
}
DATA = ("oxide_type", "sulfide_type", "oxidation_states")


@dataclass(frozen=True)
class FormationEnergies:
    """Compounds of a file, and how their energies came about."""

    scheme: str
    compounds: tuple[tuple[str, float, str], ...]  # reduced formula, eV/atom, id
    elemental_references: Mapping[str, float]  # eV/atom of each element that occurs, in total energies of the scheme
    notes: tuple[str, ...]


def read_computed(path: Path, scheme: str | None = None) -> FormationEnergies:
    """Formation energies of the entries of a JSON file.

    Args:
        path: ``.json`` or ``.json.gz``: a list of dictionaries that `ComputedEntry.as_dict` or
            `ComputedStructureEntry.as_dict` made (also within another dictionary, as its key `entries`).
        scheme: None or `mp2020`: correct them; any other name: take them as they are.

    Raises:
        DataError: an unreadable file, a wrong entry (its place is named), or elements without an entry of their own.
        SchemeError: entries of several kinds of calculations.
    """
    entries = [_entry(path, place, row) for place, row in _rows(path)]
    if not entries:
        raise DataError(f"{path} holds no entries: write a list of ComputedEntry dictionaries")
    correct = scheme in (None, CORRECTED)
    _check_one_kind(path, entries, correct)
    kept, notes = _corrected(path, entries) if correct else (entries, ())
    references = _elemental_references(path, kept)
    compounds = [(_formula(entry), _formation_energy(entry, references), str(entry.entry_id or "")) for entry in kept]
    return FormationEnergies(
        scheme or CORRECTED,
        tuple(row for row, entry in zip(compounds, kept, strict=True) if len(entry.composition) > 1),
        references,
        notes,
    )


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        data = path.read_bytes()
        content = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the name") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is no intact JSON ({error}): write it again") from error
    rows = content.get("entries") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(f"{path} holds no list of entries: write a list of ComputedEntry dictionaries")
    for number_, row in enumerate(rows, 1):
        yield f"entry {number_}", row


def _entry(path: Path, place: str, row: Any) -> ComputedEntry:
    if not isinstance(row, dict) or row.get("@class", KINDS[0]) not in KINDS:
        kind = row.get("@class") if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{path}, {place}: {kind} is no ComputedEntry: leave it out")
    energy = number(row.get("energy"))
    if energy is None:
        raise DataError(f"{path}, {place}: its energy is {row.get('energy')!r}: give the total energy in eV")
    try:
        return _built(row, energy)
    except (KeyError, TypeError, ValueError, AttributeError, CompositionError) as error:
        raise DataError(f"{path}, {place}: no ComputedEntry ({type(error).__name__}: {error}): leave it out") from error


def _built(row: Mapping[str, Any], energy: float) -> ComputedEntry:
    """The entry, from values that need no import of what the file names."""
    from pymatgen.core import Composition, Structure
    from pymatgen.entries.computed_entries import ComputedEntry, ComputedStructureEntry

    parameters = {key: row["parameters"][key] for key in PARAMETERS if key in (row.get("parameters") or {})}
    data = {key: row["data"][key] for key in DATA if (row.get("data") or {}).get(key)}
    name = (row.get("data") or {}).get("material_id") or row.get("entry_id")
    shared = {"parameters": parameters, "data": data, "entry_id": None if name is None else str(name)}
    correction = number(row.get("correction")) or 0.0
    if row.get("structure"):
        structure = Structure.from_dict(_plain_structure(row["structure"])).remove_oxidation_states()
        _check(structure.composition.get_el_amt_dict())
        return ComputedStructureEntry(structure, energy, correction, **shared)
    amounts = {str(symbol): float(amount) for symbol, amount in row["composition"].items()}
    _check(amounts)
    return ComputedEntry(Composition(amounts), energy, correction, **shared)


def _plain_structure(structure: Mapping[str, Any]) -> dict[str, Any]:
    """Without the properties of sites, which may be objects of any class."""
    sites = [{key: site[key] for key in ("species", "abc")} for site in structure["sites"]]
    return {"lattice": structure["lattice"], "sites": sites, "charge": None}


def _check(amounts: Mapping[str, float]) -> None:
    """Integer amounts of known elements, or a CompositionError."""
    parse_any("".join(f"{symbol}{amount:g}" for symbol, amount in amounts.items()))


def _check_one_kind(path: Path, entries: Sequence[ComputedEntry], corrected: bool) -> None:
    """GGA and GGA+U share a scale once they are corrected (here, or by corrections of their own); nothing else does."""
    kinds = Counter(_kind(entry, corrected or bool(entry.correction)) for entry in entries)
    if len(found := sorted(kinds)) > 1:
        counts = ", ".join(f"{kinds[kind]} of {kind}" for kind in found)
        raise SchemeError(f"{path} mixes calculations that have no common energy scale ({counts}): keep one kind")


def _kind(entry: ComputedEntry, corrected: bool) -> str:
    name = str(entry.parameters.get("run_type") or "unknown type").replace("PBE", "GGA")
    return name.removesuffix("+U") if corrected else name


def _corrected(path: Path, entries: Sequence[ComputedEntry]) -> tuple[list[ComputedEntry], tuple[str, ...]]:
    """The entries that MaterialsProject2020Compatibility admits, corrected, and what became of the others."""
    from pymatgen.entries.compatibility import CompatibilityError, MaterialsProject2020Compatibility

    schemes = {checked: MaterialsProject2020Compatibility(check_potcar=checked) for checked in (True, False)}
    kept: list[ComputedEntry] = []
    refused: list[tuple[str, str]] = []  # name, reason
    noted: dict[str, list[str]] = {}
    for entry in entries:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                schemes[_has_potentials(entry)].process_entry(entry, clean=True, on_error="raise")
                kept.append(entry)
            except CompatibilityError as error:
                refused.append((_name(entry), " ".join(str(error).split())[:200]))
        for words in dict.fromkeys(_words(str(warning.message)) for warning in caught):
            noted.setdefault(words, []).append(_name(entry))
    if not kept:
        raise SchemeError(
            f"{path}: MaterialsProject2020Compatibility admits none of the {len(entries)} entries ({refused[0][1]}): "
            "give --scheme NAME to take the energies as they are"
        )
    notes = ["total energies corrected by pymatgen's MaterialsProject2020Compatibility"]
    names = [name for name, _ in refused]
    notes += [counted(names, "refused by it (settings other than the Materials Project's)")] if refused else []
    notes += [counted(warned, words) for words, warned in noted.items()]
    unchecked = [_name(entry) for entry in kept if not _has_potentials(entry)]
    notes += [counted(unchecked, "without pseudopotentials to check")] if unchecked else []
    return kept, tuple(notes)


def _words(warning: str) -> str:
    """What a warning of pymatgen's means for an entry."""
    found = [words for start, words in WARNINGS.items() if warning.startswith(start)]
    return found[0] if found else f"with a warning ({' '.join(warning.split())})"


def _has_potentials(entry: ComputedEntry) -> bool:
    return bool(entry.parameters.get("potcar_spec") or entry.parameters.get("potcar_symbols"))


def _elemental_references(path: Path, entries: Sequence[ComputedEntry]) -> dict[str, float]:
    """Lowest energy per atom of each element that occurs, eV."""
    elements = sorted({element.symbol for entry in entries for element in entry.composition.elements})
    lowest: dict[str, float] = {}
    for entry in entries:
        if len(entry.composition) == 1:
            symbol = entry.composition.elements[0].symbol
            lowest[symbol] = min(lowest.get(symbol, float("inf")), float(entry.energy_per_atom))
    if missing := [symbol for symbol in elements if symbol not in lowest]:
        raise DataError(
            f"{path} holds no entry of the elements {', '.join(missing)}: add one of each, which formation energies "
            "are counted from"
        )
    return {symbol: lowest[symbol] for symbol in elements}


def _formation_energy(entry: ComputedEntry, references: Mapping[str, float]) -> float:
    """eV/atom."""
    amounts = entry.composition.get_el_amt_dict()
    elements = sum(amount * references[symbol] for symbol, amount in amounts.items())
    return float((entry.energy - elements) / entry.composition.num_atoms)


def _formula(entry: ComputedEntry) -> str:
    return reduced_formula(entry.composition)


def _name(entry: ComputedEntry) -> str:
    return str(entry.entry_id or entry.composition.reduced_formula)
