"""A judge of stability that learns how far its clues can be trusted, and a rule that weighs it against the likelihood.

The surrogate's own probability of stability is too sure of the candidates that it ranks first: picking the best of
thousands picks its largest errors, and a hull that lacks phases makes compounds look far too stable. Known compounds
that the surrogate was not trained on show how far both can be trusted: a random forest learns from them (stacked
generalisation: Wolpert, Neural Netw. 5, 241 (1992); Breiman, Mach. Learn. 45, 5 (2001)), and from the labels as they
come in. What is likely to exist enters beside it with a weight that the labels correct (`fitted_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr, logit

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

FloatArray = NDArray[np.float64]

TREES = 200
LEAF = 5  # compounds in a leaf at least: its share of stable ones is a probability, not a verdict
LABEL_WEIGHT = 3.0  # of a label of this campaign against one of a known compound: it is of the kind that is asked for
SURE = 1e-4  # probabilities are kept this far from 0 and 1
MIN_STD = 1e-6  # eV/atom
PRIOR_STD = (0.5, 0.25, 0.1)  # of the weights of log-odds, log-likelihood (per nat) and atoms before any label
PRIOR_BIAS_STD = 5.0
NEWTON_STEPS = 50


def log_stability(above_hull: FloatArray, std: FloatArray, tolerance: float) -> FloatArray:
    """Log-probability of lying within the tolerance, of energies above hull with normal errors, eV/atom."""
    return np.asarray(log_ndtr((tolerance - above_hull) / np.maximum(std, MIN_STD)))


@dataclass(frozen=True)
class Clues:
    """What is known of n compositions before they are measured; arrays of shape (n,)."""

    above_hull: FloatArray  # predicted energy above the hull without the composition, eV/atom
    std: FloatArray  # of it, eV/atom
    formation_energy: FloatArray  # predicted, eV/atom
    log_prior: FloatArray  # log-likelihood under the language model, nats; NaN: there is none
    atoms: FloatArray  # per reduced formula unit
    elements: FloatArray  # distinct ones

    def __len__(self) -> int:
        return len(self.above_hull)

    def rows(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Clues:
        """The clues of some of the compositions."""
        return Clues(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, other: Clues) -> Clues:
        """These, then the other ones."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Clues(*(np.concatenate(pair) for pair in pairs))

    def log_stability(self, tolerance: float) -> FloatArray:
        """Log-probability that the surrogate itself gives to lying within the tolerance."""
        return log_stability(self.above_hull, self.std, tolerance)

    def matrix(self, tolerance: float) -> FloatArray:
        """Columns for the forest, shape (n, 9); energies are clipped where more tells nothing new."""
        prior = np.nan_to_num(self.log_prior)
        excess = self.above_hull - tolerance
        columns = (
            self.log_stability(tolerance),
            np.clip(excess, -0.5, 0.5),
            np.clip(excess, -0.1, 0.1),
            self.std,
            self.formation_energy,
            prior,
            prior / (self.atoms + 1.0),  # per token: atoms and the end
            self.atoms,
            self.elements,
        )
        return np.column_stack(columns)


@dataclass(frozen=True)
class Examples:
    """Compositions whose stability is known."""

    clues: Clues  # from a surrogate that was not trained on them
    stable: NDArray[np.bool_]  # shape (n,); a call that failed counts as not stable


@dataclass(frozen=True)
class Judge:
    """What has learned how far clues can be trusted."""

    forest: RandomForestClassifier | None  # None: nothing to learn from; the surrogate's own probability stands
    tolerance: float  # energy above hull that counts as stable, eV/atom

    def odds(self, candidates: Clues) -> FloatArray:
        """Log-odds of stability of each candidate, shape (n,)."""
        if self.forest is None or len(candidates) == 0:
            return log_odds(np.exp(candidates.log_stability(self.tolerance)))
        return log_odds(self.forest.predict_proba(candidates.matrix(self.tolerance))[:, 1])


def trained_judge(known: Examples, asked: Examples | None, tolerance: float, seed: int) -> Judge:
    """A judge that learned from examples; where all of them are of one kind there is nothing to learn.

    Args:
        known: compounds of the reference that the surrogate was not trained on.
        asked: this campaign's answers, with the clues as they were before the answer; None: not to be learned from.
        tolerance: energy above hull that counts as stable, eV/atom.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    clues, stable, weights = known.clues, known.stable, np.ones(len(known.stable))
    if asked is not None:
        clues, stable = clues.joined(asked.clues), np.concatenate([stable, asked.stable])
        weights = np.concatenate([weights, np.full(len(asked.stable), LABEL_WEIGHT)])
    if stable.all() or not stable.any():
        return Judge(None, tolerance)
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed, n_jobs=1)
    return Judge(forest.fit(clues.matrix(tolerance), stable, sample_weight=weights), tolerance)


def judge(known: Examples, asked: Examples, candidates: Clues, tolerance: float, seed: int) -> FloatArray:
    """Log-odds of stability of each candidate, shape (n,); see `trained_judge`."""
    return trained_judge(known, asked, tolerance, seed).odds(candidates)


def log_odds(probability: FloatArray) -> FloatArray:
    """Finite for every probability from 0 to 1."""
    return np.asarray(logit(np.clip(probability, SURE, 1.0 - SURE)))


@dataclass(frozen=True)
class Weights:
    """How much each expert counts: value = odds * log-odds + prior * log-likelihood + size * atoms."""

    odds: float
    prior: float
    size: float
    bias: float = 0.0  # what the labels add to the value to make log-odds of it

    def value(self, log_odds: FloatArray, log_prior: FloatArray, atoms: FloatArray) -> FloatArray:
        """Log-desirability, shape (n,); a missing likelihood counts as the lowest."""
        return self.odds * log_odds + self.prior * filled(log_prior) + self.size * atoms


def filled(log_prior: FloatArray) -> FloatArray:
    """Log-likelihoods with the lowest one in the place of missing ones; zeros where all are missing."""
    missing = np.isnan(log_prior)
    if missing.all():
        return np.zeros(len(log_prior))
    return np.where(missing, np.nanmin(log_prior), log_prior)


def fitted_weights(odds: FloatArray, asked: Examples, prior_weight: float) -> Weights:
    """Weights of a product of experts (Hinton, Neural Comput. 14, 1771 (2002)), corrected by the labels.

    Logistic regression of the labels on log-odds, log-likelihood and atoms with a normal prior around
    (1, `prior_weight`, 0), the product of experts itself: no label leaves it as it is, many labels find their own
    weights. The mode of the posterior by Newton's method; the problem is concave, so there is one.

    Args:
        odds: log-odds of the asked ones by a judge that has not seen their labels, shape (n,).
        asked: their clues and labels.
        prior_weight: of the log-likelihood before any label.
    """
    mean = np.array([1.0, prior_weight, 0.0, 0.0])
    if len(odds) == 0:
        return Weights(*mean[:3].tolist())
    columns = np.column_stack([odds, filled(asked.clues.log_prior), asked.clues.atoms])
    centred = np.column_stack([columns - columns.mean(axis=0), np.ones(len(odds))])
    found = map_logistic(centred, asked.stable, mean, np.array([*PRIOR_STD, PRIOR_BIAS_STD]))
    kept = np.maximum(found[:3], [0.0, 0.0, -np.inf])  # no expert counts against itself
    odds_weight, prior, size = kept.tolist()
    return Weights(odds_weight, prior, size, bias=float(found[3] - columns.mean(axis=0) @ kept))


def map_logistic(
    columns: FloatArray, labels: NDArray[np.bool_], mean: FloatArray, std: FloatArray
) -> NDArray[np.float64]:
    """Mode of the posterior of logistic regression with independent normal priors, shape (columns,)."""
    precision = 1.0 / std**2
    weights = mean.copy()
    for _ in range(NEWTON_STEPS):
        chance = expit(columns @ weights)
        gradient = columns.T @ (labels - chance) - precision * (weights - mean)
        curvature = (columns * (chance * (1.0 - chance))[:, None]).T @ columns + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-10:
            break
    return weights
