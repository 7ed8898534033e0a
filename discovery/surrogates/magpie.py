"""The baseline of the field: trees on Magpie's composition features (Ward et al., npj Comput. Mater. 2, 16028 (2016)).

145 features: six norms of the atomic fractions; minimum, maximum, range, mean, mean absolute deviation and mode of 22
properties of the elements (Magpie's own table, which SMACT ships); the shares of s, p, d and f valence electrons; and
three of ionicity. Computed for whole arrays, so that the features cost less than the trees and the comparison of speed
is a fair one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from smact.data_loader import lookup_element_magpie_data

from discovery.composition import SYMBOLS
from discovery.surrogates.features import Compositions, encode
from discovery.validity import Rules, is_neutral

FloatArray = NDArray[np.float64]

PROPERTIES = (
    "Number", "MendeleevNumber", "AtomicWeight", "MeltingT", "Column", "Row", "CovalentRadius", "Electronegativity",
    "NsValence", "NpValence", "NdValence", "NfValence", "NValence",
    "NsUnfilled", "NpUnfilled", "NdUnfilled", "NfUnfilled", "NUnfilled",
    "GSvolume_pa", "GSbandgap", "GSmagmom", "SpaceGroupNumber",
)  # fmt: skip
STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
NORMS = (0, 2, 3, 5, 7, 10)
IONIC = ("compound possible", "max ionic char", "mean ionic char")
NAMES: tuple[str, ...] = (
    *(f"{norm}-norm" for norm in NORMS),
    *(f"{statistic} {name}" for name in PROPERTIES for statistic in STATISTICS),
    *(f"frac {shell} valence electrons" for shell in "spdf"),
    *IONIC,
)
CHUNK = 4096  # compositions at a time: 10 MB for each array of element properties

Trees = Callable[[FloatArray], FloatArray]  # features -> formation energies, eV/atom


def magpie_features(formulas: Sequence[str]) -> FloatArray:
    """Features in the order of `NAMES`, shape (formulas, 145); NaN where an element is beyond Magpie's table (Bk).

    Raises:
        CompositionError: the first formula that is no composition.
    """
    chunks = [encode(formulas[start : start + CHUNK]) for start in range(0, len(formulas), CHUNK)]
    return np.concatenate([_features(chunk) for chunk in chunks]) if chunks else np.zeros((0, len(NAMES)))


def random_forest(
    features: FloatArray, energies: FloatArray, seed: int, processes: int = 1, *, trees: int = 100
) -> Trees:
    """A random forest with the settings usual for these features (full trees)."""
    from sklearn.ensemble import RandomForestRegressor

    # a third of the features at a split, as is the rule for regression (Breiman, 2001), and quicker than all of them
    forest = RandomForestRegressor(trees, max_features=1 / 3, random_state=seed, n_jobs=processes)
    return _predictor(forest.fit(features, energies).predict)


def gradient_boosting(features: FloatArray, energies: FloatArray, seed: int, rounds: int = 1000) -> Trees:
    """Gradient-boosted trees on binned features."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    boosted = HistGradientBoostingRegressor(max_iter=rounds, learning_rate=0.1, max_leaf_nodes=63, random_state=seed)
    return _predictor(boosted.fit(features, energies).predict)


def _predictor(predict: Callable[[FloatArray], FloatArray]) -> Trees:
    return lambda features: np.asarray(predict(features), dtype=np.float64)


def _features(data: Compositions) -> FloatArray:
    filled = np.arange(data.elements.shape[1]) < data.lengths[:, None]
    counts = data.amounts.astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = _table()[data.elements]  # (n, width, properties)
    parts = (_norms(shares), _statistics(values, shares, filled), _valence(values, shares), _ionicity(data, shares))
    return np.concatenate(parts, axis=1)


def _norms(shares: FloatArray) -> FloatArray:
    """Norms of the vector of fractions, (n, 6); the norm of order 0 counts the elements."""
    columns = [(shares > 0).sum(axis=1) if p == 0 else (shares**p).sum(axis=1) ** (1.0 / p) for p in NORMS]
    return np.stack(columns, axis=1)


def _statistics(values: FloatArray, shares: FloatArray, filled: NDArray[np.bool_]) -> FloatArray:
    """Statistics over the elements, weighted by fraction where the name says mean, (n, 22 x 6).

    The mode is the value of the commonest element, the lowest of them where several are equally common.
    """
    weights, known = shares[:, :, None], filled[:, :, None]
    low = np.where(known, values, np.inf).min(axis=1)
    high = np.where(known, values, -np.inf).max(axis=1)
    mean = (weights * values).sum(axis=1)
    deviation = (weights * np.abs(values - mean[:, None])).sum(axis=1)
    commonest = shares >= shares.max(axis=1, keepdims=True) - 1e-9
    mode = np.where(commonest[:, :, None], values, np.inf).min(axis=1)
    return np.stack([low, high, high - low, mean, deviation, mode], axis=2).reshape(len(values), -1)


def _valence(values: FloatArray, shares: FloatArray) -> FloatArray:
    """Shares of the valence electrons in s, p, d and f shells, (n, 4)."""
    first, total = PROPERTIES.index("NsValence"), PROPERTIES.index("NValence")
    electrons = (shares[:, :, None] * values).sum(axis=1)
    return np.asarray(electrons[:, first : first + 4] / electrons[:, total : total + 1])


def _ionicity(data: Compositions, shares: FloatArray) -> FloatArray:
    """Whether some choice of oxidation states is neutral, and the largest and the mean ionic character, (n, 3).

    The ionic character of a pair is 1 - exp(-(x_i - x_j)^2 / 4) with Pauling's electronegativities x.
    """
    negativity = _table()[:, PROPERTIES.index("Electronegativity")][data.elements]
    width = shares.shape[1]
    largest, mean = np.zeros(len(shares)), np.zeros(len(shares))
    for i, j in combinations(range(width), 2):
        character = 1.0 - np.exp(-0.25 * (negativity[:, i] - negativity[:, j]) ** 2)
        both = shares[:, i] * shares[:, j]
        largest = np.where(both > 0, np.maximum(largest, character), largest)
        mean += 2.0 * both * character
    rows = zip(data.elements.tolist(), data.amounts.tolist(), data.lengths.tolist(), strict=True)
    possible = [_neutral(elements[:length], counts[:length]) for elements, counts, length in rows]
    return np.stack([np.array(possible, dtype=np.float64), largest, mean], axis=1)


def _neutral(elements: Sequence[int], counts: Sequence[float]) -> bool:
    return is_neutral({SYMBOLS[index]: int(n) for index, n in zip(elements, counts, strict=True)}, Rules())


@cache
def _table() -> FloatArray:
    """Magpie's properties of the elements, shape (103, 22)."""
    rows = [lookup_element_magpie_data(symbol, copy=False) or {} for symbol in SYMBOLS]
    return np.array([[row.get(name, np.nan) for name in PROPERTIES] for row in rows], dtype=np.float64)
