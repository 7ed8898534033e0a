"""The Protocol that every generator of compositions follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from discovery.constraints import Constraints
from discovery.records import Sample


@dataclass(frozen=True)
class SamplingOptions:
    """How sequences are drawn."""

    constrained: bool = False  # follow charge neutrality and the Pauling test token by token
    constraints: Constraints = field(
        default_factory=Constraints
    )  # the user's element and size limits; honoured in either mode
    temperature: float = 1.0
    batch_size: int = 512


class Generator(Protocol):
    """A source of compositions. Immutable: learning gives a new one."""

    @property
    def name(self) -> str:
        """Family name, such as ``gpt2``."""

    @property
    def version(self) -> str:
        """Family name and a short hash of the weights: two equal versions write the same samples."""

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences, valid or not.

        Raises:
            ConstraintError: the constraints admit no composition; the message says why.
        """

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probability of each formula written in canonical order, end token included, shape (n,).

        A formula longer than the context: per-token mean over the part that fits times its full length.
        """

    def fine_tune(
        self, formulas: Sequence[str], rng: np.random.Generator, epochs: int, learning_rate: float
    ) -> Generator:
        """A new generator, trained further on `formulas` (repeated entries weigh more)."""

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `config.json` and `card.json`."""
