"""Reading lists of formulas from txt, csv and parquet files, with the bad row named; splitting them by hash."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from discovery.composition import amounts, canonical_key, parse, reduced_formula
from discovery.errors import CompositionError, DataError

COLUMNS: tuple[str, ...] = ("formula", "reduced_formula")  # looked for in this order
DATASET = "dataset.json"  # card of a folder that discovery.datasets wrote
Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class FormulaRow:
    """A formula as the file writes it."""

    line: int  # line of a text file (counted from 1, the header is line 1), row of a Parquet file (from 1)
    formula: str
    value: object = None  # of the column asked for, as the file holds it; None where none was asked for


def read_formulas(path: Path, where: str | None = None) -> list[str]:
    """All formulas of a file, each checked to be an integer composition of two or more elements.

    Args:
        path: ``.parquet``, ``.csv`` (column `formula` or `reduced_formula`), or text with one formula per line.
        where: a column whose value must be true for a row to be kept.

    Raises:
        DataError: the file cannot be read, lacks the columns, is empty, or a row is no composition (its line is named).
    """
    rows = read_rows(path, where)
    for row in rows:
        try:
            parse(row.formula)
        except CompositionError as error:
            raise DataError(f"{path}, line {row.line}: {error}") from error
    if not rows:
        raise DataError(f"{path} holds no formulas: write one per line, or a column named formula")
    return [row.formula for row in rows]


def read_rows(path: Path, where: str | None = None, value: str | None = None) -> list[FormulaRow]:
    """Rows of a file without a look at the chemistry; `where` as in `read_formulas`, `value` a column to read too."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: give a txt, csv or parquet file of formulas")
    if path.suffix == ".parquet":
        return _read_parquet(path, where, value)
    if path.suffix == ".csv":
        return _read_csv(path, where, value)
    if where is not None:
        raise DataError(f"{path} has no columns, so rows cannot be selected by {where!r}: leave --where out")
    if value is not None:
        raise DataError(f"{path} has no columns, so it has no {value!r}: give a csv or parquet file")
    return _read_text(path)


def read_distinct(
    path: Path, where: str | None = None, max_atoms: int = 30, max_elements: int = 8
) -> tuple[list[str], int]:
    """Distinct reduced formulas of a file that `fits` admits, in their first order, and the number of its rows.

    Raises:
        DataError: the file cannot be read, or a row is no composition (its line is named).
    """
    rows = read_rows(path, where)
    formulas: dict[str, None] = {}
    for row in rows:
        try:
            if fits(row.formula, max_atoms, max_elements):
                formulas.setdefault(reduced_formula(row.formula))
        except CompositionError as error:
            raise DataError(f"{path}, line {row.line}: {error}") from error
    return list(formulas), len(rows)


def read_parts(folder: Path) -> dict[Split, list[str]]:
    """Train, validation and test part of a folder that `python -m discovery.datasets` wrote.

    Raises:
        DataError: a part is missing, empty, or holds a row that is no composition.
    """
    parts: tuple[Split, ...] = ("train", "valid", "test")
    return {part: read_formulas(folder / f"{part}.csv") for part in parts}


def split_of(formula: str, seed: int, valid_share: float = 0.05, test_share: float = 0.05) -> Split:
    """Part of the data that a composition belongs to: a function of its reduced formula and the seed alone.

    The same composition falls into the same part in every list, so a test part stays unseen when lists are mixed.
    """
    return split_of_key(canonical_key(amounts(formula)), seed, valid_share, test_share)


def split_of_key(key: str, seed: int, valid_share: float, test_share: float) -> Split:
    """`split_of` for a `composition.canonical_key`, which spares parsing where it is at hand."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    fraction = int.from_bytes(digest, "little") / 2**64
    if fraction < test_share:
        return "test"
    return "valid" if fraction < test_share + valid_share else "train"


def fits(formula: str, max_atoms: int = 30, max_elements: int = 8) -> bool:
    """True for a compound of 2 to `max_elements` elements and at most `max_atoms` atoms per reduced formula."""
    counts = amounts(formula)
    return 2 <= len(counts) <= max_elements and sum(counts.values()) <= max_atoms


def _read_text(path: Path) -> list[FormulaRow]:
    lines = _decoded(path).splitlines()
    return [FormulaRow(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]


def _read_csv(path: Path, where: str | None, value: str | None) -> list[FormulaRow]:
    reader = csv.reader(_decoded(path).splitlines(), strict=True)
    rows: list[FormulaRow] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        column, condition, wanted = _columns(path, header, where, value)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                found = f"{len(cells)} values, but the header names {len(header)}"
                raise DataError(f"{path}, line {reader.line_num}: {found}: mend the row")
            if condition is None or _is_true(cells[condition]):
                held = None if wanted is None else cells[wanted]
                rows.append(FormulaRow(reader.line_num, cells[column].strip(), held))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}: mend the row") from error
    return rows


def _read_parquet(path: Path, where: str | None, value: str | None) -> list[FormulaRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        names = list(pyarrow.parquet.read_schema(path).names)
        found = [None if index is None else names[index] for index in _columns(path, names, where, value)]
        table = pyarrow.parquet.read_table(path, columns=sorted({name for name in found if name is not None}))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file ({error}): write it again") from error

    def cells(name: str | None, otherwise: object) -> list[object]:
        return [otherwise] * table.num_rows if name is None else list(table.column(name).to_pylist())

    lists = zip(cells(found[0], None), cells(found[1], True), cells(found[2], None), strict=True)
    return [FormulaRow(row, str(formula), held) for row, (formula, kept, held) in enumerate(lists, 1) if kept]


def _columns(
    path: Path, header: Sequence[str], where: str | None, value: str | None
) -> tuple[int, int | None, int | None]:
    found = [name for name in COLUMNS if name in header]
    if not found:
        raise DataError(f"{path} has no column named formula (it has {list(header)}): rename the right one")
    if where is not None and where not in header:
        raise DataError(f"{path} has no column {where!r} to select rows by: choose one of {list(header)}")
    if value is not None and value not in header:
        raise DataError(f"{path} has no column {value!r}: choose one of {list(header)}")
    condition = None if where is None else header.index(where)
    return header.index(found[0]), condition, None if value is None else header.index(value)


def _is_true(text: str) -> bool:
    return text.strip().lower() in {"true", "1", "yes"}


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8") from error
