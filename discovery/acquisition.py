"""Which candidates are worth an oracle call: pure functions of predictions.

Each acquisition turns energies above hull (mean and standard deviation, eV/atom) into a *log-desirability*, larger is
better, so that the generator's log-likelihood can be added as a prior (a product of experts: Hinton, Neural Comput. 14,
1771 (2002)). Energies that are no probabilities enter as Boltzmann factors exp(-E / TEMPERATURE).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

FloatArray = NDArray[np.float64]

TEMPERATURE = 0.05  # eV/atom: half the usual tolerance; differences below it hardly matter
MIN_STD = 1e-6  # eV/atom: keeps divisions finite where a prediction claims to be exact
CONFIDENCE = 1.0  # standard deviations that the lower confidence bound is optimistic by


@dataclass(frozen=True)
class Beliefs:
    """What is believed of n candidates; arrays of shape (n,), eV/atom."""

    mean: FloatArray  # energy above hull
    std: FloatArray
    best: float  # lowest energy above hull measured so far, or the tolerance where nothing has been measured
    tolerance: float  # energy above hull that still counts as stable
    log_odds: FloatArray | None = None  # of stability, by a judge that learned from labels (`discovery.judging`)


def expected_improvement(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """Logarithm of the expected amount by which a candidate undercuts `best` (Jones et al., J. Glob. Optim. 13, 455).

    Computed in logarithms, since far above the best the plain value underflows (Ament et al., NeurIPS 2023, eq. 9).
    """
    del rng
    std = np.maximum(beliefs.std, MIN_STD)
    return np.log(std) + _log_h((beliefs.best - beliefs.mean) / std)


def _log_h(z: FloatArray) -> FloatArray:
    """log(phi(z) + z Phi(z)), phi and Phi the normal density and distribution.

    With the scaled complementary error function, Phi(z) / phi(z) = sqrt(pi/2) erfcx(-z / sqrt(2)) does not underflow.
    Below -50 the two terms cancel to fewer than 12 digits; there the asymptotic series phi(z) / z^2 (1 - 3/z^2) serves.
    """
    log_phi = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    above = np.maximum(z, 0.0)
    plain = np.log(np.exp(-0.5 * above**2) / np.sqrt(2 * np.pi) + above * ndtr(above))
    below = np.clip(z, -50.0, 0.0)
    scaled = log_phi + np.log1p(below * np.sqrt(np.pi / 2) * erfcx(-below / np.sqrt(2)))
    square = np.maximum(z**2, 2500.0)
    series = log_phi - np.log(square) + np.log1p(-3 / square)
    return np.asarray(np.where(z >= 0, plain, np.where(z > -50.0, scaled, series)))


def expected_depth(mean: FloatArray, std: FloatArray, tolerance: float) -> FloatArray:
    """Log of how far below the tolerance a candidate is expected to lie if it is stable, eV/atom, shape (n,).

    Added to a log-probability of stability, whoever gave it, it makes the expected improvement below the hull of it.
    """
    z = (tolerance - mean) / np.maximum(std, MIN_STD)
    return np.asarray(np.log(np.maximum(std, MIN_STD)) + _log_h(z) - log_ndtr(z))


def probability_of_stability(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """Log-probability that the energy above hull lies within the tolerance."""
    del rng
    return np.asarray(log_ndtr((beliefs.tolerance - beliefs.mean) / np.maximum(beliefs.std, MIN_STD)))


def judged(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """Log-odds of a judge that knows how far such predictions can be trusted; without one, of the predictions."""
    if beliefs.log_odds is not None:
        return beliefs.log_odds
    log_stable = probability_of_stability(beliefs, rng)
    log_unstable = log_ndtr((beliefs.mean - beliefs.tolerance) / np.maximum(beliefs.std, MIN_STD))
    return np.asarray(log_stable - log_unstable)


def lower_confidence_bound(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """Optimistic energy, `CONFIDENCE` standard deviations below the mean (Srinivas et al., ICML 2010)."""
    del rng
    return -(beliefs.mean - CONFIDENCE * beliefs.std) / TEMPERATURE


def greedy(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """The mean alone."""
    del rng
    return -beliefs.mean / TEMPERATURE


def thompson(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """One draw from each candidate's distribution (Thompson, Biometrika 25, 285 (1933))."""
    return -(beliefs.mean + beliefs.std * rng.standard_normal(beliefs.mean.shape)) / TEMPERATURE


def random(beliefs: Beliefs, rng: np.random.Generator) -> FloatArray:
    """Nothing but chance; the prior is not added to it."""
    return rng.standard_normal(beliefs.mean.shape)


Acquisition = Callable[[Beliefs, np.random.Generator], FloatArray]

JUDGED = "judged"  # the one that needs a judge, and competing phases that the reference implies

ACQUISITIONS: dict[str, Acquisition] = {
    "stability": probability_of_stability,
    JUDGED: judged,
    "ei": expected_improvement,
    "lcb": lower_confidence_bound,
    "greedy": greedy,
    "thompson": thompson,
    "random": random,
}


def score(
    name: str, beliefs: Beliefs, log_prior: FloatArray, prior_weight: float, rng: np.random.Generator
) -> FloatArray:
    """Log-desirability of each candidate, shape (n,): acquisition plus weighted log-prior.

    Args:
        name: a key of `ACQUISITIONS`.
        beliefs: predictions of the n candidates.
        log_prior: log-likelihood of each under the generator, shape (n,); NaN (there is none) counts as the lowest.
        prior_weight: 0 ignores the prior.
        rng: used by Thompson sampling and random selection.
    """
    value = ACQUISITIONS[name](beliefs, rng)
    if name == "random" or prior_weight == 0 or np.isnan(log_prior).all():
        return value
    filled = np.where(np.isnan(log_prior), np.nanmin(log_prior), log_prior)
    return value + prior_weight * filled


def select_batch(scores: FloatArray, systems: Sequence[str], size: int, max_per_system: int) -> list[int]:
    """Indices of a diverse batch: best first, at most `max_per_system` of one chemical system.

    Where that leaves the batch short, the best of the passed-over ones fill it. Ties go to the lower index.
    """
    order = [int(i) for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
    taken: list[int] = []
    passed: list[int] = []
    counts: dict[str, int] = {}
    for index in order:
        if len(taken) == size:
            break
        if counts.get(systems[index], 0) < max_per_system:
            taken.append(index)
            counts[systems[index]] = counts.get(systems[index], 0) + 1
        else:
            passed.append(index)
    return taken + passed[: size - len(taken)]
