"""Metrics of generated samples, always raw: over all N sequences, before any filter or deduplication."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from discovery.composition import amounts, reduced_formula
from discovery.errors import CompositionError
from discovery.records import Sample
from discovery.validity import Rules, StateSet, verdict


@dataclass(frozen=True)
class GenerativeMetrics:
    """Rates of N raw samples (definitions of the Materials Transformers' evaluation, with stated denominators)."""

    n: int  # all sampled sequences
    states: str  # table of oxidation states: "icsd24" (SMACT's default filter) or "smact14"
    charge_neutral: float  # CN: share of n with a charge-neutral choice of oxidation states
    electronegativity_balanced: float  # EB: share of n with a neutral choice that also passes the Pauling test
    uniqueness: float  # distinct reduced formulas / n
    novelty: float  # share of the distinct ones that are not in the training set; 0 where there are none
    recovery: float | None = None  # share of the held-out list that occurs among the samples; None without a list
    recovered: int = 0  # the same as a number


def generative_metrics(
    samples: Sequence[Sample],
    training: Collection[str],
    held_out: Collection[str] = (),
    states: StateSet = "icsd24",
) -> GenerativeMetrics:
    """Metrics of raw samples.

    Args:
        samples: all that were drawn, invalid ones included.
        training: reduced formulas that the generator was trained on (a set, for speed).
        held_out: reduced formulas of real compounds that it never saw.
        states: table of oxidation states by which CN and EB are judged.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("rates of no samples are undefined: draw some")
    formulas = [formula for sample in samples if (formula := reduced(sample)) is not None]
    verdicts = [verdict(amounts(formula), Rules(states=states)) for formula in formulas]
    distinct = set(formulas)
    known = set(held_out)
    recovered = len(distinct & known)
    n = len(samples)
    return GenerativeMetrics(
        n=n,
        states=states,
        charge_neutral=sum(v.charge_neutral for v in verdicts) / n,
        electronegativity_balanced=sum(v.electronegativity_balanced for v in verdicts) / n,
        uniqueness=len(distinct) / n,
        novelty=sum(formula not in training for formula in distinct) / len(distinct) if distinct else 0.0,
        recovery=recovered / len(known) if known else None,
        recovered=recovered,
    )


def reduced(sample: Sample) -> str | None:
    """Reduced formula of a sample; None where it is no composition of two or more elements."""
    if sample.formula is None:
        return None
    try:
        return reduced_formula(sample.formula) if len(amounts(sample.formula)) > 1 else None
    except CompositionError:
        return None
