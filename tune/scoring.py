"""How well a trained generator discovers: its yield, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discovery.generators.base import Generator, SamplingOptions
from discovery.metrics import LEVEL, RESAMPLES, generative_metrics, reduced
from discovery.validity import judge
from tune.supplies import Supplies

PER = 1000  # samples that rates refer to


@dataclass(frozen=True)
class Finds:
    """What raw samples hold; the two kinds share no composition.

    Predicting energies against the hull costs ten times as much as writing a sample, and recovered compounds are thirty
    times rarer than promising ones: so all samples are searched for the ones, the first of them for the others.
    """

    samples: int  # all
    judged: int  # the first ones
    promising: int  # among the judged: distinct, valid, new, predicted within the tolerance of the hull
    recovered: int  # among all: distinct held-out compounds

    @property
    def value(self) -> float:
        """The yield: geometric mean of promising and of recovered compositions per 1,000 samples.

        Both are wanted, and neither can buy the other: predicted energies alone reward odd stoichiometries that nobody
        has, recovery alone what is nearly known. In a geometric mean one percent more of either counts the same.
        """
        return PER * float(np.sqrt(self.promising / self.judged * self.recovered / self.samples))

    def interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """95 % percentile interval of a bootstrap: both counts are binomial.

        A repeated composition counts at its first sample (see `discovery.metrics.share`). The counts are drawn apart:
        that a sample of the one kind is none of the other ties them by less than a hundredth.
        """
        promising = rng.binomial(self.judged, self.promising / self.judged, size=RESAMPLES) / self.judged
        recovered = rng.binomial(self.samples, self.recovered / self.samples, size=RESAMPLES) / self.samples
        values = PER * np.sqrt(promising * recovered)
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def score(
    generator: Generator, supplies: Supplies, options: SamplingOptions, numbers: tuple[int, int], seed: int
) -> dict[str, float]:
    """Yield and all that it is made of.

    Args:
        generator: trained.
        supplies: held-out compounds and the judge.
        options: of the sampling.
        numbers: raw samples, and how many of them are judged by their energies, the first ones.
        seed: of the samples.
    """
    n, judged = numbers[0], min(numbers)
    rng = np.random.default_rng([seed, n])
    samples = generator.sample(n, rng, options)
    metrics = generative_metrics(samples, supplies.familiar, supplies.held_out)
    written = {formula for sample in samples[:judged] if (formula := reduced(sample)) is not None}
    new = {f for f in written - supplies.familiar - supplies.held_out if f not in supplies.judge.known}
    valid = sorted(formula for formula in new if judge(formula).accepted)
    finds = Finds(n, judged, supplies.judge.promising(valid), metrics.recovered)
    return {**described(finds, rng), **_rates(metrics), "new_valid": len(valid)}


def described(finds: Finds, rng: np.random.Generator) -> dict[str, float]:
    """The numbers of a trial's yield."""
    low, high = finds.interval(rng)
    return {
        "yield": finds.value,
        "yield_low": low,
        "yield_high": high,
        "promising": finds.promising,
        "recovered": finds.recovered,
        "samples": finds.samples,
        "judged": finds.judged,
        "promising_per_1000": PER * finds.promising / finds.judged,
        "recovered_per_1000": PER * finds.recovered / finds.samples,
    }


def _rates(metrics: object) -> Mapping[str, float]:
    names = ("charge_neutral", "electronegativity_balanced", "uniqueness", "novelty", "recovery")
    return {name: getattr(metrics, name) for name in names}
