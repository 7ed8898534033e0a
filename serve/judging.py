"""What a label that was told means beside what is known already: pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.records import Failure, Measurement
from serve.book import Told

SAME = 1e-6  # eV/atom: labels that differ by less are the same
Placing = Callable[[Measurement], float | None]  # energy above the reference's hull; None where it has none for it


@dataclass(frozen=True)
class Verdict:
    """What becomes of a label."""

    status: str  # accepted, duplicate, conflict, kept_apart
    detail: str
    is_answer: bool = False  # it becomes the candidate's answer


def answer_of(formula: str, report: Mapping[str, Any], place: Placing) -> Measurement | Failure:
    """A report as the loop knows answers, with its energy above hull where it has one."""
    source = report.get("source") or "told"
    if report.get("failure") is not None:
        return Failure(formula, source, report["failure"])
    measured = Measurement(
        formula=formula,
        oracle=source,
        scheme=report["scheme"],
        formation_energy_per_atom=report.get("formation_energy_per_atom"),
        energy_above_hull=report.get("energy_above_hull"),
        std=report.get("std") or 0.0,
    )
    if measured.energy_above_hull is None:
        return dataclasses.replace(measured, energy_above_hull=place(measured))
    return measured


def judge(answer: Measurement | Failure, earlier: Measurement | Failure | None, told: Sequence[Told]) -> Verdict:
    """What becomes of an answer beside the candidate's earlier one and all that was told of it."""
    if isinstance(answer, Failure):
        return _judge_failure(answer, earlier)
    if earlier is None or isinstance(earlier, Failure):
        return _first(answer, replaces=earlier is not None)
    return _beside(answer, earlier, told)


def _judge_failure(answer: Failure, earlier: Measurement | Failure | None) -> Verdict:
    if earlier is None:
        return Verdict("accepted", f"failed: {answer.reason}", is_answer=True)
    if isinstance(earlier, Failure):
        return Verdict("duplicate", "it has failed already")
    return Verdict("conflict", "there is a label already, which stays; the failure is kept beside it")


def _first(answer: Measurement, replaces: bool) -> Verdict:
    note = " in place of an earlier failure" if replaces else ""
    if answer.energy_above_hull is None:
        return Verdict(
            "kept_apart",
            f"learned as scheme {answer.scheme}{note}, but not placed on the hull, which holds another one: tell "
            "energy_above_hull to have it judged",
            is_answer=True,
        )
    return Verdict("accepted", f"{answer.energy_above_hull:+.4f} eV/atom above the hull{note}", is_answer=True)


def _beside(answer: Measurement, earlier: Measurement, told: Sequence[Told]) -> Verdict:
    labels = [label for one in told if (label := _measurement(one)) is not None]
    rivals = [label for label in (earlier, *labels) if label.scheme == answer.scheme]
    differences = [abs(a - b) for rival in rivals if (pair := _common(answer, rival)) for a, b in [pair]]
    if any(difference <= SAME for difference in differences):
        return Verdict("duplicate", "told before")
    if differences:
        return Verdict(
            "conflict",
            f"it differs from an earlier label by {min(differences):.4f} eV/atom: both are kept, the first one is used",
        )
    return Verdict("kept_apart", f"a label of scheme {earlier.scheme} is used; this one is kept beside it")


def _measurement(told: Told) -> Measurement | None:
    found = answer_of(told.formula, told.label, lambda _: None)
    return found if isinstance(found, Measurement) else None


def _common(one: Measurement, other: Measurement) -> tuple[float, float] | None:
    """A number that both give, formation energies first; None where they share none."""
    for name in ("formation_energy_per_atom", "energy_above_hull"):
        first, second = getattr(one, name), getattr(other, name)
        if first is not None and second is not None:
            return first, second
    return None
