"""From formulas to arrays: a quick parser, element properties, and packed batches without padding.

Everything depends on the *reduced* amounts alone, in ascending atomic number: neither the order of the elements in a
formula nor a common multiple changes a single bit of the features.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Element
from torch import Tensor

from discovery.composition import SYMBOLS, compound_amounts

INDEX = {symbol: number for number, symbol in enumerate(SYMBOLS)}  # 0 = H ... 102 = Lr
N_ELEMENTS = len(SYMBOLS)


@dataclass(frozen=True)
class Compositions:
    """n compositions as arrays; rows are padded with zeros up to the largest number of elements."""

    elements: NDArray[np.int16]  # (n, width), index into SYMBOLS
    amounts: NDArray[np.float32]  # (n, width), atoms in the reduced formula unit
    lengths: NDArray[np.int16]  # (n,), distinct elements

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, chosen: NDArray[np.int64]) -> Compositions:
        """Some of them."""
        return Compositions(self.elements[chosen], self.amounts[chosen], self.lengths[chosen])

    def fractions(self) -> NDArray[np.float64]:
        """Atomic fractions as a dense matrix, shape (n, 103)."""
        dense = np.zeros((len(self), N_ELEMENTS))
        share = self.amounts.astype(np.float64) / self.amounts.sum(axis=1, keepdims=True, dtype=np.float64)
        np.add.at(dense, (np.arange(len(self))[:, None], self.elements), share)
        return dense


def encode(formulas: Sequence[str]) -> Compositions:
    """Parse formulas.

    Raises:
        CompositionError: the first formula that is no composition.
    """
    parsed = [compound_amounts(formula) for formula in formulas]
    lengths = np.fromiter((len(counts) for counts in parsed), np.int16, len(parsed))
    width = int(lengths.max(initial=1))
    elements = np.full((len(parsed), width), N_ELEMENTS, np.int16)  # beyond the last element: empty places sort last
    counts = np.zeros((len(parsed), width), np.float32)
    filled = np.arange(width) < lengths[:, None]
    elements[filled] = [INDEX[symbol] for row in parsed for symbol in row]
    counts[filled] = [amount for row in parsed for amount in row.values()]
    ascending = np.argsort(elements, axis=1)
    elements[~filled] = 0
    return Compositions(
        np.take_along_axis(elements, ascending, axis=1), np.take_along_axis(counts, ascending, axis=1), lengths
    )


@dataclass(frozen=True)
class Packed:
    """A batch sorted by number of elements and written token after token, without padding."""

    elements: Tensor  # (tokens,) int64
    fractions: Tensor  # (tokens,) atomic fraction
    basis: Tensor  # (tokens, BASIS_SIZE)
    groups: tuple[tuple[int, int], ...]  # (compositions, elements in each), in order
    order: NDArray[np.int64]  # order[k] = position in the batch asked for of the k-th packed composition

    def to(self, device: torch.device) -> Packed:
        """The same batch with its tensors on `device`."""
        tensors = (self.elements.to(device), self.fractions.to(device), self.basis.to(device))
        return Packed(*tensors, self.groups, self.order)


def pack(data: Compositions, rows: NDArray[np.int64]) -> Packed:
    """The batch of `rows` of `data`."""
    lengths = data.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    groups, elements, numbers, totals = [], [], [], []
    for length in np.unique(lengths).tolist():
        chosen = rows[lengths == length]
        groups.append((len(chosen), length))
        elements.append(data.elements[chosen, :length].ravel())
        counts = data.amounts[chosen, :length]
        numbers.append(counts.ravel())
        totals.append(np.repeat(counts.sum(axis=1), length))
    number = torch.from_numpy(np.concatenate(numbers))
    total = torch.from_numpy(np.concatenate(totals))
    index = torch.from_numpy(np.concatenate(elements)).long()
    return Packed(index, number / total, fraction_basis(number, total), tuple(groups), order)


_LINEAR = torch.linspace(0.0, 1.0, 33)  # atomic fraction
_LOG = torch.linspace(-5.0, 0.0, 33)  # natural logarithm of the fraction: down to 1 atom in 150
_NUMBER = torch.linspace(0.0, 4.0, 17)  # log2 of the atoms in the reduced formula unit: 1 to 16
_SIZE = torch.linspace(1.0, 6.0, 11)  # log2 of the formula unit's size: 2 to 64 atoms
BASIS_SIZE = len(_LINEAR) + len(_LOG) + len(_NUMBER) + len(_SIZE)


def fraction_basis(number: Tensor, total: Tensor) -> Tensor:
    """Gaussian bases of fraction (linear and log scale), amount and formula size, shape (tokens, BASIS_SIZE).

    Each basis is as wide as the distance between its centres.
    """
    fraction = number / total
    scales = ((fraction, _LINEAR), (fraction.log(), _LOG), (number.log2(), _NUMBER), (total.log2(), _SIZE))
    return torch.cat([_gaussians(values, centres) for values, centres in scales], dim=1)


def _gaussians(values: Tensor, centres: Tensor) -> Tensor:
    distance = (values[:, None] - centres.to(values.device)) / float(centres[1] - centres[0])
    return torch.exp(-0.5 * distance.clamp(-8.0, 8.0).square())


@cache
def element_properties() -> Tensor:
    """Standardised properties of the elements, shape (103, properties); from pymatgen's periodic table.

    An unknown value becomes 0 (the mean), and one more column tells the share of values that are unknown. The table is
    stored with the weights: a model does not change with the pymatgen version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns for each missing value
        raw = np.array([_properties(symbol) for symbol in SYMBOLS], dtype=np.float64)
    missing = np.isnan(raw)
    standard = (raw - np.nanmean(raw, axis=0)) / np.nanstd(raw, axis=0)
    table = np.concatenate([np.where(missing, 0.0, standard), missing.mean(axis=1, keepdims=True)], axis=1)
    return torch.from_numpy(table).float()


def _properties(symbol: str) -> list[float]:
    element = Element(symbol)
    shells = dict.fromkeys("spdf", 0)
    valence = [shell for shell in element.full_electronic_structure if shell[0] >= element.row - 2]
    for level, orbital, electrons in valence:
        outermost = {"s": element.row, "p": element.row, "d": element.row - 1, "f": element.row - 2}[orbital]
        shells[orbital] += electrons if level == outermost else 0
    states = element.common_oxidation_states or (np.nan,)
    flags = (element.is_metal, element.is_metalloid, element.is_lanthanoid, element.is_actinoid, element.is_halogen,
             element.is_chalcogen, element.is_transition_metal, element.is_alkali, element.is_alkaline)  # fmt: skip
    numbers = (
        element.row,
        element.group,
        element.X,
        element.mendeleev_no,
        element.atomic_radius,
        element.average_ionic_radius or np.nan,
        element.ionization_energy,
        element.electron_affinity,
        element.melting_point,
        element.molar_volume,
        max(states),
        min(states),
        *shells.values(),
    )
    return [np.nan if value is None else float(value) for value in (*numbers, *flags)]
