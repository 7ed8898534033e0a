"""What the networks miss of a compound they miss of its analogues, too: residual kriging over exchanges of elements.

Compounds that differ by an exchange of like elements share a structure type, and with it what a network of
compositions gets wrong. After the training its errors on the training labels are taken as a function of the composition
and explained by a Gaussian process (residual kriging; Odeh, McBratney and Chittleborough, Geoderma 67, 215 (1995))
whose covariance counts what two compositions have in common once elements stand for their class:

    all but one element alike (the one in the same class and number): BaTiO3 and SrTiO3
    one element alike, all others in the same classes and numbers: BaTiO3 and BaZrS3
    all elements in the same classes and numbers: BaTiO3 and SrZrS3

each for three divisions of the elements, from coarse to fine, that are read from the networks: elements whose first
queries, keys and values point the same way are alike. Such a covariance is that of a linear model with one weight for
each thing in common ("key"), so the posterior mean is a ridge regression on sparse indicators. Errors are measured in
units of the predicted scale, and reweighted for an absolute loss, since some labels are far off (wrong polymorphs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.linalg import lsmr
from torch import Tensor

from discovery.errors import DataError
from discovery.surrogates.features import N_ELEMENTS, Compositions
from discovery.surrogates.network import Network

FloatArray = NDArray[np.float64]
Codes = NDArray[np.uint64]

LEVELS = (8, 24, 40)  # classes of elements, from coarse to fine
MIN_COMPOSITIONS = 20  # an element with fewer training compositions is a class of its own
PENALTY = 2.0  # variance of an error over that of a weight, both in units of the predicted scale squared
SMALLEST_ERROR = 0.02  # eV/atom; below it the reweighted loss is square
PASSES = 3  # of the reweighted least squares
ITERATIONS = 25  # of LSMR in each pass: 7 % from the converged corrections, and as good on validation rows
FEWEST = 100  # labels of a scheme; with fewer nothing is learned
RESOLUTION = 0.02  # of a weight, in units of the predicted scale: it costs 0.1 % of the error, and a byte is enough
LARGEST = 127  # weight in units of the resolution
NOTHING = np.uint64(0)  # code of no element
WIDEST = 65_535  # distance between two keys in a weight file; wider ones are bridged
CLASSES = "analogues.classes"  # name in a weight file


@dataclass(frozen=True)
class Memory:
    """Weights of the keys of one energy scheme."""

    keys: NDArray[np.uint32]  # (keys,), ascending
    weights: NDArray[np.float32]  # (keys,), in units of the predicted scale

    def sums(self, keys: NDArray[np.uint32], present: NDArray[np.bool_]) -> FloatArray:
        """Sum of the weights of each row's keys, shape (n,)."""
        if not len(self.keys):
            return np.zeros(len(keys))
        rows, asked = np.nonzero(present)[0], keys[present]
        order = np.argsort(asked)  # neighbours in memory are looked up one after the other: twice as quick in all
        rows, asked = rows[order], asked[order]
        place = np.searchsorted(self.keys, asked).clip(max=len(self.keys) - 1)
        weights = np.where(self.keys[place] == asked, self.weights[place], 0.0)
        return np.bincount(rows, weights=weights, minlength=len(keys)).astype(np.float64)

    def steps(self) -> tuple[Tensor, Tensor]:
        """The same in three bytes for a key: distance to the one before, and weight, 0 where it only bridges a gap."""
        keys = self.keys.astype(np.int64)
        distance = keys - np.concatenate([np.zeros(1, np.int64), keys])[:-1]
        bridges, rest = np.divmod(distance, WIDEST)
        steps = np.full(len(distance) + int(bridges.sum()), WIDEST, np.uint16)
        weights = np.zeros(len(steps), np.int8)
        place = np.arange(len(distance)) + np.cumsum(bridges)
        steps[place], weights[place] = rest, np.rint(self.weights / RESOLUTION)
        return torch.from_numpy(steps), torch.from_numpy(weights)

    @classmethod
    def from_steps(cls, steps: Tensor, weights: Tensor) -> Memory:
        """Inverse of `steps`."""
        keys = np.cumsum(steps.numpy(), dtype=np.int64).astype(np.uint32)
        kept = weights.numpy() != 0
        return cls(keys[kept], _rounded(weights.numpy()[kept]))


@dataclass(frozen=True)
class Analogues:
    """Corrections learned from the errors on training labels. Immutable."""

    classes: NDArray[np.int16]  # (levels, 103), class of each element
    memories: Mapping[str, Memory]  # by energy scheme

    @property
    def size(self) -> int:
        """Weights of all schemes."""
        return sum(len(memory.keys) for memory in self.memories.values())

    def correction(self, data: Compositions, scheme: str) -> FloatArray:
        """What is to be added to a mean, in units of the predicted Laplace scale, shape (n,); 0 without analogues."""
        if scheme not in self.memories:
            return np.zeros(len(data))
        return self.memories[scheme].sums(*keys_of(data, self.classes))

    def with_scheme(self, scheme: str, like: str) -> Analogues:
        """One more scheme that takes over the corrections of another."""
        if like not in self.memories:
            return self
        return Analogues(self.classes, {**self.memories, scheme: self.memories[like]})

    def tensors(self) -> dict[str, Tensor]:
        """For a weight file."""
        out = {CLASSES: torch.tensor(self.classes)}  # a copy: Ray hands arrays out read-only
        for scheme, memory in self.memories.items():
            out[f"analogues.{scheme}.steps"], out[f"analogues.{scheme}.weights"] = memory.steps()
        return out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], schemes: Sequence[str]) -> Analogues | None:
        """Inverse of `tensors`; None where the weights hold no analogues."""
        if CLASSES not in tensors:
            return None
        memories = {
            scheme: Memory.from_steps(steps, tensors[f"analogues.{scheme}.weights"])
            for scheme in schemes
            if (steps := tensors.get(f"analogues.{scheme}.steps")) is not None
        }
        return cls(tensors[CLASSES].numpy(), memories)


def fitted(data: Compositions, errors: FloatArray, scales: FloatArray, classes: NDArray[np.int16]) -> Memory:
    """The weights of one scheme.

    Args:
        data: training compositions, n of them.
        errors: label minus prediction, eV/atom, shape (n,).
        scales: predicted Laplace scale, eV/atom, shape (n,).
        classes: (levels, 103), of the elements.

    Raises:
        DataError: an error or a scale that is not finite.
    """
    if not (np.isfinite(errors).all() and np.isfinite(scales).all()):
        raise DataError("an error of a training label is not finite: leave that label out")
    if len(errors) < FEWEST:
        return Memory(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    keys, weights = posterior(data, errors, scales, classes)
    steps = np.rint(weights / RESOLUTION).clip(-LARGEST, LARGEST)
    return Memory(keys[steps != 0], _rounded(steps[steps != 0]))


def _rounded(steps: NDArray[Any]) -> NDArray[np.float32]:
    return (steps * RESOLUTION).astype(np.float32)


def posterior(
    data: Compositions, errors: FloatArray, scales: FloatArray, classes: NDArray[np.int16]
) -> tuple[NDArray[np.uint32], FloatArray]:
    """All keys of the compositions, ascending, and their mean weights in units of the scale; arguments as `fitted`."""
    indicators, keys = _indicators(*keys_of(data, classes))
    return keys, _ridge(indicators, errors / scales, scales)


def _ridge(indicators: sparse.csr_matrix, relative: FloatArray, scales: FloatArray) -> FloatArray:
    """Iteratively reweighted least squares for an absolute loss in eV/atom, with a square penalty."""
    importance = np.ones(len(relative))
    for _ in range(PASSES):
        root = np.sqrt(importance)
        weighed = sparse.diags(root) @ indicators
        weights: FloatArray = lsmr(weighed, root * relative, damp=PENALTY**0.5, maxiter=ITERATIONS)[0]
        left = (relative - indicators @ weights) * scales
        importance = SMALLEST_ERROR / np.hypot(left, SMALLEST_ERROR)
    return weights


def _indicators(keys: NDArray[np.uint32], present: NDArray[np.bool_]) -> tuple[sparse.csr_matrix, NDArray[np.uint32]]:
    """Which composition has which of the distinct keys, shape (n, keys), and these keys, ascending."""
    distinct, column = np.unique(keys[present], return_inverse=True)
    ones = np.ones(len(column), np.float32)
    shape = (len(keys), len(distinct))
    return sparse.csr_matrix((ones, (np.nonzero(present)[0], column)), shape=shape), distinct


def keys_of(data: Compositions, classes: NDArray[np.int16]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Keys of each composition and which of them it has, both of shape (n, levels x (2 x width + 1)).

    A key is the upper half of a hash of the sum of its parts' codes: no order, no strings. What no composition had is
    taken for one of 700,000 keys with a probability of 1 in 6,000.
    """
    width = data.elements.shape[1]
    there = np.arange(width) < data.lengths[:, None]
    amounts = data.amounts.astype(np.uint64)
    exact = np.where(there, _mixed(data.elements.astype(np.uint64) + _tagged(amounts, 0)), NOTHING)
    keys, present = list[Codes](), list[NDArray[np.bool_]]()
    compound, several = there & (data.lengths[:, None] > 1), there & (data.lengths[:, None] > 2)
    for level, of_element in enumerate(classes, start=1):
        alike = of_element[data.elements].astype(np.uint64)
        like = np.where(there, _mixed(alike + _tagged(amounts, level)), NOTHING)
        all_exact, all_like = exact.sum(axis=1, keepdims=True), like.sum(axis=1, keepdims=True)
        keys += [all_exact - exact + like, all_like - like + exact, all_like]
        present += [compound, several, compound[:, :1]]
    mixed = (_mixed(np.concatenate(keys, axis=1)) >> np.uint64(32)).astype(np.uint32)
    return mixed, np.concatenate(present, axis=1)


def _tagged(amounts: Codes, level: int) -> Codes:
    """Atoms and level above the bits of the element or class."""
    return (amounts << np.uint64(16)) + (np.uint64(level) << np.uint64(8))


def _mixed(codes: Codes) -> Codes:
    """SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014): spreads neighbouring codes over 64 bits."""
    x = codes + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def classes_of(networks: Sequence[Network], element_counts: Tensor) -> NDArray[np.int16]:
    """Classes of the elements at each of `LEVELS`, shape (levels, 103), from what the networks have learned of them.

    Average linkage of the cosine distance between the first layer's queries, keys and values of each element. An
    element with few training compositions is a class of its own.
    """
    frequent = np.flatnonzero(element_counts.numpy() >= MIN_COMPOSITIONS)
    alone = np.arange(N_ELEMENTS, dtype=np.int16) + N_ELEMENTS
    classes = np.tile(alone, (len(LEVELS), 1))
    if len(frequent) < 2:
        return classes
    tree = linkage(np.concatenate([_projected(n) for n in networks], axis=1)[frequent], "average", metric="cosine")
    for level, number in enumerate(LEVELS):
        classes[level, frequent] = fcluster(tree, number, "maxclust")
    return classes


@torch.no_grad()
def _projected(network: Network) -> FloatArray:
    """Queries, keys and values of the first layer for each element, centred and scaled, shape (103, 3 x width)."""
    projected = network.first_projection().double().cpu().numpy()
    centred = projected - projected.mean(axis=0)
    scaled: FloatArray = centred / np.sqrt(np.square(centred).mean())
    return scaled
