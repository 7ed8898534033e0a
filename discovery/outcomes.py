"""What came of a campaign's oracle calls: each answer beside what was expected before it was known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from discovery.campaign import Campaign
from discovery.composition import amounts, reduced_formula
from discovery.errors import CompositionError, DataError, LedgerError
from discovery.records import Estimate, Measurement

_ELEMENT = r"[A-Z][a-z]?\d*"
_PLAIN_FORMULA = re.compile(rf"(?:{_ELEMENT}|\((?:{_ELEMENT})+\)\d*)+")  # pymatgen writes Ca(HO)2 for the hydroxide
MAX_NAME = 120  # characters; file systems allow 255 bytes


@dataclass(frozen=True)
class Outcome:
    """A validated candidate; energies in eV/atom."""

    formula: str  # reduced formula
    call: int  # position in the order of oracle calls, from 1
    round: int
    why: str  # why it was chosen
    estimate: Estimate | None  # as it was before the label
    measurement: Measurement
    energy_above_hull: float  # measured, against the reference

    @property
    def structure(self) -> str | None:
        """Where its structure lies, relative to the run folder; None where the oracle gave none."""
        return None if self.measurement.cif is None else structure_name(self.formula)

    @property
    def elements(self) -> tuple[str, ...]:
        """Element symbols in alphabetical order."""
        return tuple(sorted(amounts(self.formula)))

    @property
    def predicted_energy_above_hull(self) -> float | None:
        """As estimated before the label, against the hull of the reference and the finds of earlier rounds, eV/atom."""
        return None if self.estimate is None else self.estimate.energy_above_hull

    @property
    def error_and_std(self) -> tuple[float, float] | None:
        """Estimate minus measurement, and the standard deviation that the estimate claimed; None where not comparable.

        Formation energies where both are of one scheme: they do not depend on the hull, which grows with the finds.
        """
        estimate, measured = self.estimate, self.measurement
        if estimate is None:
            return None
        if measured.formation_energy_per_atom is not None and measured.scheme == estimate.scheme:
            return estimate.formation_energy_per_atom - measured.formation_energy_per_atom, estimate.std
        if estimate.energy_above_hull is None:
            return None
        return estimate.energy_above_hull - self.energy_above_hull, estimate.std


def outcomes(campaign: Campaign) -> list[Outcome]:
    """All validated candidates that have a place on the hull, in the order in which the oracle was asked.

    A label of a foreign scheme without an energy above hull is kept apart: it is learned, but has no such place.
    """
    answers = campaign.ledger.answers()
    rows = [row for row in campaign.ledger.candidates() if row.call is not None and row.formula in answers]
    found = [_outcome(row, *answers[row.formula]) for row in rows if _is_placed(campaign, answers[row.formula][1])]
    return sorted(found, key=lambda outcome: outcome.call)


def best_first(found: Iterable[Outcome]) -> list[Outcome]:
    """By ascending measured energy above hull, ties by formula."""
    return sorted(found, key=lambda outcome: (outcome.energy_above_hull, outcome.formula))


def estimate_of(row: Any) -> Estimate | None:
    """The estimate in a candidate's row of the ledger."""
    if row.estimate is None:
        return None
    return Estimate(**{**row.estimate, "competing_phases": tuple(row.estimate["competing_phases"])})


def structure_name(formula: str) -> str:
    """Where a structure is written, relative to the run folder.

    Raises:
        DataError: not a plain reduced formula; nothing else becomes part of a path.
    """
    if len(formula) > MAX_NAME or not _PLAIN_FORMULA.fullmatch(formula) or not _is_reduced(formula):
        name = repr(formula[:MAX_NAME])
        raise DataError(f"{name} is no plain reduced formula, so no file is named after it: check the oracle's answers")
    return f"structures/{formula}.cif"


def _is_reduced(formula: str) -> bool:
    try:
        return reduced_formula(formula) == formula
    except CompositionError:
        return False


def _is_placed(campaign: Campaign, answer: object) -> bool:
    if not isinstance(answer, Measurement):
        return False
    return answer.energy_above_hull is not None or answer.scheme == campaign.reference.scheme


def _outcome(row: Any, number: int, answer: object) -> Outcome:
    if not isinstance(answer, Measurement) or answer.energy_above_hull is None:
        raise LedgerError(f"the answer for {row.formula} has no energy above hull: the ledger is of another version")
    return Outcome(row.formula, row.call, number, row.reason, estimate_of(row), answer, answer.energy_above_hull)
