"""Tables of known energies: the files behind `table:FILE`, `snapshot:FILE` and training on one's own labels.

CSV or Parquet with the columns `formula`, `formation_energy_per_atom` (eV/atom, elements at 0) and `scheme` (or the
option `--scheme`), and where known `energy_above_hull` (eV/atom) and `material_id`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from discovery.composition import reduced_formula
from discovery.errors import CompositionError, DataError, SchemeError

COLUMNS = ("formula", "formation_energy_per_atom", "scheme", "energy_above_hull", "material_id")
MAX_ABS_ENERGY = 100.0  # eV/atom; beyond it a number is a total energy of a cell or a typing error


def read_labels(path: Path | str, scheme: str | None = None, *, need_formation_energy: bool = True) -> pd.DataFrame:
    """Validated labels in file order; polymorphs stay (see `lowest_per_formula`), further columns are dropped.

    Args:
        path: a `.csv` or `.parquet` file.
        scheme: energy scheme of rows that name none; a row that names another one keeps its own.
        need_formation_energy: False admits rows that give only `energy_above_hull` (their formation energy is NaN).

    Returns:
        Columns `formula` (reduced), `formation_energy_per_atom` (float), `scheme`, `energy_above_hull` (float, NaN
        where unknown) and `material_id` ("" where unknown).

    Raises:
        DataError: an unreadable file, a missing column or a bad row; the message names the line.
        SchemeError: a row without a scheme.
    """
    path = Path(path)
    rows = []
    for place, row in read_rows(path, required=("formula",)):
        try:
            rows.append(_label(row, scheme, need_formation_energy))
        except (CompositionError, DataError) as error:
            kind = SchemeError if isinstance(error, SchemeError) else DataError
            raise kind(f"{path}, {place}: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows: give at least one formula with its energy")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({name: float for name in COLUMNS if "energy" in name})


def lowest_per_formula(labels: pd.DataFrame) -> pd.DataFrame:
    """The row of lowest formation energy (the ground state) for each formula and scheme, in order of appearance."""
    order = labels.sort_values("formation_energy_per_atom", kind="stable").drop_duplicates(["formula", "scheme"]).index
    return labels.loc[order.sort_values()].reset_index(drop=True)


def read_rows(path: Path | str, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of a table with their place in the file ("line 7" of a CSV, "row 7" of a Parquet file), one at a time.

    Raises:
        DataError: an unreadable file, one of another kind, a missing column, or a row of the wrong length.
    """
    path = Path(path)
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is neither .csv nor .parquet: convert it to one of the two")
    try:
        yield from readers[path.suffix.lower()](path, required)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the name") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): give a UTF-8 CSV with a header, or Parquet") from error


def _csv_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, object]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        _check_columns(path, header, required)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # blank lines are harmless, often the last one
            if len(cells) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} fields instead of {len(header)}: mend it"
                )
            yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))


def _parquet_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, object]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            _check_columns(path, names, required)
            wanted = [name for name in names if name in COLUMNS or name in required]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is no intact Parquet file ({str(error).splitlines()[0]}): write it again") from error


def _check_columns(path: Path, names: list[str], required: tuple[str, ...]) -> None:
    if missing := [name for name in required if name not in names]:
        raise DataError(f"{path} has no column {missing[0]!r} (it has {names}): add it to the header")


def _label(row: Mapping[str, object], scheme: str | None, need_energy: bool) -> tuple[object, ...]:
    formula = _text(row.get("formula"))
    energy = _number(row, "formation_energy_per_atom")
    above_hull = _number(row, "energy_above_hull")
    if math.isnan(energy) and (need_energy or math.isnan(above_hull)):
        raise DataError(f"{formula!r} has no formation_energy_per_atom: fill it in or remove the row")
    own_scheme = _text(row.get("scheme")) or scheme
    if not own_scheme:
        raise SchemeError(f"{formula!r} has an energy without a scheme: add a column 'scheme' or give --scheme NAME")
    return reduced_formula(formula), energy, own_scheme, above_hull, _text(row.get("material_id"))


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def _number(row: Mapping[str, object], column: str) -> float:
    """The number in a cell, eV/atom; NaN where it is empty."""
    text = _text(row.get(column))
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError as error:
        raise DataError(f"{column} is {text!r}: give a number in eV/atom") from error
    if not abs(number) <= MAX_ABS_ENERGY:
        raise DataError(f"{column} is {text}: give eV per atom, not the energy of a whole cell")
    return number
