"""Causal language models of compositions (GPT-2), from `transformers`, with our own vocabulary.

After Fu, Wei, Song et al., Mach. Learn.: Sci. Technol. 4, 015001 (2023), trained causally: every token carries loss.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from discovery import decoding, model_files, vocabulary
from discovery.composition import amounts
from discovery.errors import WeightsError
from discovery.generators.base import SamplingOptions
from discovery.records import Sample
from discovery.training import TrainingConfig, TrainingData, pad, train
from discovery.vocabulary import END, PAD, START

CONTEXT = 32  # <start>, at most 30 atoms, <end>
SCORING_BATCH = 1024  # formulas


def gpt2_config(layers: int, width: int, heads: int) -> GPT2Config:
    """A GPT-2 configuration over our vocabulary.

    No dropout: on a CPU it costs more than it gives with 1 M parameters. The GELU is GPT-2's tanh form in torch's
    fused version: the same function as `gelu_new`, a fifth faster in training.
    """
    return GPT2Config(
        vocab_size=vocabulary.SIZE,
        n_positions=CONTEXT,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=START,
        eos_token_id=END,
    )


def causal_loss(model: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood (nats) of all tokens after the first, and their number; pads do not count."""
    targets = tokens[:, 1:]
    # pads stand on the right, where a causal model's real tokens cannot see them: no attention mask needed
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    summed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
    )
    return summed, int((targets != PAD).sum())


def training_sequence(formula: str) -> list[int]:
    """``<start>``, the atoms of the reduced formula in canonical order, ``<end>``."""
    return [START, *vocabulary.encode(amounts(formula)), END]


@dataclass(frozen=True)
class CausalGenerator:
    """A causal language model as a `Generator`; its network is never changed after construction."""

    name: str  # family, such as "gpt2"
    network: GPT2LMHeadModel
    card: Mapping[str, Any] = field(default_factory=dict)  # command, data, licence, results

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, `config.json` and `card.json`; the folder loads with transformers, too."""
        model_files.write_weights(folder, _own_weights(self.network))
        model_files.write_json(folder / model_files.CONFIG, _config(self.network))
        model_files.write_json(folder / model_files.CARD, {"model": self.name, "version": self.version, **self.card})

    def with_card(self, card: Mapping[str, Any]) -> CausalGenerator:
        """The same model with entries of its card added or replaced."""
        return replace(self, card={**self.card, **card})

    @cached_property
    def version(self) -> str:
        """Family name and a short hash of the weights."""
        return f"{self.name}-{model_files.short_hash(_own_weights(self.network))}"

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences; see `discovery.decoding.sample`."""
        return decoding.sample(_CachedDecoder(self.network), n, rng, options)

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probability of each formula in canonical order, shape (n,); where it does not `fit`, a mean.

        A formula longer than the context gets the per-token mean over the part that fits times its full length.
        """
        sequences = [training_sequence(formula) for formula in formulas]
        context = int(self.network.config.n_positions)
        totals = np.zeros(len(sequences))
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        for start in range(0, len(order), SCORING_BATCH):
            chunk = order[start : start + SCORING_BATCH]
            totals[chunk] = _token_sums(self.network, [sequences[index][: context + 1] for index in chunk])
        scored = np.array([min(len(sequence) - 1, context) for sequence in sequences])
        return np.asarray(totals * np.array([len(s) - 1 for s in sequences]) / np.maximum(scored, 1))

    def fits(self, formula: str) -> bool:
        """True where the formula's log-probability is exact: its tokens fit into the context."""
        return len(training_sequence(formula)) - 1 <= int(self.network.config.n_positions)

    def fine_tune(
        self, formulas: Sequence[str], rng: np.random.Generator, epochs: int, learning_rate: float
    ) -> CausalGenerator:
        """A new generator, trained further on `formulas`; those that do not fit into the context are left out."""
        sequences = [training_sequence(formula) for formula in formulas if self.fits(formula)]
        if not sequences:
            return self
        network = copy.deepcopy(self.network)
        config = TrainingConfig(epochs=epochs, peak_learning_rate=learning_rate, seed=int(rng.integers(2**31)))
        train(network, TrainingData(pad(sequences), pad([])), causal_loss, config)
        network.eval()
        return replace(self, network=network)

    @classmethod
    def load(cls, folder: Path) -> CausalGenerator:
        """The generator of a model folder.

        Raises:
            WeightsError: a file is missing, truncated, or of another kind of model.
        """
        config, card = (
            model_files.read_json(folder / model_files.CONFIG),
            model_files.read_json(folder / model_files.CARD),
        )
        if config.get("architectures") != ["GPT2LMHeadModel"] or config.get("tokens") != list(vocabulary.TOKENS):
            raise WeightsError(f"{folder} holds another kind of model than {cls.__name__}: name one of discovery.train")
        tensors = model_files.read_weights(folder)
        network = GPT2LMHeadModel(GPT2Config.from_dict(config))
        missing, unexpected = (
            network.load_state_dict(tensors, strict=False) if _same_shapes(network, tensors) else (["shapes"], [])
        )
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise WeightsError(
                f"{folder / model_files.WEIGHTS} does not fit its config.json: copy the model folder again"
            )
        network.tie_weights()
        network.eval()
        return cls(str(card.get("model", "gpt2")), network, card)


class _CachedDecoder:
    """A causal network that reads one token a step and keeps the keys and values of what it has read."""

    def __init__(self, network: GPT2LMHeadModel) -> None:
        self._network = network.eval()
        self._cache = DynamicCache()

    @property
    def max_atoms(self) -> int:
        """Atoms that fit into the context beside start and end token."""
        return int(self._network.config.n_positions) - 2

    def begin(self) -> None:
        """Forget everything."""
        self._cache = DynamicCache()

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the next token, shape (rows, vocabulary)."""
        inputs = torch.from_numpy(tokens)[:, None].to(self._network.device)
        output = self._network(input_ids=inputs, past_key_values=self._cache, use_cache=True)
        logits: NDArray[np.float32] = output.logits[:, -1].float().cpu().numpy()
        return logits

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows only."""
        self._cache.batch_select_indices(torch.from_numpy(rows).to(self._network.device))


@torch.inference_mode()
def _token_sums(network: GPT2LMHeadModel, sequences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log-probability of all tokens after the first, summed per sequence, shape (n,)."""
    tokens = torch.from_numpy(pad(sequences).astype(np.int64)).to(network.device)
    targets = tokens[:, 1:]
    logits = network.eval()(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PAD, reduction="none")
    sums: NDArray[np.float64] = -losses.double().sum(dim=1).cpu().numpy()
    return sums


def _same_shapes(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> bool:
    own = network.state_dict()
    return all(name in own and own[name].shape == tensor.shape for name, tensor in tensors.items())


def _own_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    # the output layer is tied to the embedding: it is stored once, as transformers does
    return {name: tensor for name, tensor in network.state_dict().items() if name != "lm_head.weight"}


def _config(network: GPT2LMHeadModel) -> dict[str, Any]:
    config: dict[str, Any] = network.config.to_dict()
    return {**config, "architectures": ["GPT2LMHeadModel"], "tokens": list(vocabulary.TOKENS)}
