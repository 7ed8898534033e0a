"""Tables and structures of a campaign, for other programs: `candidates.csv` and `structures/<formula>.cif`.

Both are written under a temporary name and renamed, so that a reader never sees half a file. Read the CSV with
``keep_default_na=False``: sodium nitride is written `NaN`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discovery.campaign import Campaign
from discovery.composition import amounts, chemical_system, electronegativity_order
from discovery.hull import Hull
from discovery.outcomes import Outcome, estimate_of, outcomes
from discovery.records import Failure, Measurement

STATUS_ORDER = ("validated", "failed", "selected", "ranked", "rejected")
DIGITS = 6  # of every number in the table

Answer = tuple[int, Measurement | Failure]


def export_campaign(campaign: Campaign) -> None:
    """Write `candidates.csv` and all structures into the run folder, replacing older ones."""
    write_candidates(campaign)
    write_structures(campaign)


def write_candidates(campaign: Campaign) -> Path:
    """Write the table of `candidates_csv` into the run folder."""
    path = campaign.folder / "candidates.csv"
    write_whole(path, candidates_csv(campaign))
    return path


def candidates_csv(campaign: Campaign) -> str:
    """One row per candidate, rejected ones too: validated ones first, the most stable of them on top."""
    answers = campaign.ledger.answers()
    asked = [formula for formula, (_, answer) in answers.items() if isinstance(answer, Measurement)]
    hull = campaign.hull_with_finds().facing(asked)
    rows = [candidate_row(row, answers.get(row.formula), hull) for row in campaign.ledger.candidates()]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=row_order))
    return text.getvalue()


def write_structures(campaign: Campaign) -> list[Path]:
    """One CIF for every validated candidate that has a structure, in the order of the calls."""
    found = [(outcome, campaign.folder / name) for outcome in outcomes(campaign) if (name := outcome.structure)]
    (campaign.folder / "structures").mkdir(exist_ok=True)
    for outcome, path in found:
        write_whole(path, cif_text(outcome))
    return [path for _, path in found]


def cif_text(outcome: Outcome) -> str:
    """The structure with what is known of it in comment lines on top."""
    measured = outcome.measurement
    facts = {
        "formula": outcome.formula,
        "energy above hull": f"{outcome.energy_above_hull:.6f} eV/atom (negative: stable, by how much)",
        "formation energy": _with_unit(measured.formation_energy_per_atom),
        "scheme": measured.scheme,
        "oracle": measured.oracle,
        "prototype": measured.prototype,
        **measured.provenance,
    }
    lines = [f"# {name}: {' '.join(str(value).split())}" for name, value in facts.items() if value]
    return "\n".join([*lines, (measured.cif or "").strip(), ""])


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def candidate_row(row: Any, answer: Answer | None, hull: Hull) -> dict[str, object]:
    """A candidate's line of the table.

    Args:
        row: of the ledger's table of candidates.
        answer: round and answer of the oracle; None where it was not asked or has not answered.
        hull: of the reference and all finds of the campaign.
    """
    return {name: _cell(value) for name, value in candidate_values(row, answer, hull).items()}


def candidate_values(row: Any, answer: Answer | None, hull: Hull) -> dict[str, object]:
    """The same as plain values: numbers rounded, None where there is nothing."""
    values = {**_identity(row), **_prediction(row), **_answer(answer, hull)}
    return {name: _plain(values.get(name)) for name in COLUMNS}


def _identity(row: Any) -> dict[str, object]:
    counts = amounts(row.formula)
    kept = ("formula", "source", "first_round", "last_round", "times_proposed", "log_probability", "status", "call")
    return {
        **{name: getattr(row, name) for name in kept},
        "reason": row.reason,
        "acquisition": row.acquisition,
        "chemical_system": chemical_system(row.formula),
        "n_atoms": sum(counts.values()),
        "n_elements": len(counts),
        "element_counts": " ".join(f"{symbol}{counts[symbol]}" for symbol in electronegativity_order(counts)),
        "charge_neutral": row.charge_neutral,
        "electronegativity_balanced": row.electronegativity_balanced,
    }


def _prediction(row: Any) -> dict[str, object]:
    estimate = estimate_of(row)
    if estimate is None:
        return {}
    return {
        "predicted_formation_energy_per_atom": estimate.formation_energy_per_atom,
        "predicted_scheme": estimate.scheme,
        "predicted_epistemic_std": estimate.epistemic_std,
        "predicted_aleatoric_std": estimate.aleatoric_std,
        "predicted_std": estimate.std,
        "predicted_energy_above_hull": estimate.energy_above_hull,
        "competing_phases": " ".join(estimate.competing_phases),
        "unmeasured_phases": estimate.unmeasured_phases,
        "model_version": estimate.model_version,
    }


def _answer(answer: Answer | None, hull: Hull) -> dict[str, object]:
    if answer is None:
        return {}
    _, given = answer
    shared: dict[str, object] = {"oracle": given.oracle, "seconds": given.seconds, "attempts": given.attempts}
    if isinstance(given, Failure):
        return {**shared, "failure_reason": given.reason, "failure_detail": " ".join(given.detail.split())}
    return {
        **shared,
        "formation_energy_per_atom": given.formation_energy_per_atom,
        "scheme": given.scheme,
        "std": given.std,
        "energy_above_hull": given.energy_above_hull,
        "energy_above_hull_with_finds": _with_finds(given, hull),
        "prototype": given.prototype,
    }


def _with_finds(measured: Measurement, hull: Hull) -> float | None:
    energy = measured.formation_energy_per_atom
    if energy is None or measured.scheme != hull.scheme:
        return None
    return hull.energy_above_hull(measured.formula, energy).energy_above_hull


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


def row_order(row: Mapping[str, object]) -> tuple[int, float, str]:
    """By status, then the measured energy above hull or (downwards) the acquisition value, then the formula."""
    status, above, value = row["status"], row["energy_above_hull"], row["acquisition"]
    rank = above if isinstance(above, float) else -value if isinstance(value, float) else math.inf
    return STATUS_ORDER.index(str(status)), rank, str(row["formula"])


def _with_unit(energy: float | None) -> str | None:
    return None if energy is None else f"{energy:.6f} eV/atom"


COLUMNS = (
    "formula",
    "chemical_system",
    "n_atoms",
    "n_elements",
    "element_counts",  # in ascending electronegativity, as in "Sr1 Ti1 O3"
    "status",
    "reason",
    "call",
    "source",
    "first_round",
    "last_round",
    "times_proposed",
    "log_probability",
    "charge_neutral",
    "electronegativity_balanced",
    "predicted_formation_energy_per_atom",
    "predicted_scheme",
    "predicted_epistemic_std",
    "predicted_aleatoric_std",
    "predicted_std",
    "predicted_energy_above_hull",
    "competing_phases",  # "*" follows the formula where the phase's own energy is predicted
    "unmeasured_phases",
    "acquisition",
    "model_version",
    "formation_energy_per_atom",
    "scheme",
    "std",
    "energy_above_hull",  # measured, against the reference
    "energy_above_hull_with_finds",  # measured, against the reference and all other finds of the campaign
    "oracle",
    "prototype",
    "seconds",
    "attempts",
    "failure_reason",
    "failure_detail",
)
