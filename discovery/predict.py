"""Predict energies: ``python -m discovery.predict --formulas FILE.csv --out FILE.csv``.

Reads a column `formula` and writes `formula, formation_energy_per_atom, formation_energy_std, energy_above_hull,
competing_phases` (energies in eV/atom), row by row in the same order. Energy above hull is signed, against the hull
without the composition itself: the one that the loop's candidates face, so known phases that the reference has no
energy of compete with a predicted one ("*" behind their formula). It stays empty where the reference is of another
scheme than the predictions.

The file is read twice: once to name the line of the first formula that is none before any time is spent, and once in
chunks, so that a million formulas take no more memory than ten thousand. A bar shows the progress on a terminal.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from discovery.composition import compound_amounts
from discovery.errors import CompositionError, DataError
from discovery.labels import read_rows
from discovery.options import exit_with
from discovery.reference.competition import CompletedHull, completed_hull
from discovery.reference.loading import CHOICES, load_reference
from discovery.surrogates.base import Prediction, Surrogate
from discovery.surrogates.zoo import DEFAULT, load_surrogate

COLUMNS = (
    "formula",
    "formation_energy_per_atom",
    "formation_energy_std",
    "energy_above_hull",
    "competing_phases",
)
CHUNK = 8192  # rows held at a time
STEP = 256  # rows between two movements of the bar


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.predict", description=__doc__)
    options.add_argument("--formulas", required=True, type=Path, metavar="FILE", help="CSV or Parquet, column formula")
    options.add_argument("--out", required=True, type=Path, metavar="FILE.csv", help="file to write")
    options.add_argument("--scheme", metavar="NAME", help="energy scheme, such as mp2019 (default: the reference's)")
    options.add_argument("--reference", default="builtin", metavar="NAME", help=f"{CHOICES} (default builtin)")
    options.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR", help="name or folder of a surrogate")
    return options


def main(argv: list[str] | None = None) -> int:
    """Write the predictions, all or nothing."""
    args = parser().parse_args(argv)
    total = check_formulas(args.formulas)
    surrogate = load_surrogate(args.surrogate)
    reference = load_reference(args.reference, args.scheme)
    scheme = args.scheme or reference.scheme
    hull = completed_hull(reference, surrogate) if scheme == reference.scheme else None
    with progress(total) as advance:
        rows = predictions((formula for _, formula in _formulas(args.formulas)), surrogate, scheme, hull)
        written = write_rows(args.out, rows, advance)
    print(f"{written} predictions of {surrogate.version} in scheme {scheme} written to {args.out}")
    return 0


def check_formulas(path: Path) -> int:
    """The number of formulas in a file, all of them compositions; half a second for 100,000.

    Raises:
        DataError: a formula that is no composition; the message names its line. Or a file without any.
    """
    count = 0
    for place, formula in _formulas(path):
        try:
            compound_amounts(formula)
        except CompositionError as error:
            raise DataError(f"{path}, {place}: {error}") from error
        count += 1
    if not count:
        raise DataError(f"{path} has no rows: give at least one formula")
    return count


def predictions(
    formulas: Iterable[str], surrogate: Surrogate, scheme: str, hull: CompletedHull | None
) -> Iterator[tuple[str, ...]]:
    """Output rows, made chunk by chunk."""
    source = iter(formulas)
    while chunk := list(islice(source, CHUNK)):
        prediction = surrogate.predict(chunk, scheme)
        above = [("", "")] * len(chunk) if hull is None else _above_hull(hull, chunk, prediction)
        for formula, mean, std, cells in zip(chunk, prediction.mean, prediction.std, above, strict=True):
            yield (formula, f"{mean:.6f}", f"{std:.6f}", *cells)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A function that moves a bar on by so many rows; nothing is shown where standard error is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.advance(task, rows)


def write_rows(path: Path, rows: Iterable[tuple[str, ...]], advance: Callable[[int], None]) -> int:
    """Write a CSV beside `path` and move it there when it is complete; returns the number of rows."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for count, row in enumerate(rows, 1):
                writer.writerow(row)
                if count % STEP == 0:
                    advance(STEP)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): choose another --out") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _formulas(path: Path) -> Iterator[tuple[str, str]]:
    """Place in the file and formula of each row."""
    for place, row in read_rows(path, required=("formula",)):
        yield place, str(row["formula"] or "").strip()


def _above_hull(hull: CompletedHull, formulas: Sequence[str], prediction: Prediction) -> list[tuple[str, str]]:
    points = hull.points(formulas, prediction.mean)
    return [(f"{point.energy_above_hull:.6f}", " ".join(point.competing_phases)) for point in points]


if __name__ == "__main__":
    exit_with(main)
