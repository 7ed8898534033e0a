"""What a language model must do to be a surrogate: read examples, and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.surrogates.base import FloatArray, Labels
from discovery.training import EpochReport, Hooks, TrainingConfig


@dataclass(frozen=True)
class Example:
    """A question and its answer."""

    formula: str
    scheme: str  # of the energy; part of the question
    energy: float  # eV/atom


@dataclass(frozen=True)
class Answers:
    """What a model said of n compositions; arrays of shape (n,)."""

    centre: FloatArray  # eV/atom, median of the answers; NaN where none was a number
    spread: FloatArray  # eV/atom, standard deviation of the answers
    unreadable: NDArray[np.int64]  # answers that were no number
    asked: int  # answers drawn for each composition; 0: their exact distribution was summed up, all of it numbers


class Answerer(Protocol):
    """A language model that was asked for energies. Immutable: learning gives a new one."""

    @property
    def kind(self) -> str:
        """How `discovery.surrogates.lift.loading` knows it again."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names that a question may hold."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def answers(self, formulas: Sequence[str], scheme: str) -> Answers:
        """Answers to one question for each formula; equal calls give equal answers."""

    def loss_of(self, examples: Sequence[Example]) -> float:
        """Mean negative log-likelihood of the answers' tokens, nats per token; those of the questions do not count."""

    def taught(
        self,
        examples: Sequence[Example],
        valid: Sequence[Example],
        config: TrainingConfig,
        hooks: Hooks | None = None,
    ) -> tuple[Self, list[EpochReport]]:
        """The model after a training where it is, and a report for each epoch; `config.device` must be its own.

        With `valid` the weights of the best epoch are kept, otherwise those of the last.
        """

    def toward(self, other: Self, share: float) -> Self:
        """The model whose weights lie at `share` (0 to 1) of the straight line from this one to `other`."""

    def on(self, device: str) -> Self:
        """The same model on a torch device."""

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """What is stored of it."""

    def config(self) -> Mapping[str, Any]:
        """From which it is built again, as JSON."""


def examples_of(labels: Labels) -> list[Example]:
    """One example for each label."""
    rows = zip(labels.formulas, labels.schemes, labels.formation_energy_per_atom.tolist(), strict=True)
    return [Example(formula, scheme, energy) for formula, scheme, energy in rows]
