"""Predict energies: ``python -m discovery.predict --formulas FILE.csv --out FILE.csv``.

Reads a column `formula` and writes `formula, formation_energy_per_atom, formation_energy_std, energy_above_hull,
competing_phases` (energies in eV/atom), row by row in the same order. Energy above hull is signed, against the hull
without the composition itself: the one that the loop's candidates face, so known phases that the reference has no
energy of compete with a predicted one ("*" behind their formula). It stays empty where the reference is of another
scheme than the predictions.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from discovery.composition import parse
from discovery.errors import CompositionError, DataError
from discovery.hull import Hull
from discovery.labels import read_rows
from discovery.options import exit_with
from discovery.reference.competition import CompletedHull, completed_hull
from discovery.reference.loading import load_reference
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import DEFAULT, load_surrogate

COLUMNS = (
    "formula",
    "formation_energy_per_atom",
    "formation_energy_std",
    "energy_above_hull",
    "competing_phases",
)
CHUNK = 4096  # rows held at a time: memory stays flat for any length of the file

Row = tuple[str, str]  # place in the file, formula


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.predict", description=__doc__)
    options.add_argument("--formulas", required=True, type=Path, metavar="FILE", help="CSV or Parquet, column formula")
    options.add_argument("--out", required=True, type=Path, metavar="FILE.csv", help="file to write")
    options.add_argument("--scheme", metavar="NAME", help="energy scheme, such as mp2019 (default: the reference's)")
    options.add_argument("--reference", default="builtin", metavar="NAME", help="builtin or snapshot:FILE")
    options.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR", help="name or folder of a surrogate")
    return options


def main(argv: list[str] | None = None) -> int:
    """Write the predictions, all or nothing."""
    args = parser().parse_args(argv)
    surrogate = load_surrogate(args.surrogate)
    reference = load_reference(args.reference, args.scheme)
    scheme = args.scheme or reference.scheme
    hull = completed_hull(reference, surrogate) if scheme == reference.scheme else None
    rows = predictions(_formulas(args.formulas), surrogate, scheme, hull)
    written = write_rows(args.out, rows)
    print(f"{written} predictions of {surrogate.version} in scheme {scheme} written to {args.out}")
    return 0


def predictions(
    rows: Iterable[Row], surrogate: Surrogate, scheme: str, hull: CompletedHull | None
) -> Iterator[tuple[str, ...]]:
    """Output rows, made chunk by chunk.

    Raises:
        DataError: a formula that is no composition; the message names its place.
    """
    source = iter(rows)
    while chunk := list(islice(source, CHUNK)):
        formulas = [formula for _, formula in chunk]
        try:
            prediction = surrogate.predict(formulas, scheme)
        except CompositionError as error:
            raise _bad_row(chunk, error) from error
        facing = None if hull is None else hull.facing(formulas)
        for formula, mean, std in zip(formulas, prediction.mean, prediction.std, strict=True):
            yield (formula, f"{mean:.6f}", f"{std:.6f}", *_above_hull(facing, formula, float(mean)))


def write_rows(path: Path, rows: Iterable[tuple[str, ...]]) -> int:
    """Write a CSV beside `path` and move it there when it is complete; returns the number of rows."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            count = 0
            for row in rows:
                writer.writerow(row)
                count += 1
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): choose another --out") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _formulas(path: Path) -> Iterator[Row]:
    count = 0
    for place, row in read_rows(path, required=("formula",)):
        count += 1
        yield f"{path}, {place}", str(row["formula"] or "").strip()
    if not count:
        raise DataError(f"{path} has no rows: give at least one formula")


def _above_hull(hull: Hull | None, formula: str, energy: float) -> tuple[str, str]:
    if hull is None:
        return "", ""
    point = hull.energy_above_hull(formula, energy)
    return f"{point.energy_above_hull:.6f}", " ".join(point.competing_phases)


def _bad_row(chunk: list[Row], error: CompositionError) -> DataError:
    """The error of the first bad formula of a chunk, with its place."""
    for place, formula in chunk:
        try:
            parse(formula)
        except CompositionError as reason:
            return DataError(f"{place}: {reason}")
    return DataError(str(error))


if __name__ == "__main__":
    exit_with(main)
