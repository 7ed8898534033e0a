"""Metrics of generated samples, always raw: over all N sequences, before any filter or deduplication."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from discovery.composition import amounts, reduced_formula
from discovery.errors import CompositionError
from discovery.records import Sample
from discovery.validity import Rules, StateSet, verdict

RESAMPLES = 10_000  # of the bootstrap
LEVEL = 0.95  # of all intervals


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
    counts = _counts([reduced(sample) for sample in samples], training, held_out, states)
    recovered, known = counts.pop("recovery")
    rates = {metric: count / of if of else 0.0 for metric, (count, of) in counts.items()}
    recovery = recovered / known if known else None
    return GenerativeMetrics(len(samples), states, **rates, recovery=recovery, recovered=recovered)


def reduced(sample: Sample) -> str | None:
    """Reduced formula of a sample; None where it is no composition of two or more elements."""
    if sample.formula is None:
        return None
    try:
        return reduced_formula(sample.formula) if len(amounts(sample.formula)) > 1 else None
    except CompositionError:
        return None


@dataclass(frozen=True)
class Share:
    """A count out of another one, with its 95 % interval."""

    count: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; 0 where there is nothing to take a share of."""
        return self.count / self.of if self.of else 0.0


@dataclass(frozen=True)
class Evaluation:
    """The five metrics of a list of compositions as shares; `share` says what their intervals mean."""

    charge_neutral: Share  # of all sequences
    electronegativity_balanced: Share  # of all sequences
    uniqueness: Share  # distinct reduced formulas of all sequences
    novelty: Share  # of the distinct ones: not in the training set
    recovery: Share  # of the held-out compounds: among the samples


def evaluation(
    formulas: Sequence[str | None],
    training: Collection[str],
    held_out: Collection[str],
    rng: np.random.Generator,
    states: StateSet = "icsd24",
) -> Evaluation:
    """CN, EB, uniqueness, novelty and recovery of sampled sequences.

    Args:
        formulas: of the sequences, None for one that is no composition, shape (n,). Here and below each composition
            is always spelled in the same way (reduced formulas, or `composition.canonical_key`).
        training: those that the generator was trained on (a set, for speed).
        held_out: real compounds that it never saw, each once.
        rng: of the bootstrap.
        states: table of oxidation states by which CN and EB are judged.
    """
    counts = _counts(formulas, training, held_out, states)
    return Evaluation(**{metric: share(count, of, rng) for metric, (count, of) in counts.items()})


def _counts(
    formulas: Sequence[str | None], training: Collection[str], held_out: Collection[str], states: StateSet
) -> dict[str, tuple[int, int]]:
    """How many out of how many, by metric: the definitions that rates and intervals share."""
    written = [formula for formula in formulas if formula is not None]
    verdicts = [verdict(amounts(formula), Rules(states=states)) for formula in written]
    distinct, known, n = set(written), set(held_out), len(formulas)
    return {
        "charge_neutral": (sum(v.charge_neutral for v in verdicts), n),
        "electronegativity_balanced": (sum(v.electronegativity_balanced for v in verdicts), n),
        "uniqueness": (len(distinct), n),
        "novelty": (sum(formula not in training for formula in distinct), len(distinct)),
        "recovery": (len(distinct & known), len(known)),
    }


def share(count: int, of: int, rng: np.random.Generator) -> Share:
    """A share with the 95 % percentile interval of a bootstrap over the things that it is a share of.

    Resampling `of` yes-or-no things makes their count binomial, so that is drawn. The things are the sequences for CN,
    EB and uniqueness (yes: the first with its formula), the distinct formulas for novelty, and the held-out compounds
    for recovery. Resampling the sequences and counting formulas anew would repeat some and so find too few, which is
    why uniqueness, novelty and recovery are not treated so. Where all or none count, a bootstrap has no width: the
    score interval of Wilson, J. Am. Stat. Assoc. 22, 209 (1927), stands in.
    """
    if of < 1:
        return Share(0, 0, 0.0, 1.0)
    if 0 < count < of:
        drawn = rng.binomial(of, count / of, size=RESAMPLES) / of
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Share(count, of, float(low), float(high))
    return Share(count, of, *wilson(count, of))


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)); 0 to 1 for none out of none."""
    if of < 1:
        return 0.0, 1.0
    p, z = count / of, float(ndtri((1 + LEVEL) / 2))
    center = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    return (center - half if count else 0.0), (center + half if count < of else 1.0)  # rounding misses the ends
