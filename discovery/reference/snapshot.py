"""A reference from a file: one's own hull, in one's own scheme; see `docs/reference_data.md`."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from discovery.composition import amounts, reduced_formula
from discovery.errors import CompositionError, DataError, SchemeError
from discovery.labels import lowest_per_formula, read_labels
from discovery.reference.base import Phase, Reference
from discovery.reference.cache import whole_file, write_parquet
from discovery.reference.computed import read_computed
from discovery.reference.entries import Entry, Fetched, content_hash
from discovery.reference.known import ListedFormulas

COLUMNS = ("formula", "formation_energy_per_atom", "scheme", "energy_above_hull", "material_id", "cif")
JSON = (".json", ".json.gz")
_KEY = b"discovery"  # of our metadata in a Parquet file


def load_snapshot(path: Path, scheme: str | None = None) -> Reference:
    """The lowest energy of each compound of a file; known are its own compositions.

    Args:
        path: CSV or Parquet with `formula`, `formation_energy_per_atom` and `scheme`, where known `material_id`; or
            JSON of pymatgen's `ComputedEntry`s, see `computed.read_computed`.
        scheme: of rows that name none.

    Raises:
        DataError: the file cannot be read or a row is wrong.
        SchemeError: rows without a scheme, or of several schemes.
    """
    if path.name.lower().endswith(JSON):
        return _from_computed(path, scheme)
    labels = read_labels(path, scheme)
    schemes = sorted(labels.scheme.unique())
    if len(schemes) > 1:
        raise SchemeError(
            f"{path} mixes the schemes {', '.join(schemes)}: keep those of one, or drop the column and give --scheme"
        )
    lowest = lowest_per_formula(labels)
    rows = zip(lowest.formula, lowest.formation_energy_per_atom, lowest.material_id, strict=True)
    phases = [Phase(formula, float(energy), source) for formula, energy, source in rows if len(amounts(formula)) > 1]
    attribution, notes = _described(path)
    return Reference(
        name=f"snapshot:{path}",
        version=_version(path),
        scheme=schemes[0],
        phases=tuple(phases),
        known=ListedFormulas([phase.formula for phase in phases]),
        elemental_references={},
        false_stable_rates={},
        attribution=attribution,
        notes=notes,
    )


def write_snapshot(path: Path, fetched: Fetched, name: str) -> int:
    """Write the entries that have an energy as a table that `load_snapshot` reads; returns how many.

    Args:
        path: ``.parquet`` or ``.csv``; appears whole or not at all. Parquet keeps source and attribution as metadata.
        fetched: the entries.
        name: of their reference, such as ``mp:Li-Fe-O``.

    Raises:
        DataError: another kind of file, one that cannot be written, or no entry with an energy.
    """
    check_target(path)
    rows = [row for entry in fetched.entries if (row := _row(entry, fetched.scheme)) is not None]
    if not rows:
        raise DataError(
            f"none of the {len(fetched.entries)} entries has a formation energy: nothing to write to {path}"
        )
    if path.suffix.lower() == ".csv":
        _write_csv(path, rows)
    else:
        _write_parquet(path, rows, fetched, name)
    return len(rows)


def check_target(path: Path) -> None:
    """Refuse a file that `write_snapshot` could not write, before anything is fetched for it."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"{path} is neither .csv nor .parquet: choose one of the two")


def _from_computed(path: Path, scheme: str | None) -> Reference:
    computed = read_computed(path, scheme)
    lowest: dict[str, Phase] = {}
    for formula, energy, source in computed.compounds:
        if formula not in lowest or energy < lowest[formula].formation_energy_per_atom:
            lowest[formula] = Phase(formula, energy, source)
    return Reference(
        name=f"snapshot:{path}",
        version=_version(path),
        scheme=computed.scheme,
        phases=tuple(lowest.values()),
        known=ListedFormulas(lowest),
        elemental_references=computed.elemental_references,
        false_stable_rates={},
        notes=computed.notes,
    )


def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _row(entry: Entry, scheme: str) -> dict[str, object] | None:
    """A row of the table; None for an entry without an energy, or one that is no integer composition."""
    if entry.formation_energy_per_atom is None:
        return None
    try:
        formula = reduced_formula(entry.formula)
    except CompositionError:
        return None
    values = (formula, entry.formation_energy_per_atom, scheme, entry.energy_above_hull, entry.material_id, entry.cif)
    return dict(zip(COLUMNS, values, strict=True))


def _write_csv(path: Path, rows: Iterable[dict[str, object]]) -> None:
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: list[dict[str, object]], fetched: Fetched, name: str) -> None:
    import pyarrow as pa

    types = {column: pa.float64() if "energy" in column else pa.string() for column in COLUMNS}
    described = {
        "source": f"{name} {fetched.version}+{content_hash(fetched.entries)}",
        "attribution": fetched.attribution,
        "notes": list(fetched.details),
    }
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))
    write_parquet(path, table.replace_schema_metadata({_KEY: json.dumps(described).encode()}))


def _described(path: Path) -> tuple[str, tuple[str, ...]]:
    """Attribution and notes that `write_snapshot` left in a Parquet file; nothing for any other table."""
    from pyarrow import parquet

    if path.suffix.lower() != ".parquet":
        return "", ()
    metadata = parquet.read_schema(path).metadata or {}
    if _KEY not in metadata:
        return "", ()
    described = json.loads(metadata[_KEY])
    return str(described["attribution"]), (f"fetched from {described['source']}", *map(str, described["notes"]))
