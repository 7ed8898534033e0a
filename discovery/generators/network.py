"""What all language models share: they are trained, fine-tuned, moved, versioned, saved and loaded in the same way."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from discovery import model_files, vocabulary
from discovery.errors import DataError, WeightsError
from discovery.training import EpochReport, Hooks, TrainingConfig, TrainingData, pad, train


@dataclass(frozen=True)
class NetworkGenerator(ABC):
    """Base of the language models: a family gives its network, sequences, loss, sampling and likelihood."""

    name: str  # family, such as "gpt2"
    network: Any  # torch.nn.Module, never changed after construction
    card: Mapping[str, Any] = field(default_factory=dict)  # command, data, licence, results

    @abstractmethod
    def training_sequence(self, formula: str) -> list[int]:
        """Token ids of a formula as training reads them, specials included."""

    @abstractmethod
    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Summed loss in nats of padded training sequences, shape (batch, length), and the number of tokens scored."""

    @abstractmethod
    def fits(self, formula: str) -> bool:
        """True where the formula's tokens fit into the context."""

    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """What `load_parts` builds the same network from; its ``architectures`` names the kind of network."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weights: torch.Tensor = next(self.network.parameters())
        return weights.device

    def on(self, device: str) -> Self:
        """The same model on a torch device, such as ``cuda``."""
        if torch.device(device) == self.device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    def with_card(self, card: Mapping[str, Any]) -> Self:
        """The same model with entries of its card added or replaced."""
        return replace(self, card={**self.card, **card})

    @cached_property
    def version(self) -> str:
        """Family name and a short hash of the weights."""
        return f"{self.name}-{model_files.short_hash(own_weights(self.network))}"

    def fit(
        self,
        train_formulas: Sequence[str],
        valid_formulas: Sequence[str],
        config: TrainingConfig,
        hooks: Hooks | None = None,
    ) -> tuple[Self, list[EpochReport]]:
        """A new generator on the device of this one, trained from its weights on `config.device`; see `train`.

        Raises:
            DataError: no formula to train on fits.
        """
        data = TrainingData(self._padded(train_formulas), self._padded(valid_formulas))
        if not len(data.train):
            raise DataError(
                f"none of {len(train_formulas)} formulas to train on fits into the context: give shorter ones"
            )
        network = copy.deepcopy(self.network)
        history = train(network, data, self.loss, config, hooks)
        return replace(self, network=network.to(self.device).eval()), history

    def fine_tune(self, formulas: Sequence[str], rng: np.random.Generator, epochs: int, learning_rate: float) -> Self:
        """A new generator, trained further on `formulas`; those that do not fit into the context are left out."""
        if not any(self.fits(formula) for formula in formulas):
            return self
        seed = int(rng.integers(2**31))
        config = TrainingConfig(epochs, peak_learning_rate=learning_rate, device=str(self.device), seed=seed)
        return self.fit(formulas, (), config)[0]

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `config.json` and `card.json`."""
        config = {**self.config(), "tokens": list(vocabulary.TOKENS)}
        model_files.write_weights(folder, own_weights(self.network))
        model_files.write_json(folder / model_files.CONFIG, config)
        own = {"model": self.name, "version": self.version}  # first, and not those of a model that this one came from
        model_files.write_json(folder / model_files.CARD, {**own, **self.card, **own})

    def _padded(self, formulas: Sequence[str]) -> NDArray[np.int16]:
        return pad([self.training_sequence(formula) for formula in formulas if self.fits(formula)])


def own_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network, those that are tied to an earlier one left out, as transformers stores them."""
    seen: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in network.state_dict().items():
        seen.setdefault((tensor.data_ptr(), tensor.shape), name)
    kept = set(seen.values())
    return {name: tensor for name, tensor in network.state_dict().items() if name in kept}


def load_parts(
    folder: Path, build: Callable[[str, dict[str, Any]], torch.nn.Module | None]
) -> tuple[Any, dict[str, Any]]:
    """Network, in evaluation mode, and card of a model folder.

    Args:
        folder: of the model.
        build: (architecture, config) -> a network with any weights; None where it is no architecture of the family.

    Raises:
        WeightsError: a file is missing, truncated, or of another kind of model.
    """
    config, card = (model_files.read_json(folder / name) for name in (model_files.CONFIG, model_files.CARD))
    named = config.get("architectures")
    ours = isinstance(named, list) and len(named) == 1 and config.get("tokens") == list(vocabulary.TOKENS)
    network = build(str(named[0]), config) if ours and named else None
    if network is None:
        raise WeightsError(f"{folder} holds another kind of model than asked for: name one of discovery.train")
    tensors, own = model_files.read_weights(folder), own_weights(network)
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: t.shape for name, t in own.items()}:
        raise WeightsError(f"{folder / model_files.WEIGHTS} does not fit its config.json: copy the model folder again")
    network.load_state_dict(tensors, strict=False)  # what is tied to a loaded tensor is missing
    return network.eval(), card
