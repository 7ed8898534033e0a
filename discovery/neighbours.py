"""What the labels of a campaign say about their neighbours, and batches that count it before the labels are known.

A judge of stability (`discovery.judging`) knows nothing of a chemical system. Its log-odds are the mean of a Gaussian
process whose covariance falls with the distance of compositions; each label moves its neighbours (classification by
Laplace's approximation: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithms 3.1, 3.2).
A batch is chosen one by one: the more a pick says about the others, the less they are worth asking beside it
(hallucinated labels: Desautels et al., J. Mach. Learn. Res. 15, 3873 (2014)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import expit

from discovery.composition import SYMBOLS

FloatArray = NDArray[np.float64]

SPREAD = 1.0  # nats: how far the log-odds of a composition may lie from its judge's
SHARPNESS = 3  # power of the similarity: about 0.2 for a shared pair of elements, 0.7 for the next stoichiometry
BIAS_STD = 3.0  # nats: a judge may be wrong about all of them alike
OPTIMISM = 0.5  # standard deviations that a pick is optimistic by
NEWTON_STEPS = 30
PART = 5000  # candidates whose covariance with the labels is held at once
INDEX = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def fractions_of(compositions: Sequence[Mapping[str, int]]) -> FloatArray:
    """Atomic fractions, shape (n, elements)."""
    found = np.zeros((len(compositions), len(SYMBOLS)))
    for row, counts in enumerate(compositions):
        found[row, [INDEX[symbol] for symbol in counts]] = list(counts.values())
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def similarity(one: FloatArray, other: FloatArray) -> FloatArray:
    """From 0 (no shared element) to 1 (equal), shape (n, m): shared over all atoms, to the power of `SHARPNESS`.

    Shared / all = sum of the smaller / sum of the larger fractions, a kernel (Ruzicka), as is its power.
    """
    shared = 1.0 - cdist(one, other, "cityblock") / 2.0
    return np.asarray((shared / (2.0 - shared)) ** SHARPNESS)


def covariance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of the log-odds, nats squared, shape (n, m)."""
    return SPREAD**2 * similarity(one, other) + BIAS_STD**2


@dataclass(frozen=True)
class Latent:
    """Log-odds of n candidates after the labels."""

    mean: FloatArray  # nats, shape (n,)
    covariance: FloatArray  # nats squared, shape (n, n)


@dataclass(frozen=True)
class Labelled:
    """Compositions whose stability is known by now."""

    fractions: FloatArray  # (n, elements)
    log_odds: FloatArray  # of a judge that has not seen their labels, shape (n,)
    stable: NDArray[np.bool_]


def informed(labelled: Labelled, fractions: FloatArray, log_odds: FloatArray) -> Latent:
    """What the labels make of the candidates' log-odds; without labels they stay as they are."""
    prior = covariance(fractions, fractions)
    if len(labelled.stable) == 0:
        return Latent(log_odds, prior)
    between = covariance(labelled.fractions, labelled.fractions)
    chance = _chance(between, labelled)
    root = np.sqrt(chance * (1.0 - chance))
    cross = covariance(labelled.fractions, fractions)
    explained = solve_triangular(np.linalg.cholesky(_system(between, root)), root[:, None] * cross, lower=True)
    return Latent(log_odds + cross.T @ (labelled.stable - chance), prior - explained.T @ explained)


def shifts(labelled: Labelled, fractions: FloatArray) -> FloatArray:
    """By how much the labels move the log-odds of n candidates, nats, shape (n,): `informed` without its covariance.

    Time and memory are linear in n (candidates are taken in parts).
    """
    moved = np.zeros(len(fractions))
    if len(labelled.stable) == 0:
        return moved
    surprise = labelled.stable - _chance(covariance(labelled.fractions, labelled.fractions), labelled)
    for start in range(0, len(fractions), PART):
        part = slice(start, start + PART)
        moved[part] = surprise @ covariance(labelled.fractions, fractions[part])
    return moved


def _chance(prior: FloatArray, labelled: Labelled) -> FloatArray:
    """Chance of stability at the most probable departure from the judge's log-odds, found by Newton steps."""
    departure = np.zeros(len(labelled.stable))
    for _ in range(NEWTON_STEPS):
        chance = expit(labelled.log_odds + departure)
        weight = chance * (1.0 - chance)
        root = np.sqrt(weight)
        target = weight * departure + (labelled.stable - chance)
        factor = cho_factor(_system(prior, root), lower=True)
        before = departure
        departure = prior @ (target - root * cho_solve(factor, root * (prior @ target)))
        if np.abs(departure - before).max() < 1e-6:
            break
    return np.asarray(expit(labelled.log_odds + departure))


def _system(prior: FloatArray, root: FloatArray) -> FloatArray:
    """I + W^1/2 K W^1/2: well conditioned whatever the covariance is."""
    return np.asarray(np.eye(len(root)) + root[:, None] * prior * root[None, :])


def joint_batch(latent: Latent, size: int, optimism: float = OPTIMISM) -> list[int]:
    """Rows of a batch, in the order of choice: the best optimistic log-odds, after what the earlier picks will say.

    A label of chance p says as much as a measurement of the log-odds with variance 1 / (p (1 - p)).
    """
    variance = latent.covariance.diagonal().copy()
    left = np.ones(len(latent.mean), dtype=bool)
    known = np.zeros((0, len(latent.mean)))
    chosen: list[int] = []
    for _ in range(min(size, len(latent.mean))):
        value = latent.mean + optimism * np.sqrt(np.maximum(variance, 0.0))
        row = int(np.argmax(np.where(left, value, -np.inf)))
        chosen.append(row)
        left[row] = False
        chance = float(np.clip(expit(latent.mean[row]), 1e-3, 1.0 - 1e-3))
        noise = 1.0 / (chance * (1.0 - chance))
        told = (latent.covariance[row] - known[:, row] @ known) / np.sqrt(max(variance[row], 0.0) + noise)
        known = np.vstack([known, told])
        variance = variance - told**2
    return chosen
