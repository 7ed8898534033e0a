"""The probability with which ion exchange in known compounds writes a formula, in closed form.

A parent is drawn evenly, then one exchange of one or two of its ions by its rate (`discovery.generators.ion_exchange`):
p(x) = mean over the parents of rate(parent -> x) / sum of the rates of all exchanges of that parent. An exchange keeps
the numbers of atoms, so the parents of x are those that agree with it in all but one or two elements and hold as many
atoms in the place of these: they are looked up, and nothing is drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.generators.ions import INDEX, Ion, Weights, assigned_ions, rates

FloatArray = NDArray[np.float64]
Rest = tuple[frozenset[tuple[str, int]], tuple[int, ...]]  # what stays, and the atoms in the one or two other places


@dataclass(frozen=True)
class Exchange:
    """One or two places of a parent that may be filled anew."""

    symbols: frozenset[str]  # of the whole parent: none of them comes in anew
    counts: tuple[int, ...]  # atoms in each place
    filling: tuple[Weights, ...]  # rates of the elements that may come to each place
    total: float  # of the rates of all exchanges of the parent

    def share(self, new: Mapping[str, int]) -> float:
        """Probability that this parent becomes the compound in which these elements, with their atoms, are new."""
        if self.symbols & new.keys():
            return 0.0
        orders = (order for order in permutations(new) if tuple(new[symbol] for symbol in order) == self.counts)
        return sum(self._rate(order) for order in orders) / self.total

    def _rate(self, order: Sequence[str]) -> float:
        return float(np.prod([own[INDEX[symbol]] for own, symbol in zip(self.filling, order, strict=True)]))


@dataclass(frozen=True)
class ExchangeLikelihood:
    """All exchanges of all parents, by what they leave as it is."""

    exchanges: Mapping[Rest, Sequence[Exchange]]
    parents: int  # that have an exchange at all

    def log_probability(self, formulas: Sequence[str]) -> FloatArray:
        """Natural logarithm of the probability of each reduced formula, shape (n,); -inf where nothing becomes it."""
        with np.errstate(divide="ignore"):
            return np.log([self._probability(amounts(formula)) for formula in formulas])

    def _probability(self, counts: Mapping[str, int]) -> float:
        shares = (
            exchange.share({symbol: counts[symbol] for symbol in new})
            for new in _places(list(counts))
            for exchange in self.exchanges.get(_rest(counts, new), ())
        )
        return sum(shares) / max(1, self.parents)


def mixed(one: FloatArray, other: FloatArray) -> FloatArray:
    """Natural logarithm of the mean of two probabilities, given by their logarithms, shape (n,).

    Both are probabilities over all compositions, so it is one, too: what either source would write is not ruled out by
    the other, as in a product, and what ion exchange cannot write keeps half of what the other source says of it.
    """
    return np.asarray(np.logaddexp(one, other) - np.log(2.0))


@lru_cache(maxsize=4)
def exchange_likelihood(parents: tuple[str, ...]) -> ExchangeLikelihood:
    """Of ion exchange in these compounds, given as reduced formulas; some seconds for 50,000 of them."""
    exchanges, number = defaultdict[Rest, list[Exchange]](list), 0
    for parent in parents:
        ions, counts = assigned_ions(parent), amounts(parent)
        found = {} if ions is None else dict(_exchanges(ions, counts))
        for new, exchange in found.items():
            exchanges[_rest(counts, new)].append(exchange)
        number += bool(found)
    return ExchangeLikelihood(exchanges, number)


def _exchanges(ions: Sequence[Ion], counts: Mapping[str, int]) -> Iterator[tuple[tuple[str, ...], Exchange]]:
    """The places of a parent that may be filled anew, each with its exchange; nothing where there is no exchange."""
    symbols = frozenset(counts)
    others = np.array([0.0 if symbol in symbols else 1.0 for symbol in INDEX])
    filling = {ion[0]: rates(ion) * others for ion in ions}
    chosen = list(_places(list(filling)))
    total = sum(_sum([filling[symbol] for symbol in places]) for places in chosen)
    if total > 0:
        for places in chosen:
            own = tuple(filling[symbol] for symbol in places)
            yield places, Exchange(symbols, tuple(counts[symbol] for symbol in places), own, total)


def _sum(filling: Sequence[Weights]) -> float:
    """Of the products of rates over all choices of elements; two places do not take the same one."""
    if len(filling) == 1:
        return float(filling[0].sum())
    first, second = filling
    return max(0.0, float(first.sum() * second.sum() - first @ second))


def _places(symbols: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from combinations(symbols, 1)
    yield from combinations(symbols, 2)


def _rest(counts: Mapping[str, int], places: Sequence[str]) -> Rest:
    kept = frozenset((symbol, count) for symbol, count in counts.items() if symbol not in places)
    return kept, tuple(sorted(counts[symbol] for symbol in places))
