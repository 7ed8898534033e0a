"""Formation energies from a potential's total energies: one fitted reference energy per element.

A potential's own elements are poor references (its O2 alone costs 0.07 eV/atom in oxides), and the DFT scheme that the
formation energies should follow has corrections per anion. So E_total/N - sum_i x_i mu_i is fitted to DFT formation
energies by least squares over many compounds, robustly (Huber weights; Huber, Ann. Math. Stat. 35, 73 (1964)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts

FloatArray = NDArray[np.float64]

HUBER_EV = 0.05  # eV/atom; residuals beyond it count by their size, not by its square
RIDGE = 1e-3  # pull toward the prior, in units of squared atomic fractions: 0.1 % of one pure element
ITERATIONS = 50


@dataclass(frozen=True)
class ElementalFit:
    """Fitted reference energies and what they leave unexplained."""

    references: Mapping[str, float]  # eV/atom of each element, in the potential's total energies
    residuals: FloatArray  # (n,), formation energy of the potential minus DFT, eV/atom

    def by_element(self, formulas: Sequence[str]) -> dict[str, dict[str, float]]:
        """For each element: number of its compounds, mean residual and mean absolute residual, eV/atom."""
        rows: dict[str, list[float]] = {symbol: [] for symbol in self.references}
        for formula, residual in zip(formulas, self.residuals, strict=True):
            for symbol in amounts(formula):
                rows[symbol].append(float(residual))
        return {
            symbol: {
                "compounds": len(r),
                "mean": round(float(np.mean(r)), 4),
                "mae": round(float(np.mean(np.abs(r))), 4),
            }
            for symbol, r in sorted(rows.items())
            if r
        }


def fit_references(
    formulas: Sequence[str], total_energies: FloatArray, formation_energies: FloatArray, prior: Mapping[str, float]
) -> ElementalFit:
    """Reference energies mu that make total energies agree with DFT formation energies.

    Args:
        formulas: n compounds.
        total_energies: of the potential, eV/atom, shape (n,).
        formation_energies: DFT, eV/atom, shape (n,).
        prior: eV/atom of elements in the potential, which decides only for elements with few or no compounds; elements
            that it does not name are pulled nowhere.
    """
    symbols = sorted({symbol for formula in formulas for symbol in amounts(formula)} | set(prior))
    x = fractions_matrix(formulas, symbols)
    target = np.asarray(total_energies) - np.asarray(formation_energies)
    pulled = np.array([np.sqrt(RIDGE) if symbol in prior else 0.0 for symbol in symbols])
    aims = np.array([prior.get(symbol, 0.0) for symbol in symbols])
    weights = np.ones(len(target))
    for _ in range(ITERATIONS):
        root = np.sqrt(weights)
        left = np.vstack([x * root[:, None], np.diag(pulled)])
        right = np.concatenate([target * root, pulled * aims])
        mu = np.linalg.lstsq(left, right, rcond=None)[0]
        residuals = target - x @ mu
        weights = np.minimum(1.0, HUBER_EV / np.maximum(np.abs(residuals), 1e-12))
    return ElementalFit({symbol: float(value) for symbol, value in zip(symbols, mu, strict=True)}, residuals)


def formation_energies(
    formulas: Sequence[str], total_energies: FloatArray, references: Mapping[str, float]
) -> FloatArray:
    """Total energy minus that of the elements, eV/atom, shape (n,)."""
    symbols = sorted(references)
    mu = np.array([references[symbol] for symbol in symbols])
    return np.asarray(np.asarray(total_energies) - fractions_matrix(formulas, symbols) @ mu)


def fractions_matrix(formulas: Sequence[str], symbols: Sequence[str]) -> FloatArray:
    """Atomic fractions, shape (formulas, symbols)."""
    column = {symbol: i for i, symbol in enumerate(symbols)}
    matrix = np.zeros((len(formulas), len(symbols)))
    for row, formula in enumerate(formulas):
        for symbol, amount in amounts(formula).items():
            matrix[row, column[symbol]] = amount
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12))
