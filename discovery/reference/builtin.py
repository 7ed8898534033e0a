"""The reference that ships with the package: CHGNet energies of known crystals, and hashes of known compositions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from discovery.errors import DataError
from discovery.reference.base import Phase, Reference
from discovery.reference.implied import WithBinaries
from discovery.reference.known import HashedFormulas

DATA = Path(__file__).parent / "data"
TABLE, KNOWN, CARD = "builtin.parquet", "known.npz", "card.json"
REMEDY = "install the package again, or rebuild it with python -m discovery.reference build"


@cache
def load_builtin(completed: bool = True) -> Reference:
    """The shipped reference; read once per process.

    Args:
        completed: its false-stable rates are those of the hull that `competition.CompletedHull` completes with
            predicted energies of the missing known phases; otherwise those of its own phases alone.

    Raises:
        DataError: its files are missing or damaged.
    """
    return read_reference(DATA, completed)


def read_reference(folder: Path, completed: bool = True) -> Reference:
    """A reference that `python -m discovery.reference build --out FOLDER` wrote; see `load_builtin`.

    Where the rates of the completed hull were not measured (yet), those of the phases alone stand: an upper bound.

    Raises:
        DataError: files are missing, damaged or of different builds.
    """
    card = read_card(folder)
    try:
        table = pd.read_parquet(folder / TABLE)
        rows = zip(table.formula, table.formation_energy_per_atom, table.material_id, strict=True)
        return Reference(
            name="builtin",
            version=str(card["version"]),
            scheme=str(card["scheme"]),
            phases=tuple(Phase(str(formula), float(energy), str(source)) for formula, energy, source in rows),
            known=WithBinaries(HashedFormulas.load(folder / KNOWN)),  # the list has gaps, CsF and AlF3 among them
            elemental_references={str(k): float(v) for k, v in card["elemental_references"].items()},
            false_stable_rates=_false_stable_rates(card["rates"], completed),
            attribution=str(card["attribution"]),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"the reference in {folder} is damaged ({type(error).__name__}: {error}): {REMEDY}") from error


def _false_stable_rates(measured: Mapping[str, Any], completed: bool) -> dict[float, float]:
    chosen = measured.get("completed" if completed else "alone", measured.get("alone", {}))
    return {float(t): float(rate["rate"]) for t, rate in chosen.get("false_stable", {}).items()}


def read_card(folder: Path) -> dict[str, Any]:
    """The description of a reference, after a check that it belongs to the files beside it."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        version = file_version(folder)
    except (OSError, ValueError) as error:
        raise DataError(f"the reference in {folder} cannot be read ({error}): {REMEDY}") from error
    if not isinstance(card, dict) or card.get("version") != version:
        raise DataError(
            f"the reference in {folder} is damaged or half replaced (its version is not {version}): {REMEDY}"
        )
    return card


def file_version(folder: Path) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the table and of the known compositions."""
    digest = hashlib.sha256()
    for name in (TABLE, KNOWN):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]
