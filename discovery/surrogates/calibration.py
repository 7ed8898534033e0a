"""Calibration of the two parts of the uncertainty, and how well intervals keep their promise.

The error of a prediction is modelled as Student's t: errors of formation energies have far heavier tails than a normal
distribution (a wrong polymorph, a failed calculation). Its variance is (a * epistemic)^2 + (c * aleatoric)^2, with a, c
and the degrees of freedom found by maximum likelihood on validation compositions that no training step saw, apart for
each scheme. The reported std is the standard deviation of that distribution; intervals use its quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

FloatArray = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)
MIN_STD = 1e-3  # eV/atom; no label is known better than this
_FACTOR_BOUNDS = (0.2, 20.0)  # the lower one keeps disagreement visible where validation holds nothing strange
_FREEDOM_BOUNDS = (2.5, 30.0)  # above 2, so that the variance exists; 30 is normal for all purposes


@dataclass(frozen=True)
class SchemeCalibration:
    """Maximum-likelihood factors of one scheme."""

    epistemic_factor: float = 1.0  # multiplies the standard deviation between the members
    aleatoric_factor: float = 1.0  # multiplies the learned scale
    degrees_of_freedom: float = 30.0  # of Student's t
    n: int = 0  # validation compositions behind it

    def to_dict(self) -> dict[str, float]:
        """For `config.json`."""
        return asdict(self)

    def apply(self, epistemic: FloatArray, aleatoric: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Calibrated parts, eV/atom; their squares add up to the total variance."""
        return epistemic * self.epistemic_factor, np.maximum(aleatoric * self.aleatoric_factor, MIN_STD)

    def scaled(self, factor: float) -> SchemeCalibration:
        """Both parts `factor` times as wide."""
        return replace(
            self,
            epistemic_factor=self.epistemic_factor * factor,
            aleatoric_factor=self.aleatoric_factor * factor,
        )

    def interval(self, level: float) -> float:
        """Half-width of the central interval of probability `level`, in units of the total std."""
        return interval_multiplier(level, self.degrees_of_freedom)


def interval_multiplier(level: float, degrees_of_freedom: float) -> float:
    """Half-width of the central interval of a Student's t with standard deviation 1."""
    shrink = np.sqrt((degrees_of_freedom - 2.0) / degrees_of_freedom)  # a t with scale 1 has std 1 / shrink
    return float(stats.t.ppf(0.5 + level / 2.0, degrees_of_freedom) * shrink)


def fit(error: FloatArray, epistemic: FloatArray, aleatoric: FloatArray) -> SchemeCalibration:
    """Maximum-likelihood calibration.

    Args:
        error: prediction minus label, eV/atom, shape (n,).
        epistemic: standard deviation between the members, eV/atom, shape (n,).
        aleatoric: learned standard deviation, eV/atom, shape (n,).
    """

    def loss(parameters: FloatArray) -> float:
        a, c, freedom = np.exp(parameters)
        std = np.hypot(a * epistemic, np.maximum(c * aleatoric, MIN_STD))
        return negative_log_likelihood(error, std, freedom)

    bounds = [tuple(np.log(pair)) for pair in (_FACTOR_BOUNDS, _FACTOR_BOUNDS, _FREEDOM_BOUNDS)]
    found = optimize.minimize(loss, np.log([1.0, 1.0, 5.0]), method="L-BFGS-B", bounds=bounds)
    a, c, freedom = (float(value) for value in np.exp(found.x))
    return SchemeCalibration(a, c, freedom, len(error))


def negative_log_likelihood(error: FloatArray, std: FloatArray, degrees_of_freedom: float) -> float:
    """Mean negative log-likelihood (nats) of errors under Student's t with standard deviation `std`."""
    scale = std * np.sqrt((degrees_of_freedom - 2.0) / degrees_of_freedom)
    return float(-np.mean(stats.t.logpdf(error / scale, degrees_of_freedom) - np.log(scale)))


def coverage(
    error: FloatArray, std: FloatArray, degrees_of_freedom: float, levels: Sequence[float] = LEVELS
) -> dict[float, float]:
    """Share of errors inside the central interval of each level."""
    relative = np.abs(error) / std
    return {level: float(np.mean(relative <= interval_multiplier(level, degrees_of_freedom))) for level in levels}


def miscalibration_area(error: FloatArray, std: FloatArray, degrees_of_freedom: float) -> float:
    """Area between observed and promised coverage over all levels: 0 is perfect, 0.5 the worst.

    Kuleshov et al. 2018; the observed coverage is the empirical distribution of the probability integral transform.
    """
    scale = std * np.sqrt((degrees_of_freedom - 2.0) / degrees_of_freedom)
    level_reached = np.sort(2.0 * stats.t.cdf(np.abs(error) / scale, degrees_of_freedom) - 1.0)
    levels = np.linspace(0.0, 1.0, 201)
    observed = np.searchsorted(level_reached, levels, side="right") / len(error)
    return float(np.trapezoid(np.abs(observed - levels), levels))


def from_config(content: Mapping[str, Mapping[str, float]]) -> dict[str, SchemeCalibration]:
    """Inverse of `to_dict` for all schemes."""
    return {
        scheme: SchemeCalibration(
            float(values["epistemic_factor"]),
            float(values["aleatoric_factor"]),
            float(values["degrees_of_freedom"]),
            int(values["n"]),
        )
        for scheme, values in content.items()
    }
