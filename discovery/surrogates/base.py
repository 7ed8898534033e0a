"""The Protocol that every surrogate follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """Formation energies of n compositions, eV/atom; all arrays of shape (n,)."""

    mean: FloatArray
    epistemic_std: FloatArray
    aleatoric_std: FloatArray

    @property
    def std(self) -> FloatArray:
        """Total standard deviation, eV/atom."""
        return np.sqrt(self.epistemic_std**2 + self.aleatoric_std**2)


@dataclass(frozen=True)
class Labels:
    """Known formation energies of n compositions."""

    formulas: tuple[str, ...]
    formation_energy_per_atom: FloatArray  # (n,), eV/atom
    schemes: tuple[str, ...]  # one per row

    def rows(self, numbers: Iterable[int]) -> Labels:
        """Some of the labels, in the order of `numbers`."""
        chosen = list(numbers)
        energies = self.formation_energy_per_atom[np.array(chosen, dtype=np.int64)]
        return Labels(tuple(self.formulas[i] for i in chosen), energies, tuple(self.schemes[i] for i in chosen))


class Surrogate(Protocol):
    """Predicts formation energies. Immutable: learning gives a new one."""

    @property
    def version(self) -> str:
        """Name and a short hash of the weights."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """Energy schemes that it can predict (trained ones, and learned offsets to them)."""

    def predict(self, formulas: Sequence[str], scheme: str) -> Prediction:
        """Mean and standard deviation of the formation energy in `scheme`.

        Raises:
            SchemeError: the surrogate knows nothing of `scheme`; the message lists those it knows.
        """

    def interval(self, scheme: str, level: float) -> float:
        """Half-width of the central interval of probability `level`, in units of the total standard deviation."""

    def recalibrated(self, new: Labels) -> tuple[Surrogate, Mapping[str, float]]:
        """After a look at labels that it has not learned: with intervals that fit, where they no longer did.

        Also what was seen, as numbers for the round's record (see `drift.report`); {} where it never looks.
        """

    def refit(self, new: Labels, replay: Labels, rng: np.random.Generator) -> Surrogate:
        """A new surrogate that learned `new`, with `replay` (old labels) mixed in against forgetting.

        Labels of a scheme that it does not know become a new scheme: an offset to the nearest known one.
        """

    def on(self, device: str) -> Surrogate:
        """The same surrogate computing on a torch device, such as ``cuda``."""

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `config.json` and `card.json`."""
