"""Builds the builtin reference: from a potential's energies of known crystals to the shipped files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from discovery.composition import amounts
from discovery.reference.builtin import CARD, KNOWN, TABLE, file_version, read_card
from discovery.reference.fitting import ElementalFit, fit_references, formation_energies
from discovery.reference.known import HashedFormulas
from discovery.reference.quality import (
    Completion,
    Rate,
    apparent_energies,
    false_stable_rates,
    false_unstable_rates,
    partial_hull,
    sample_truth,
)

SCHEME = "chgnet-0.3.0"
TRUTH_SCHEME = "mp2019"  # of the complete DFT hull that rates are measured on
SUSPICIOUS = 0.3  # eV/atom from DFT: one of the two energies is wrong, and a phase far too low spoils its whole system
SAMPLE = 10_000  # unstable compounds, and as many stable ones, that the rates are measured on
SEED = 0
ATTRIBUTION = (
    "Crystals and DFT energies: Materials Project, CC BY 4.0 (A. Jain et al., APL Mater. 1, 011002 (2013)). "
    "Energies: CHGNet 0.3.0 (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023))."
)


Rates = Mapping[str, Mapping[float, Rate]]  # false_stable, false_unstable -> tolerance (eV/atom) -> rate


@dataclass(frozen=True)
class Energies:
    """The table that ships, and how it compares with DFT."""

    table: pd.DataFrame  # formula, formation_energy_per_atom (eV/atom), scheme, material_id, relaxed
    fit: ElementalFit
    error: Mapping[str, float]  # against the DFT energies of the same compounds
    by_element: Mapping[str, Mapping[str, float]]
    dropped: tuple[str, ...]  # suspicious formulas


def formation_table(computed: pd.DataFrame, structures: pd.DataFrame, prior: Mapping[str, float]) -> Energies:
    """Formation energies of all computed compounds, with references fitted to the DFT ones.

    Args:
        computed: `reduced_formula, material_id, energy_per_atom` (eV/atom, total), `relaxed`.
        structures: `material_id, formation_energy_per_atom` (DFT, eV/atom, missing where unknown).
        prior: elemental energies of the potential, see `fit_references`.
    """
    dft = structures.dropna(subset="formation_energy_per_atom").drop_duplicates("material_id").set_index("material_id")
    rows = computed[computed.energy_per_atom.notna()]
    rows = rows[[len(amounts(formula)) > 1 for formula in rows.reduced_formula]]
    rows = rows.assign(dft=rows.material_id.map(dft.formation_energy_per_atom)).reset_index(drop=True)
    shared = rows[rows.dft.notna()]
    formulas = shared.reduced_formula.tolist()
    fit = fit_references(formulas, shared.energy_per_atom.to_numpy(), shared.dft.to_numpy(), prior)
    energies = formation_energies(rows.reduced_formula.tolist(), rows.energy_per_atom.to_numpy(), fit.references)
    suspicious = (energies - rows.dft).abs() > SUSPICIOUS  # never true where DFT is missing
    table = pd.DataFrame(
        {
            "formula": rows.reduced_formula,
            "formation_energy_per_atom": np.round(energies, 5),
            "scheme": SCHEME,
            "material_id": rows.material_id,
            "relaxed": rows.relaxed,
        }
    )[~suspicious].reset_index(drop=True)
    dropped = tuple(rows.reduced_formula[suspicious])
    return Energies(table, fit, _error(fit.residuals), fit.by_element(formulas), dropped)


def known_formulas(formulas: pd.DataFrame) -> HashedFormulas:
    """Hashes of a list of formulas with the columns `reduced_formula` and `in_mp`."""
    return HashedFormulas.from_formulas(formulas.reduced_formula, formulas.in_mp)


def measured_rates(
    truth: pd.DataFrame, formulas: set[str], completion: Completion | None = None, size: int = SAMPLE
) -> Rates:
    """False-stable and false-unstable rates of a hull that holds only `formulas`, on random compounds of both kinds."""
    hull = partial_hull(truth, formulas, TRUTH_SCHEME)
    rows = pd.concat([sample_truth(truth, size, SEED, unstable) for unstable in (True, False)])
    true = rows.decomposition_energy_per_atom.to_numpy(dtype=np.float64)
    apparent = apparent_energies(rows, hull, completion)
    return {
        "false_stable": false_stable_rates(true, apparent),
        "false_unstable": false_unstable_rates(true, apparent),
    }


def write_reference(
    folder: Path, energies: Energies, known: HashedFormulas, notes: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the table, the hashes and the card; returns the card.

    Args:
        folder: made if needed; its files are replaced.
        energies: what `formation_table` made.
        known: hashes of all known compositions.
        notes: goes into the card as it is (command, versions, method).
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = energies.table.astype({"scheme": "category"})
    table.to_parquet(folder / TABLE, compression="zstd", compression_level=19, index=False)
    known.save(folder / KNOWN)
    card = {
        "name": "builtin",
        "version": file_version(folder),
        "scheme": SCHEME,
        "phases": len(energies.table),
        "relaxed": int(energies.table.relaxed.sum()),
        "known_formulas": len(known),
        "error_against_dft": energies.error,
        "dropped_as_suspicious": {"threshold": SUSPICIOUS, "formulas": energies.dropped},
        "rates": {},
        **notes,
        "attribution": ATTRIBUTION,
        "elemental_references": {k: round(v, 5) for k, v in energies.fit.references.items()},
        "residual_by_element": energies.by_element,
    }
    _write_card(folder, card)
    return card


def add_rates(folder: Path, name: str, rates: Rates, how: str) -> None:
    """Write measured rates into the card of a finished reference.

    Args:
        folder: of the reference.
        name: ``alone``, or ``completed`` (with predicted energies of missing known phases and implied binaries).
        rates: what `measured_rates` returned.
        how: what they were measured with, in words.
    """
    card = read_card(folder)
    measured = {kind: {str(t): _as_json(rate) for t, rate in by.items()} for kind, by in rates.items()}
    card["rates"][name] = {"how": how, **measured}
    _write_card(folder, card)


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_json(rate: Rate) -> dict[str, float]:
    return {"rate": round(rate.share, 4), "wrong": rate.wrong, "compounds": rate.compounds}


def _error(residuals: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """Potential minus DFT on the same crystals, eV/atom; suspicious ones included."""
    size = np.abs(residuals)
    return {
        "compounds": len(size),
        "mae": round(float(size.mean()), 4),
        "median": round(float(np.median(size)), 4),
        "mean_signed": round(float(residuals.mean()), 4),
        "share_within_0.05": round(float(np.mean(size <= 0.05)), 4),
    }
