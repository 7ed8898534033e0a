"""From raw samples to candidates: every reject has a reason and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from discovery.composition import amounts, reduced_formula
from discovery.constraints import Constraints
from discovery.errors import CompositionError
from discovery.records import Candidate, RankedCandidate, Sample, Verdict
from discovery.reference.base import KnownFormulas
from discovery.validity import judge


@dataclass(frozen=True)
class Screened:
    """The outcome; `generated` = new candidates + the sum of `rejects`."""

    accepted: tuple[RankedCandidate, ...]  # new, valid, novel, one per formula, not yet ranked
    rejected: tuple[RankedCandidate, ...]  # one per formula that parsed
    rejects: Mapping[str, int]  # reason -> number of samples
    generated: int
    valid: int  # samples that pass chemistry and constraints
    novel: int  # distinct formulas among them that are not known


def screen(
    samples: Sequence[Sample],
    source: str,
    round_number: int,
    constraints: Constraints,
    context: ScreenContext,
) -> Screened:
    """Judge each sample; the first reason that applies counts."""
    rejects: Counter[str] = Counter()
    accepted: dict[str, RankedCandidate] = {}
    rejected: dict[str, RankedCandidate] = {}
    valid, novel = 0, set()
    for sample in samples:
        formula = _formula(sample)
        if formula is None:
            rejects["unparsable sequence"] += 1
            continue
        verdict = context.verdict(formula, constraints)
        valid += verdict.accepted
        if verdict.accepted and formula not in context.known:
            novel.add(formula)
        reason = _reject_reason(formula, verdict, accepted, context)
        candidate = Candidate(formula, source, round_number, sample.log_probability)
        if reason is None:
            accepted[formula] = RankedCandidate(candidate, verdict)
            continue
        rejects[reason] += 1
        if formula not in accepted and formula not in context.seen:
            rejected.setdefault(formula, RankedCandidate(candidate, verdict, status="rejected", reason=reason))
    return Screened(tuple(accepted.values()), tuple(rejected.values()), dict(rejects), len(samples), valid, len(novel))


@dataclass(frozen=True)
class ScreenContext:
    """What is known before a round's samples are judged."""

    known: KnownFormulas
    seen: Collection[str]  # formulas that are candidates already, ranked or asked

    def verdict(self, formula: str, constraints: Constraints) -> Verdict:
        """Chemistry first, then the user's limits (free samples and given lists may break them)."""
        verdict = judge(formula, intermetallics=constraints.intermetallics, mixed_valence=constraints.mixed_valence)
        violation = constraints.violation(amounts(formula))
        if verdict.accepted and violation is not None:
            return Verdict(verdict.charge_neutral, verdict.electronegativity_balanced, False, violation)
        return verdict


def annotate(formulas: Sequence[str], source: str, context: ScreenContext, constraints: Constraints) -> Screened:
    """Candidates of a given list: screens annotate, they never reject; repeated formulas count as duplicates."""
    accepted: dict[str, RankedCandidate] = {}
    valid, novel = 0, set()
    for text in formulas:
        formula = reduced_formula(text)
        verdict = context.verdict(formula, constraints)
        valid += verdict.accepted
        known = formula in context.known
        if verdict.accepted and not known:
            novel.add(formula)
        note = "; ".join(filter(None, ("" if verdict.accepted else verdict.reason, "known" if known else "")))
        accepted.setdefault(formula, RankedCandidate(Candidate(formula, source, 1), verdict, reason=note))
    duplicates = len(formulas) - len(accepted)
    rejects = {"duplicate": duplicates} if duplicates else {}
    return Screened(tuple(accepted.values()), (), rejects, len(formulas), valid, len(novel))


def _formula(sample: Sample) -> str | None:
    if sample.formula is None:
        return None
    try:
        return reduced_formula(sample.formula)
    except CompositionError:
        return None


def _reject_reason(formula: str, verdict: Verdict, accepted: Collection[str], context: ScreenContext) -> str | None:
    if not verdict.accepted:
        return verdict.reason
    if formula in context.known:
        return "known"
    if formula in context.seen:
        return "seen in an earlier round"
    return "duplicate" if formula in accepted else None
