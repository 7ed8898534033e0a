"""How quickly stable compounds are found: curves of found against calls, and what is read from them.

A run is the energies above hull that its oracle calls gave, in the order of the calls (NaN: a call without an answer).
AF, EF and DAF are used as in the field: AF as in benchmarks of self-driving laboratories, EF as in virtual screening,
DAF as in Matbench Discovery (Riebesell et al., Nat. Mach. Intell. 7, 836 (2025)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
TOLERANCES = (0.1, 0.05, 0.025, 0.0)  # eV/atom above the complete hull that still count as stable
RESAMPLES = 2000  # of the bootstrap
LEVEL = 0.95  # of all intervals


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % percentile interval over seeds (and systems)."""

    value: float
    low: float
    high: float


def found(energies: FloatArray, tolerance: float) -> NDArray[np.int64]:
    """Stable compounds found after each call, shape (calls,)."""
    return np.cumsum(np.nan_to_num(energies, nan=np.inf) <= tolerance)


def calls_needed(energies: FloatArray, tolerance: float, k: int) -> float:
    """Calls until `k` stable compounds are found; infinite where the run ends before."""
    curve = found(energies, tolerance)
    place = int(np.searchsorted(curve, k))
    return float(place + 1) if place < len(curve) else math.inf


def random_calls_needed(k: int, stable: int, pool: int) -> float:
    """Expected calls of picking by chance without repetition until `k` of `stable` in `pool` are found.

    Mean of the negative hypergeometric distribution: k (pool + 1) / (stable + 1); infinite where k > stable.
    """
    return k * (pool + 1) / (stable + 1) if k <= stable else math.inf


def acceleration(loop: Sequence[float], baseline: Sequence[float]) -> float:
    """AF(k): median calls of the baseline / median calls of the loop, each over its runs (`calls_needed`).

    Infinite: half of the baseline's runs or more end before k; NaN: half of the loop's do.
    """
    ours, theirs = float(np.median(loop)), float(np.median(baseline))
    return math.nan if math.isinf(ours) else theirs / ours


def enrichment(loop: Sequence[float], baseline: Sequence[float]) -> float:
    """EF(B): mean number found in B calls by the loop / by the baseline; infinite where the baseline finds none."""
    ours, theirs = float(np.mean(loop)), float(np.mean(baseline))
    if theirs > 0:
        return ours / theirs
    return math.inf if ours > 0 else math.nan


def discovery_acceleration(energies: FloatArray, tolerance: float, prevalence: float) -> float:
    """DAF: share of stable ones among the calls / their share in the pool."""
    return float(found(energies, tolerance)[-1]) / len(energies) / prevalence


def largest_daf(stable: int, pool: int, calls: int) -> float:
    """DAF of a perfect choice."""
    return min(stable, calls) / calls / (stable / pool)


def audc(energies: FloatArray, tolerance: float, stable: int) -> float:
    """Area under found against calls / that of a perfect run (each call finds one until all are found): 1 at most."""
    best = np.minimum(np.arange(1, len(energies) + 1), stable).sum()
    return float(found(energies, tolerance).sum() / best) if best else math.nan


def bootstrap(groups: Sequence[Sequence[float]], statistic: Callable[..., float], rng: np.random.Generator) -> Interval:
    """A statistic of one or several lists of runs, with the interval from resampling each list on its own.

    Resamples on which the statistic does not exist (NaN) are left out; NaN bounds: it exists on none.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    drawn = [
        statistic(*(array[rng.integers(len(array), size=len(array))] for array in arrays)) for _ in range(RESAMPLES)
    ]
    existing = np.array([value for value in drawn if not math.isnan(value)])
    value = statistic(*arrays)
    if not len(existing):
        return Interval(value, math.nan, math.nan)
    # "lower" and "higher" take drawn values themselves: between a number and infinity nothing can be interpolated
    low = float(np.quantile(existing, (1 - LEVEL) / 2, method="lower"))
    high = float(np.quantile(existing, (1 + LEVEL) / 2, method="higher"))
    return Interval(value, low, high)


def mean_interval(values: Sequence[float], rng: np.random.Generator) -> Interval:
    """Mean of runs with its interval."""
    return bootstrap([values], lambda drawn: float(np.mean(drawn)), rng)


def curve_interval(curves: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, low and high of curves of shape (runs, calls), point by point, each of shape (calls,)."""
    drawn = rng.integers(len(curves), size=(RESAMPLES, len(curves)))
    weights = np.stack([np.bincount(row, minlength=len(curves)) for row in drawn]) / len(curves)
    means = weights @ curves  # (resamples, calls)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return curves.mean(axis=0), low, high
