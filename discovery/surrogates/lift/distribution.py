"""Median and standard deviation of many discrete distributions at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from discovery.surrogates.base import FloatArray


def summary(
    owners: NDArray[np.int64], values: FloatArray, weights: FloatArray, n: int
) -> tuple[FloatArray, FloatArray]:
    """Weighted median and standard deviation around it, each of shape (n,).

    The median is interpolated between neighbouring values, so that it moves smoothly with the weights.

    Args:
        owners: which of the n distributions a value belongs to; each has one at least.
        values: any numbers.
        weights: positive; those of a distribution need not add up to 1.
        n: number of distributions.
    """
    order = np.lexsort((values, owners))
    owners, values, weights = owners[order], values[order], weights[order]
    totals = np.bincount(owners, weights, n)
    shares = weights / totals[owners]
    starts = np.searchsorted(owners, np.arange(n))
    through = np.cumsum(shares)
    before = np.concatenate([[0.0], through])[starts]
    middles = through - 0.5 * shares - before[owners]  # cumulated share at the middle of each value's own
    medians = np.array([
        np.interp(0.5, middles[start:stop], values[start:stop])
        for start, stop in zip(starts, [*starts[1:], len(values)], strict=True)
    ])  # fmt: skip
    variance = np.bincount(owners, shares * np.square(values - medians[owners]), n)
    return medians, np.sqrt(variance)
