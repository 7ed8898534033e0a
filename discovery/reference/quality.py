"""How far an incomplete reference can be trusted: its false-stable rate, by DFT energies alone.

The truly unstable compounds of a complete DFT hull are put against a hull of only those phases that the reference
holds, with their DFT energies too, so that nothing but the missing phases makes a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.hull import Hull
from discovery.reference.base import KnownFormulas, Phase
from discovery.reference.competition import Predict, missing_phases

TOLERANCES = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2)  # eV/atom


@dataclass(frozen=True)
class Rate:
    """Looks right or not: `wrong` of `compounds`."""

    wrong: int
    compounds: int

    @property
    def share(self) -> float:
        """Wrong / compounds; 0 where there are none."""
        return self.wrong / self.compounds if self.compounds else 0.0


@dataclass(frozen=True)
class Completion:
    """Missing known phases with predicted energies, as `competition` adds them."""

    known: KnownFormulas
    predict: Predict  # in the scheme of the truth table


def sample_truth(truth: pd.DataFrame, size: int, seed: int, unstable: bool = True) -> pd.DataFrame:
    """Random compounds above (or on and below) the complete hull; all of them where there are fewer than `size`."""
    above = truth.decomposition_energy_per_atom > 0
    rows = truth[above if unstable else ~above]
    return rows.sample(min(size, len(rows)), random_state=seed)


def partial_hull(truth: pd.DataFrame, formulas: set[str], scheme: str) -> Hull:
    """The hull of those rows of the truth table whose reduced formula is in `formulas`."""
    rows = truth[truth.reduced_formula.isin(formulas)]
    pairs = zip(rows.reduced_formula, rows.formation_energy_per_atom, strict=True)
    return Hull([Phase(formula, float(energy)) for formula, energy in pairs], scheme)


def apparent_energies(rows: pd.DataFrame, hull: Hull, completion: Completion | None = None) -> NDArray[np.float64]:
    """DFT energies above the given hull, eV/atom, of the rows of a truth table, shape (rows,).

    With a completion, the compound itself does not profit from being known: it is never its own competitor.
    """
    formulas = rows.reduced_formula.tolist()
    if completion is not None:
        systems = sorted({tuple(sorted(amounts(formula))) for formula in formulas})
        missing = sorted({f for system in systems for f in missing_phases(hull, completion.known, system)})
        energies = completion.predict(missing)
        added = [Phase(f, float(e), predicted=True) for f, e in zip(missing, energies, strict=True)]
        hull = hull.with_phases(added, hull.scheme)
    return hull.energies_above_hull(formulas, rows.formation_energy_per_atom.to_numpy(dtype=np.float64))


def false_stable_rates(
    true: NDArray[np.float64], apparent: NDArray[np.float64], tolerances: Sequence[float] = TOLERANCES
) -> dict[float, Rate]:
    """For each tolerance: of the compounds truly above it, those that look as if they were not.

    Args:
        true: decomposition energies against the complete hull, eV/atom, (n,).
        apparent: against the incomplete one, eV/atom, (n,).
        tolerances: eV/atom.
    """
    return {t: Rate(int(np.sum((true > t) & (apparent <= t))), int(np.sum(true > t))) for t in map(float, tolerances)}


def false_unstable_rates(
    true: NDArray[np.float64], apparent: NDArray[np.float64], tolerances: Sequence[float] = TOLERANCES
) -> dict[float, Rate]:
    """For each tolerance: of the compounds truly within it, those that look as if they were not.

    Only predicted competitors can cause them: a hull that lacks phases never rises by that.
    """
    return {t: Rate(int(np.sum((true <= t) & (apparent > t))), int(np.sum(true <= t))) for t in map(float, tolerances)}
