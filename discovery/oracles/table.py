"""The oracle that looks labels up in a table: withheld DFT energies, or a laboratory's results."""

from __future__ import annotations

import math
from pathlib import Path

from discovery.composition import reduced_formula
from discovery.errors import SchemeError
from discovery.labels import lowest_per_formula, read_labels
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement


class TableOracle:
    """Answers from the lowest label of each reduced formula; a formula without one costs its call too.

    Args:
        path: CSV or Parquet file, see `discovery.labels`.
        scheme: of rows that name none.

    Raises:
        DataError: an unreadable file or a bad row.
        SchemeError: rows without a scheme, or of several.
    """

    def __init__(self, path: Path | str, scheme: str | None = None) -> None:
        labels = lowest_per_formula(read_labels(path, scheme, need_formation_energy=False))
        schemes = sorted(set(labels.scheme))
        if len(schemes) != 1:
            raise SchemeError(f"{path} holds energies of schemes {', '.join(schemes)}: keep one of them in the file")
        self._path = str(path)
        self._scheme = str(schemes[0])
        self._labels = {row.formula: row for row in labels.itertuples(index=False)}
        self._gives_hull_energies = bool(labels.energy_above_hull.notna().all())

    @property
    def name(self) -> str:
        """``table:`` and the file's name."""
        return f"table:{Path(self._path).name}"

    @property
    def scheme(self) -> str:
        """The scheme of all labels."""
        return self._scheme

    @property
    def gives_energy_above_hull(self) -> bool:
        """True where each label has an energy above hull: then no hull of the scheme is needed."""
        return self._gives_hull_energies

    def can_measure(self, formula: str) -> bool:  # noqa: ARG002 - the Protocol's signature
        """Always True: whether there is a label is only known by asking."""
        return True

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:  # noqa: ARG002 - a look-up is free
        """The label, or a failure "no label"."""
        label = self._labels.get(reduced_formula(formula))
        if label is None:
            return Failure(formula, self.name, "no label", f"{self._path} has no row for it")
        return Measurement(
            formula=formula,
            oracle=self.name,
            scheme=self._scheme,
            formation_energy_per_atom=_number(label.formation_energy_per_atom),
            energy_above_hull=_number(label.energy_above_hull),
            provenance={"material_id": str(label.material_id)} if label.material_id else {},
        )


def _number(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]
    return None if math.isnan(number) else number
