"""Errors of formation energies, and how well "stable" is told from "unstable", with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from discovery.hull import Hull
from discovery.reference.base import Phase

RESAMPLES = 500
TOP = 0.1  # share of the compositions, the most stable ones by prediction
FloatArray = NDArray[np.float64]


def errors(predicted: FloatArray, true: FloatArray, seed: int = 0) -> dict[str, object]:
    """MAE with its 95 % interval, RMSE (eV/atom) and R2."""
    difference = predicted - true
    return {
        "n": len(true),
        "mae": float(np.abs(difference).mean()),
        "mae_interval": interval(lambda rows: float(np.abs(difference[rows]).mean()), len(true), seed),
        "rmse": float(np.sqrt(np.square(difference).mean())),
        "r2": float(1.0 - np.square(difference).sum() / np.square(true - true.mean()).sum()),
    }


def stability(predicted: FloatArray, true: FloatArray, seed: int = 0) -> dict[str, object]:
    """Decomposition energies (eV/atom; stable: at most 0) as a classification and as a ranking."""
    found, real = predicted <= 0, true <= 0
    counts = {
        "tp": int((found & real).sum()),
        "fp": int((found & ~real).sum()),
        "fn": int((~found & real).sum()),
        "tn": int((~found & ~real).sum()),
    }
    f1 = interval(lambda rows: _f1(found[rows], real[rows]), len(true), seed)
    top = interval(lambda rows: top_precision(predicted[rows], real[rows]), len(true), seed)
    both = 0 < real.sum() < len(real)
    return {
        "n": len(true),
        "mae": float(np.abs(predicted - true).mean()),
        **counts,
        **_rates(counts),
        "f1_interval": f1,
        "auc": float(roc_auc_score(real, -predicted)) if both else None,
        "precision_top10": top_precision(predicted, real),
        "precision_top10_interval": top,
    }


def top_precision(predicted: FloatArray, stable: NDArray[np.bool_]) -> float:
    """Share of truly stable ones among the tenth of lowest predicted decomposition energy."""
    chosen = np.argsort(predicted, kind="stable")[: max(1, round(TOP * len(predicted)))]
    return float(stable[chosen].mean())


def own_hull(formulas: tuple[str, ...], predicted: FloatArray, rows: NDArray[np.int64]) -> FloatArray:
    """Decomposition energies of some rows, eV/atom, against the hull of the *predicted* energies of all.

    Bartel et al., npj Comput. Mater. 6, 97 (2020): errors of a compound and of its competitors enter both.
    """
    phases = [Phase(formula, float(energy)) for formula, energy in zip(formulas, predicted, strict=True)]
    hull = Hull(phases, "predicted")
    return hull.energies_above_hull([formulas[row] for row in rows], predicted[rows])


def interval(value: Callable[[NDArray[np.int64]], float], n: int, seed: int) -> list[float]:
    """95 % interval by bootstrap over the rows (percentiles)."""
    rng = np.random.default_rng(seed)
    drawn = [value(rng.integers(n, size=n)) for _ in range(RESAMPLES)]
    return [float(edge) for edge in np.percentile(drawn, (2.5, 97.5))]


def _rates(counts: Mapping[str, int]) -> dict[str, float]:
    tp, fp, fn, tn = (counts[name] for name in ("tp", "fp", "fn", "tn"))
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "fpr": _ratio(fp, fp + tn),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
    }


def _f1(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    return _ratio(2 * int((found & real).sum()), int(found.sum()) + int(real.sum()))


def _ratio(count: int, of: int) -> float:
    return count / of if of else 0.0
