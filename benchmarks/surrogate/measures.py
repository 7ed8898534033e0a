"""Errors of formation energies, and how well "stable" is told from "unstable", with bootstrap intervals.

A resample of the rows is a vector of counts, so that all resamples of a figure are one product of arrays; the rows that
are drawn depend on the seed alone, and every model is judged by the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.surrogates import calibration
from discovery.surrogates.base import Prediction, Surrogate

RESAMPLES = 500
TOP = 0.1  # share of the compositions, the most stable ones by prediction
TENTHS = 10
DISTANCES = (-0.1, 0.0, 0.05, 0.1, 0.2, 0.5)  # edges of the bands of decomposition energy, eV/atom; upper ones belong
FloatArray = NDArray[np.float64]
Figures = dict[str, object]


def errors(predicted: FloatArray, true: FloatArray, seed: int = 0) -> Figures:
    """MAE and RMSE (eV/atom) and R2, with intervals."""
    difference = predicted - true

    def values(counts: FloatArray) -> dict[str, FloatArray]:
        n = counts.sum(axis=1)
        squares = counts @ np.square(difference)
        variation = counts @ np.square(true) - np.square(counts @ true) / n
        mae = counts @ np.abs(difference) / n
        # R2 means nothing where all labels are equal
        r2 = 1.0 - np.divide(squares, variation, out=np.full(len(n), np.nan), where=variation > 0)
        return {"mae": mae, "rmse": np.sqrt(squares / n), "r2": r2}

    return {"n": len(true), **_with_intervals(values(np.ones((1, len(true)))), values(resamples(len(true), seed)))}


def stability(predicted: FloatArray, true: FloatArray, seed: int = 0) -> Figures:
    """Decomposition energies (eV/atom; stable: at most 0) as a classification and as a ranking, with intervals."""
    found, real = predicted <= 0, true <= 0
    cells = {"tp": found & real, "fp": found & ~real, "fn": ~found & real, "tn": ~found & ~real}

    def values(counts: FloatArray) -> dict[str, FloatArray]:
        weights = {name: counts @ cell for name, cell in cells.items()}
        return {
            "mae": counts @ np.abs(predicted - true) / counts.sum(axis=1),
            **_rates(weights),
            "auc": _auc(predicted, real, counts),
            "precision_top10": _top(predicted, real, counts),
        }

    exact = {name: int(cell.sum()) for name, cell in cells.items()}
    measured = _with_intervals(values(np.ones((1, len(true)))), values(resamples(len(true), seed)))
    return {"n": len(true), **exact, **measured}


def decided(scores: FloatArray, true: FloatArray, validation: tuple[FloatArray, FloatArray]) -> Figures:
    """Figures of "stable" by a rule: scores at or below the threshold of the largest F1 on the validation rows.

    A decomposition energy of exactly 0 is the best threshold for nobody: what lies close to the hull is likelier stable
    the less a model knows (Lipton et al., ECML PKDD 2014: the best threshold of a probability is half of the F1 that it
    reaches).

    Args:
        scores: of the test rows, the lower the likelier stable: eV/atom, or minus a probability.
        true: their decomposition energies, eV/atom.
        validation: both for the validation rows.
    """
    threshold = best_threshold(validation[0], validation[1] <= 0)
    figures = stability(scores - threshold, true)
    return {"threshold": threshold} | {name: value for name, value in figures.items() if not name.startswith("mae")}


def best_threshold(scores: FloatArray, stable: NDArray[np.bool_]) -> float:
    """Largest score that is still called stable where F1 is largest; ties: the lowest such threshold."""
    order = np.argsort(scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(stable[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + stable.sum())
    last = np.append(ordered[1:] > ordered[:-1], True)  # equal scores are called alike
    return float(ordered[np.flatnonzero(last)[np.argmax(f1[last])]])


def by_distance(predicted: FloatArray, true: FloatArray, decomposition: FloatArray) -> list[Figures]:
    """Where the error lies: in bands of the true decomposition energy, from far below the hull to far above it.

    Args:
        predicted: formation energies, eV/atom, shape (n,).
        true: the same, of the labels.
        decomposition: of the labels, eV/atom.

    Returns:
        For each band its `edges` (None: open), `n`, `mae` (eV/atom; None without rows) and `share_of_error`.
    """
    error = np.abs(predicted - true)
    band = np.searchsorted(DISTANCES, decomposition, side="left")
    edges = [None, *DISTANCES, None]
    found: list[Figures] = []
    for number in range(len(DISTANCES) + 1):
        part = error[band == number]
        mae = float(part.mean()) if len(part) else None
        share = float(part.sum() / error.sum()) if error.any() else 0.0
        found.append({"edges": edges[number : number + 2], "n": len(part), "mae": mae, "share_of_error": share})
    return found


def mixture(own: FloatArray, other: FloatArray, true: FloatArray, chosen: NDArray[np.bool_]) -> Figures:
    """What a second model knows that the first does not: the error of both, mixed with the best constant weight.

    Args:
        own: predicted formation energies, eV/atom, shape (n,).
        other: of the second model.
        true: of the labels.
        chosen: rows that the weight is chosen on, shape (n,); the error is that of the others.

    Returns:
        `weight` of the second model (0 to 1), `mae` of the mixture and `mae_alone` of the first model, eV/atom.
    """
    weights = np.linspace(0.0, 1.0, 101)
    error = np.abs(own + weights[:, None] * (other - own) - true)  # (weights, n)
    best = int(error[:, chosen].mean(axis=1).argmin())
    kept = error[:, ~chosen].mean(axis=1)
    return {"weight": float(weights[best]), "mae": float(kept[best]), "mae_alone": float(kept[0])}


def uncertainty(surrogate: Surrogate, scheme: str, prediction: Prediction, true: FloatArray) -> Figures:
    """Coverage of the central intervals, miscalibration area, and mean error in each tenth of the predicted std.

    Args:
        surrogate: knows how wide an interval is.
        scheme: of the energies.
        prediction: of the compositions that `true` (eV/atom) belongs to.
        true: labels, eV/atom.
    """
    error, std = np.abs(prediction.mean - true), prediction.std
    inside = {level: error <= surrogate.interval(scheme, level) * std for level in calibration.LEVELS}
    drawn = resamples(len(true), 0)
    levels = np.linspace(0.005, 0.995, 199)
    observed = np.array([(error <= surrogate.interval(scheme, float(level)) * std).mean() for level in levels])
    order = np.array_split(np.argsort(std, kind="stable"), min(TENTHS, len(std)))
    return {
        "coverage": {str(level): float(hit.mean()) for level, hit in inside.items()},
        "coverage_interval": {str(level): _interval(drawn @ hit / len(true)) for level, hit in inside.items()},
        "miscalibration_area": float(np.trapezoid(np.abs(observed - levels), levels)),
        "mean_std_and_error_by_tenth": [[float(std[part].mean()), float(error[part].mean())] for part in order],
    }


def top_precision(predicted: FloatArray, stable: NDArray[np.bool_]) -> float:
    """Share of truly stable ones among the tenth of lowest predicted decomposition energy."""
    return float(_top(predicted, stable, np.ones((1, len(predicted))))[0])


def own_hull(formulas: tuple[str, ...], predicted: FloatArray, rows: NDArray[np.int64]) -> FloatArray:
    """Decomposition energies of some rows, eV/atom, against the hull of the *predicted* energies of all.

    Bartel et al., npj Comput. Mater. 6, 97 (2020): errors of a compound and of its competitors enter both.
    """
    phases = [Phase(formula, float(energy)) for formula, energy in zip(formulas, predicted, strict=True)]
    hull = Hull(phases, "predicted")
    return hull.energies_above_hull([formulas[row] for row in rows], predicted[rows])


@lru_cache(maxsize=1)
def resamples(n: int, seed: int) -> FloatArray:
    """How often each of n rows occurs in each bootstrap sample, shape (`RESAMPLES`, n)."""
    rng = np.random.default_rng(seed)
    counts = np.empty((RESAMPLES, n))
    for row in counts:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return counts


def _with_intervals(value: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray]) -> Figures:
    """Each figure, and beside it its 95 % interval; None where it has no value, such as an AUC without stable rows."""
    measured: Figures = {}
    for name, exact in value.items():
        known = bool(np.isfinite(exact[0]))
        measured[name] = float(exact[0]) if known else None
        measured[f"{name}_interval"] = _interval(drawn[name]) if known else None
    return measured


def _interval(drawn: FloatArray) -> list[float]:
    """95 % interval by bootstrap over the rows (percentiles)."""
    return [float(edge) for edge in np.nanpercentile(drawn, (2.5, 97.5))]


def _rates(cells: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    tp, fp, fn, tn = (cells[name] for name in ("tp", "fp", "fn", "tn"))
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "fpr": _ratio(fp, fp + tn),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
    }


def _ratio(count: FloatArray, of: FloatArray) -> FloatArray:
    return np.divide(count, of, out=np.zeros_like(count), where=of > 0)


def _auc(predicted: FloatArray, stable: NDArray[np.bool_], counts: FloatArray) -> FloatArray:
    """Probability that a stable row is predicted lower than an unstable one, a tie counting half, per resample."""
    values, group = np.unique(predicted, return_inverse=True)
    areas = np.full(len(counts), np.nan)
    for number, count in enumerate(counts):
        good, bad = (np.bincount(group, count * kind, len(values)) for kind in (stable, ~stable))
        if good.any() and bad.any():
            above = bad.sum() - np.cumsum(bad)  # unstable ones that are predicted higher
            areas[number] = good @ (above + 0.5 * bad) / (good.sum() * bad.sum())
    return areas


def _top(predicted: FloatArray, stable: NDArray[np.bool_], counts: FloatArray) -> FloatArray:
    """Share of stable rows among the tenth predicted lowest, per resample."""
    chosen = max(1, round(TOP * len(predicted)))
    order = np.argsort(predicted, kind="stable")
    sorted_counts = counts[:, order]
    before = np.cumsum(sorted_counts, axis=1) - sorted_counts
    taken = np.clip(chosen - before, 0, sorted_counts)
    share: FloatArray = taken @ stable[order] / chosen
    return share
