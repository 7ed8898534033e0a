"""The command `fetch`: entries of a database into the cache, and into a file that `snapshot:FILE` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from discovery.constraints import Constraints
from discovery.errors import ConfigError, DataError
from discovery.options import symbols
from discovery.reference.download import obtain
from discovery.reference.entries import Fetched, reference_of
from discovery.reference.materials_project import MaterialsProject
from discovery.reference.optimade import Provider, fetch_optimade
from discovery.reference.selection import Selection
from discovery.reference.snapshot import check_target, write_snapshot


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """The options that `fetch` reads."""
    parser.add_argument("source", help="mp, or optimade:URL (with #formation_energy=NAME where its name is not known)")
    parser.add_argument(
        "--systems",
        metavar="A-B-C,...",
        help="chemical systems with all within them; patterns (Li-*, *-*); ids (mp-149)",
    )
    parser.add_argument("--elements", metavar="A,B", help="all chemical systems of these elements")
    parser.add_argument("--max-elements", type=int, default=4, metavar="N", help="of --elements at a time (default 4)")
    parser.add_argument("--ids", type=Path, metavar="FILE", help="text file with one id per line")
    parser.add_argument("--structures", action="store_true", help="also crystal structures (column cif)")
    parser.add_argument("--refresh", action="store_true", help="look for a newer version of the database")
    parser.add_argument("--scheme", metavar="NAME", help="of an OPTIMADE provider whose energies name none")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a .parquet or .csv for snapshot:FILE")


def fetch(options: argparse.Namespace) -> None:
    """Fetch what the cache lacks, write the file, and say what there is.

    Raises:
        ConfigError: an unknown source, nothing to fetch, or a missing key.
        DataError: the download stopped, or the file cannot be written.
    """
    if options.out is not None:
        check_target(options.out)
    wanted = _selection(options)
    fetched = _fetched(options, wanted)
    reference = reference_of(options.source, fetched)
    print(f"{reference.name} {reference.version}: {len(reference.phases)} phases of scheme {reference.scheme}")
    for note in reference.notes:
        print(f"  {note}")
    print(f"  {reference.attribution}")
    if options.out is not None:
        rows = write_snapshot(options.out, fetched, options.source)
        print(f"{rows} entries with energies written to {options.out}: --reference snapshot:{options.out}")


def _selection(options: argparse.Namespace) -> Selection | None:
    """Everything that was asked for; None where nothing was (then the cache alone is used)."""
    parts = []
    if options.systems is not None:
        parts.append(Selection.parse(options.systems))
    if options.elements is not None:
        limits = Constraints(allowed=symbols(options.elements, "--elements"), max_elements=options.max_elements)
        parts.append(Selection.of_constraints(limits) or Selection())
    if options.ids is not None:
        parts.append(Selection.of_ids(_lines(options.ids)))
    wanted = Selection()
    for part in parts:
        wanted = wanted | part
    return wanted if parts else None


def _fetched(options: argparse.Namespace, wanted: Selection | None) -> Fetched:
    kind, _, text = options.source.partition(":")
    if options.source == "mp":
        return obtain(MaterialsProject(), wanted, options.structures, options.refresh)
    if kind == "optimade" and text:
        provider = Provider.parse(text)
        wanted = wanted or provider.selection
        return fetch_optimade(provider, wanted, options.scheme, options.structures, options.refresh)
    raise ConfigError(f"no source {options.source!r}: choose mp or optimade:URL")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): give a text file with one id per line") from error
