"""The Protocols that generators of compositions follow: any source, language models, and those that fill gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from discovery.constraints import Constraints
from discovery.records import Sample

if TYPE_CHECKING:
    import torch

    from discovery.templates import Template
    from discovery.training import EpochReport, Hooks, TrainingConfig


@dataclass(frozen=True)
class SamplingOptions:
    """How sequences are drawn."""

    constrained: bool = False  # follow charge neutrality and the Pauling test token by token
    constraints: Constraints = field(
        default_factory=Constraints
    )  # the user's element and size limits; honoured in either mode
    temperature: float = 1.0
    batch_size: int = 512
    # only the likeliest tokens that together have this share of the mass are drawn (nucleus sampling, Holtzman et al.,
    # ICLR 2020); 1: all. Where sequences are written from left to right
    top_p: float = 1.0
    # log-weight of each element of the vocabulary: compositions are drawn in proportion to p(x) and the weights of
    # their elements; empty: p(x) alone. See `discovery.generators.rarity`. Language models only
    element_scores: tuple[float, ...] = ()


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

    def on(self, device: str) -> Generator:
        """The same generator computing on a torch device, such as ``cuda``; itself where nothing is to be moved."""

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `config.json` and `card.json`."""


class LanguageModel(Generator, Protocol):
    """A generator with a network that is trained on formulas; `discovery.generators.network` holds what all share."""

    @property
    def network(self) -> torch.nn.Module:
        """The network; nobody changes it after construction."""

    @property
    def card(self) -> Mapping[str, Any]:
        """Entries of `card.json`: command, data, licence, results."""

    def training_sequence(self, formula: str) -> list[int]:
        """Token ids of a formula as training reads them, specials included."""

    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Summed loss in nats and the number of tokens it is summed over; the loop divides one by the other.

        Args:
            network: a network of this family, in training or evaluation mode.
            tokens: training sequences, shape (batch, length), padded with PAD on the right.

        Randomness (which tokens are masked) comes from torch's global generator, which the training loop seeds.
        """

    def fits(self, formula: str) -> bool:
        """True where the formula's log-probability is exact: its tokens fit into the context."""

    def with_card(self, card: Mapping[str, Any]) -> Self:
        """The same model with entries of its card added or replaced."""

    def on(self, device: str) -> Self:
        """The same model on a torch device, such as ``cuda``."""

    def fit(
        self,
        train_formulas: Sequence[str],
        valid_formulas: Sequence[str],
        config: TrainingConfig,
        hooks: Hooks | None = None,
    ) -> tuple[Self, list[EpochReport]]:
        """A new generator, trained from the present weights, and a report per epoch; formulas that do not fit are out.

        `valid_formulas` may be empty: then the last weights are kept, otherwise the best.
        """


@runtime_checkable
class Filler(Protocol):
    """A generator that can also complete a composition of which a part is given."""

    def fill(self, template: Template, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences that keep what the template gives and fill its gaps."""
