"""What a search teaches beside its best trial: does early likelihood predict the goal, and which settings matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discovery.metrics import LEVEL
from tune.plan import Plan
from tune.records import Record, ranked

LOOKED_AT = (25.0, 50.0, 100.0)  # percent of the training; early stopping decides at the first two
FEWEST = 5  # trials below which nothing is said
RESAMPLES = 2000  # of the bootstrap over trials
TREES = 200
REPEATS = 10  # of each permutation


@dataclass(frozen=True)
class Foresight:
    """How well the loss at one point of the training orders the finished trials."""

    percent: float
    trials: int  # finished ones with both
    correlation: float  # Spearman's, of the loss and the goal; signed so that 1 is a perfect forecast
    low: float  # 95 % bootstrap interval over trials
    high: float


@dataclass(frozen=True)
class Importance:
    """How much a forecast of the goal loses when a setting is shuffled among trials."""

    name: str
    share: float  # of the sum over all settings; 0 where shuffling does not hurt
    std: float  # between repeated shufflings, same unit


def foresight(records: Sequence[Record], plan: Plan, rng: np.random.Generator) -> list[Foresight]:
    """Rank correlations of the loss during training with the goal; [] where fewer than `FEWEST` trials finished.

    Trials that were stopped early have no goal, so the range is cut where early stopping was at work: a lower bound.
    """
    finished = ranked(records, plan.goal)
    sign = 1.0 if plan.goal.mode == "min" else -1.0
    found = []
    for percent in LOOKED_AT:
        pairs = [(r.early(percent), sign * (r.value(plan.goal) or 0.0)) for r in finished]
        seen = np.array([pair for pair in pairs if pair[0] is not None], dtype=np.float64)
        if len(seen) >= FEWEST:
            found.append(Foresight(percent, len(seen), _spearman(seen), *_interval(seen, rng)))
    return found


def _spearman(pairs: NDArray[np.float64]) -> float:
    if min(len(np.unique(column)) for column in pairs.T) < 2:
        return 0.0  # no order to agree with
    return float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _interval(pairs: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    rows = rng.integers(len(pairs), size=(RESAMPLES, len(pairs)))
    low, high = np.quantile([_spearman(pairs[row]) for row in rows], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def importances(records: Sequence[Record], plan: Plan, seed: int) -> tuple[list[Importance], float]:
    """Permutation importance of each setting under a random forest (Breiman 2001), and its out-of-bag R2.

    An R2 of 0 or less says that the trials are too few to tell; ([], 0) with fewer than `FEWEST`.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    finished = ranked(records, plan.goal)
    if len(finished) < FEWEST:
        return [], 0.0
    names = [name for name in finished[0].config if len({r.config[name] for r in finished}) > 1]
    features = np.array([[_number(r.config[name], name, finished) for name in names] for r in finished])
    goal = np.array([r.value(plan.goal) for r in finished], dtype=np.float64)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=seed, min_samples_leaf=2).fit(features, goal)
    found = permutation_importance(forest, features, goal, n_repeats=REPEATS, random_state=seed)
    means = np.maximum(found.importances_mean, 0.0)
    total = means.sum() or 1.0
    rows = [
        Importance(name, float(mean / total), float(std / total))
        for name, mean, std in zip(names, means, found.importances_std, strict=True)
    ]
    return sorted(rows, key=lambda row: -row.share), float(forest.oob_score_)


def _number(value: object, name: str, records: Sequence[Record]) -> float:
    """Numbers as they are (a forest sees their order alone); words by their place in the alphabet."""
    if isinstance(value, str):
        return float(sorted({str(r.config[name]) for r in records}).index(value))
    return float(str(value))
