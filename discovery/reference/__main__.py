"""`python -m discovery.reference`: fetch a reference, say what one holds, build and measure the builtin one."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from discovery.errors import DataError, DiscoveryError
from discovery.reference.base import Reference
from discovery.reference.building import (
    SAMPLE,
    SEED,
    TRUTH_SCHEME,
    add_rates,
    formation_table,
    known_formulas,
    measured_rates,
    write_reference,
)
from discovery.reference.builtin import read_reference
from discovery.reference.fetching import add_fetch_options, fetch
from discovery.reference.implied import WithBinaries
from discovery.reference.loading import CHOICES, load_reference
from discovery.reference.quality import Completion
from discovery.structures.energy_table import (
    RELAX_ABOVE,
    RELAX_MAX_ATOMS,
    RELAX_STEPS,
    ground_states,
    noble_gas_crystals,
    relaxations,
    single_points,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except DiscoveryError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def build(options: argparse.Namespace) -> None:
    """Compute what is not computed yet, and write the files of the builtin reference."""
    structures, formulas, truth = (_table(path) for path in (options.structures, options.formulas, options.labels))
    rows = ground_states(structures)
    points = single_points(rows, options.work, options.processes)
    computed = relaxations(rows, points, options.work, options.processes)
    energies = formation_table(computed, structures, noble_gas_crystals())
    card = write_reference(options.out, energies, known_formulas(formulas), _notes(options))
    add_rates(options.out, "alone", measured_rates(truth, set(energies.table.formula)), "the phases of the table alone")
    print(
        f"{card['phases']} phases, {card['known_formulas']} known formulas, "
        f"MAE {card['error_against_dft']['mae']} eV/atom"
    )


def measure(options: argparse.Namespace) -> None:
    """Measure the false-stable rates with predicted competitors, and write them into the card."""
    from discovery.surrogates.zoo import load_surrogate

    reference, truth = read_reference(options.out), _table(options.labels)
    surrogate = load_surrogate(options.surrogate)
    known = WithBinaries(reference.known) if options.binaries else reference.known
    completion = Completion(known, lambda formulas: surrogate.predict(formulas, TRUTH_SCHEME).mean)
    rates = measured_rates(truth, {phase.formula for phase in reference.phases}, completion)
    what = "missing known phases and charge-neutral binaries" if options.binaries else "missing known phases"
    how = f"{what} with energies predicted by {surrogate.version}, which was trained on most of them"
    add_rates(options.out, "with_binaries" if options.binaries else "completed", rates, how)
    for kind, by_tolerance in rates.items():
        for tolerance, rate in by_tolerance.items():
            print(f"{kind:16}{tolerance:<7}{rate.share:.3f} ({rate.wrong} of {rate.compounds})")


def info(options: argparse.Namespace) -> None:
    """Print what a reference holds."""
    reference = load_reference(options.reference, options.scheme)
    if options.json:
        print(json.dumps(_summary(reference)))
        return
    for name, value in _summary(reference).items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{name.replace('_', ' '):24}{line}")


def _summary(reference: Reference) -> dict[str, Any]:
    rates = {str(t): round(rate, 4) for t, rate in sorted(reference.false_stable_rates.items())}
    return {
        "reference": reference.name,
        "version": reference.version,
        "scheme": reference.scheme,
        "phases": len(reference.phases),
        "known_formulas": len(reference.known),
        "false_stable_rates": rates or "not measured",
        "attribution": reference.attribution or "yours",
        "notes": list(reference.notes),
    }


def _notes(options: argparse.Namespace) -> dict[str, Any]:
    names = [f"{option} {shlex.quote(Path(path).name)}" for option, path in _inputs(options)]
    packages = ("chgnet", "torch", "pymatgen", "ase", "numpy")
    return {
        "command": f"python -m discovery.reference build {' '.join(names)} --out DIR",
        "software": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "method": (
            "CHGNet single points of one crystal per composition (lowest DFT energy); where the largest force exceeds "
            f"{RELAX_ABOVE} eV/A and the cell has at most {RELAX_MAX_ATOMS} atoms, the lowest energy of {RELAX_STEPS} "
            "FIRE steps of cell and positions. Elemental references are fitted to DFT formation energies "
            "(a fitted scheme)."
        ),
        "how_rates_are_measured": (
            f"{SAMPLE} random unstable and {SAMPLE} stable compounds of the complete DFT hull (MP 2019), seed {SEED}, "
            "with their DFT energies, against the phases of this table, with DFT energies too. false_stable: those "
            "truly above the tolerance (eV/atom) that look within it; false_unstable: the opposite."
        ),
    }


def _inputs(options: argparse.Namespace) -> list[tuple[str, Path]]:
    return [(f"--{name}", getattr(options, name)) for name in ("structures", "formulas", "labels")]


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}): give the table named in docs/methods.md"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m discovery.reference", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="fetch|info|build|measure")
    get = commands.add_parser("fetch", help="entries of the Materials Project or an OPTIMADE provider (resumable)")
    add_fetch_options(get)
    get.set_defaults(command=fetch)
    make = commands.add_parser("build", help="compute the builtin reference (resumable)")
    make.add_argument("--structures", type=Path, required=True, help="Parquet: material_id, reduced_formula, cif, ...")
    make.add_argument("--formulas", type=Path, required=True, help="Parquet: reduced_formula, in_mp")
    make.add_argument("--labels", type=Path, required=True, help="Parquet: DFT energies with the complete hull")
    make.add_argument("--out", type=Path, required=True, help="folder of the new reference")
    make.add_argument("--processes", type=int, default=1, help="worker processes (default 1)")
    make.add_argument("--work", type=Path, default=Path("runs/reference"), help="folder of finished shards")
    make.set_defaults(command=build)
    rates = commands.add_parser("measure", help="false-stable rates with predicted competitors, into the card")
    rates.add_argument("--labels", type=Path, required=True, help="Parquet: DFT energies with the complete hull")
    rates.add_argument("--out", type=Path, required=True, help="folder of the reference")
    rates.add_argument("--surrogate", default="ensemble", help="name or folder (default: the shipped one)")
    rates.add_argument("--binaries", action="store_true", help="all charge-neutral binaries compete too, predicted")
    rates.set_defaults(command=measure)
    show = commands.add_parser("info", help="size, scheme, version, attribution, false-stable rates")
    show.add_argument("--reference", default="builtin", help=f"{CHOICES} (default builtin)")
    show.add_argument("--scheme", help="of a snapshot's or a provider's energies that name none")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(command=info)
    return parser


if __name__ == "__main__":
    sys.exit(main())
