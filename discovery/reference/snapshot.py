"""A reference from a file of labels: one's own hull, in one's own scheme."""

from __future__ import annotations

import hashlib
from pathlib import Path

from discovery.errors import SchemeError
from discovery.labels import lowest_per_formula, read_labels
from discovery.reference.base import Phase, Reference
from discovery.reference.known import ListedFormulas


def load_snapshot(path: Path, scheme: str | None = None) -> Reference:
    """The lowest energy of each composition of a labels table; known are its own compositions.

    Args:
        path: CSV or Parquet with `formula`, `formation_energy_per_atom` and `scheme`, where known `material_id`.
        scheme: of rows that name none.

    Raises:
        DataError: the file cannot be read or a row is wrong.
        SchemeError: rows without a scheme, or of several schemes.
    """
    labels = read_labels(path, scheme)
    schemes = sorted(labels.scheme.unique())
    if len(schemes) > 1:
        raise SchemeError(
            f"{path} mixes the schemes {', '.join(schemes)}: keep those of one, or drop the column and give --scheme"
        )
    lowest = lowest_per_formula(labels)
    rows = zip(lowest.formula, lowest.formation_energy_per_atom, lowest.material_id, strict=True)
    return Reference(
        name=f"snapshot:{path}",
        version=hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12],
        scheme=schemes[0],
        phases=tuple(Phase(formula, float(energy), source) for formula, energy, source in rows),
        known=ListedFormulas(lowest.formula),
        elemental_references={},
        false_stable_rates={},
    )
