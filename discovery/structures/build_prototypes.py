"""Builds the prototype library from the table of structure types: python -m discovery.structures.build_prototypes.

Each type is set up from its literature data, unknown coordinates are searched for with the potential, cell and free
coordinates are relaxed with the symmetry kept, and the result is written in spglib's standard setting.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from discovery.composition import reduced_formula
from discovery.errors import DataError
from discovery.structures.ions import charges
from discovery.structures.literature import LiteratureEntry, read_literature
from discovery.structures.potentials import Potential, load_potential, to_atoms
from discovery.structures.prototypes import OWN_LIBRARY, Cell, cell_of, cell_structure
from discovery.structures.relaxation import RelaxationError, RelaxationLimits, relax, shortest_distance
from discovery.structures.symmetry import group_type, hall_number, standard_cell

FORCE_TOLERANCE = 0.03  # eV/A
MAX_STEPS = 150
TRIALS = 60  # random choices of the unknown coordinates, single points
MAX_DRAWS = 20_000  # of coordinates, most of which put atoms on top of each other
RELAXED_TRIALS = 4  # of these, the lowest are relaxed
SYMMETRY_TOLERANCE = 0.01  # A
DRAFT = "literature values"  # the note of an entry that was not relaxed yet


def main(arguments: list[str] | None = None) -> int:
    """Build all entries, or those named on the command line, and write the library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OWN_LIBRARY, help="file to write (default: the shipped one)")
    parser.add_argument("--draft", action="store_true", help="add missing types without relaxing them")
    parser.add_argument("names", nargs="*", help="structure types to build anew; the others are kept")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")  # pymatgen and spglib warn about each odd cell
    built = {} if not options.out.exists() else {entry["name"]: entry for entry in json.loads(options.out.read_text())}
    if options.draft:
        drafts = [entry for entry in read_literature() if entry.name not in built and not entry.unknowns]
        _write(
            options.out, built | {entry.name: _record(entry, _standard(entry.structure({})), DRAFT) for entry in drafts}
        )
        return 0
    potential = load_potential("chgnet")
    for entry in read_literature():
        if entry.name in options.names or built.get(entry.name, {"note": DRAFT})["note"] == DRAFT:
            try:
                built[entry.name] = build(entry, potential)
            except DataError as error:
                print(error, flush=True)
            _write(options.out, built)
    return 0


def build(entry: LiteratureEntry, potential: Potential) -> dict[str, object]:
    """The library's record of one structure type.

    Raises:
        DataError: its coordinates were searched for, and none of the relaxed ones has its space group.
    """
    start = time.monotonic()
    wanted = group_type(hall_number(entry.space_group)).number
    results = [_relaxed(trial, potential) for trial in _starts(entry, potential)]
    cells = [(energy, _standard(structure)) for structure, energy in results if math.isfinite(energy)]
    right = [pair for pair in cells if group_type(pair[1].hall_number).number == wanted]
    if right:
        cell, note = min(right, key=lambda pair: pair[0])[1], "relaxed"
    elif entry.unknowns:
        raise DataError(f"{entry.name}: the search found no structure of {entry.space_group}; give coordinates")
    else:  # the potential has no such distortion here, or ran away: keep what the literature gives
        cell, note = _standard(entry.structure({})), "literature values: relaxed, it was another type"
    print(f"{entry.name}: {note}, {time.monotonic() - start:.0f} s", flush=True)
    return _record(entry, cell, note)


def _record(entry: LiteratureEntry, cell: Cell, note: str) -> dict[str, object]:
    formula = reduced_formula(entry.compound)
    head = {"name": entry.name, "compound": formula, "charges": charges(formula), "source": entry.source, "note": note}
    return {**head, **cell.as_record()}


def _starts(entry: LiteratureEntry, potential: Potential) -> list[Structure]:
    """The literature's structure, or the lowest of random choices of its unknown coordinates."""
    if not entry.unknowns:
        return [entry.structure({})]
    rng = np.random.default_rng(0)
    trials: list[tuple[float, int, Structure]] = []
    for _ in range(MAX_DRAWS):
        structure = entry.structure({name: float(rng.random()) for name in entry.unknowns})
        right = structure.composition.reduced_formula == reduced_formula(entry.compound)
        if right and shortest_distance(to_atoms(structure)) > 1.4:
            trials.append((potential.energy_per_atom(structure.get_primitive_structure()), len(trials), structure))
        if len(trials) == TRIALS:
            break
    if not trials:
        raise DataError(
            f"{entry.name}: no choice of {entry.unknowns} keeps atoms apart; give some of them in the table"
        )
    return [structure for *_, structure in sorted(trials)[:RELAXED_TRIALS]]


def _relaxed(structure: Structure, potential: Potential) -> tuple[Structure, float]:
    """Primitive cell, relaxed within its symmetry, and its energy in eV/atom (infinite where it ran away)."""
    start = structure.get_primitive_structure()
    limits = RelaxationLimits(MAX_STEPS, FORCE_TOLERANCE)
    try:
        relaxed = relax(start, potential, limits, keep_symmetry=SYMMETRY_TOLERANCE)
    except RelaxationError as error:
        print(f"{structure.composition.reduced_formula}: {error.reason}, {error.detail}", flush=True)
        return start, math.inf
    return relaxed.structure, relaxed.energy_per_atom


def _standard(structure: Structure) -> Cell:
    """The conventional cell in spglib's standard setting, one site for each orbit."""
    cell = cell_of(standard_cell(structure, SYMMETRY_TOLERANCE), SYMMETRY_TOLERANCE)
    if cell_structure(cell).composition.reduced_formula != structure.composition.reduced_formula:
        raise RuntimeError(f"the orbits of {structure.composition.reduced_formula} do not give its formula back")
    return cell


def _write(path: Path, built: dict[str, dict[str, object]]) -> None:
    order = [entry.name for entry in read_literature()]
    records = [built[name] for name in order if name in built]
    lines = ",\n".join(json.dumps(record) for record in records)
    partial = path.with_suffix(".partial")
    partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    partial.rename(path)


if __name__ == "__main__":
    raise SystemExit(main())
