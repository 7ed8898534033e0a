"""Many small linear programs at once: the cheapest mixture of phases that has a given composition.

Each program is min sum_i w_i c_i subject to sum_i w_i f_i = t, w >= 0, with one row f_i of atomic fractions for each
phase. A hull asks for 100,000 of them, each with 10 to 500 phases and two to ten elements: a general solver spends
2 ms on each before it starts. Here the pivots of hundreds of programs are one set of array operations.

Every number of a program comes from element-wise operations and from matrices of that program alone, so the solution
does not depend, to the last bit, on which other programs are solved beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REDUCED_COST = 1e-10  # eV/atom; a phase that would lower the energy by less is not worth a pivot
GREEDY_PIVOTS = 100  # then Bland's rule, which cannot cycle; 9 is a usual number
MAX_PIVOTS = 100 * GREEDY_PIVOTS


@dataclass(frozen=True)
class Programs:
    """m programs over the same number of elements d, their rows one after the other.

    The first d rows of each program are the identity (the elements), so that they are a first mixture.
    """

    fractions: FloatArray  # (rows, d)
    costs: FloatArray  # (rows,), eV/atom; infinite where a row must not be used
    starts: IntArray  # (m,), first row of each program
    targets: FloatArray  # (m, d), positive, each adds up to 1

    @classmethod
    def stacked(cls, tables: Sequence[tuple[FloatArray, FloatArray]], targets: FloatArray) -> Programs:
        """From one pair (fractions, costs) for each program; both are copied."""
        sizes = np.array([len(costs) for _, costs in tables], dtype=np.int64)
        fractions = np.concatenate([rows for rows, _ in tables])
        costs = np.concatenate([costs for _, costs in tables])
        return cls(fractions, costs, np.cumsum(sizes) - sizes, targets)

    @property
    def sizes(self) -> IntArray:
        """Rows of each program, shape (m,)."""
        return np.diff(self.starts, append=len(self.costs))

    def only(self, kept: NDArray[np.bool_]) -> Programs:
        """The programs where `kept`, shape (m,), is true."""
        rows, sizes = np.repeat(kept, self.sizes), self.sizes[kept]
        return Programs(self.fractions[rows], self.costs[rows], np.cumsum(sizes) - sizes, self.targets[kept])


def cheapest_mixtures(programs: Programs) -> tuple[IntArray, FloatArray]:
    """Primal simplex method from the elements, with a dense inverse of each basis.

    The programs have as many constraints as elements, so inverting anew at each pivot is exact enough and quick.

    Returns:
        Rows that mix to each target at the lowest cost, counted within the program, and their weights; both (m, d).

    Raises:
        ArithmeticError: a program was not solved within `MAX_PIVOTS`.
    """
    count, size = programs.targets.shape
    rows, weights = np.empty((count, size), dtype=np.int64), np.empty((count, size))
    left = np.arange(count)  # programs that are not solved yet
    basis = programs.starts[:, None] + np.arange(size)
    for pivot in range(MAX_PIVOTS):
        if not len(left):
            return rows, weights
        inverse = np.linalg.inv(programs.fractions[basis].transpose(0, 2, 1))  # what a basis phase takes of an element
        shares = np.maximum((inverse @ programs.targets[:, :, None])[:, :, 0], 0.0)
        entering, useful = _entering(programs, basis, inverse, bland=pivot >= GREEDY_PIVOTS)
        solved = ~useful
        rows[left[solved]] = basis[solved] - programs.starts[solved, None]
        weights[left[solved]] = shares[solved]
        local = basis[useful] - programs.starts[useful, None]
        local_entering = entering[useful] - programs.starts[useful]
        direction = (inverse[useful] @ programs.fractions[entering[useful]][:, :, None])[:, :, 0]
        local[np.arange(len(local)), _leaving(direction, shares[useful], local)] = local_entering
        programs, left = (programs.only(useful), left[useful]) if solved.any() else (programs, left)
        basis = programs.starts[:, None] + local
    raise ArithmeticError(f"{len(left)} hulls of {size} elements were not found: please report this case")


def _entering(
    programs: Programs, basis: IntArray, inverse: FloatArray, *, bland: bool
) -> tuple[IntArray, NDArray[np.bool_]]:
    """The row of each program that lowers the cost most (or the first one that does), and whether there is any."""
    sizes = programs.sizes
    potentials = (programs.costs[basis][:, None, :] @ inverse)[:, 0, :]  # (m, d), eV per atom of each element
    gain = programs.costs.copy()
    for column in range(basis.shape[1]):
        gain -= programs.fractions[:, column] * np.repeat(potentials[:, column], sizes)
    gain[basis] = 0.0
    best = np.minimum.reduceat(gain, programs.starts)
    wanted = gain < -REDUCED_COST if bland else gain == np.repeat(best, sizes)
    candidates = np.append(np.flatnonzero(wanted), len(gain) - 1)  # the last one: where no row is wanted any more
    return candidates[np.searchsorted(candidates[:-1], programs.starts)], best < -REDUCED_COST


def _leaving(direction: FloatArray, weights: FloatArray, basis: IntArray) -> IntArray:
    """Position in each basis that reaches zero first as the entering row grows; ties by the smallest row (Bland)."""
    usable = direction > 1e-9
    ratios = np.where(usable, weights, np.inf) / np.where(usable, direction, 1.0)
    tied = ratios <= ratios.min(axis=1, keepdims=True) + 1e-12
    return np.asarray(np.where(tied, basis, np.iinfo(np.int64).max).argmin(axis=1))
