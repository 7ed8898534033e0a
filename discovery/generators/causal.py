"""Causal language models of compositions: GPT, GPT-2, GPT-Neo, GPT-J and the decoder of BART.

After Fu, Wei, Song et al., Mach. Learn.: Sci. Technol. 4, 015001 (2023), trained causally: every token carries loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BartForCausalLM, DynamicCache, GPT2LMHeadModel, GPTJForCausalLM, GPTNeoForCausalLM

from discovery import decoding, vocabulary
from discovery.composition import amounts
from discovery.generators import transformers_models as models
from discovery.generators.balance_loss import unbalanced_loss
from discovery.generators.base import SamplingOptions
from discovery.generators.network import NetworkGenerator, load_parts
from discovery.generators.transformers_models import Step, cached_step
from discovery.records import Sample
from discovery.training import pad
from discovery.vocabulary import END, PAD, START

SCORING_BATCH = 1024  # formulas


def causal_loss(model: torch.nn.Module, tokens: torch.Tensor, balance: float = 0.0) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood (nats) of all tokens after the first, and their number; pads do not count.

    In training, `balance` times `unbalanced_loss` is added.
    """
    targets = tokens[:, 1:]
    # pads stand on the right, where a causal model's real tokens cannot see them: no attention mask needed
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    summed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
    )
    if balance and model.training:
        summed = summed + balance * unbalanced_loss(logits, tokens)
    return summed, int((targets != PAD).sum())


def training_sequence(formula: str) -> list[int]:
    """``<start>``, the atoms of the reduced formula in canonical order, ``<end>``."""
    return [START, *vocabulary.encode(amounts(formula)), END]


@dataclass(frozen=True)
class CausalGenerator(NetworkGenerator):
    """A causal language model as a `LanguageModel`."""

    step: Step = cached_step  # how the network reads one more token
    balance: float = 0.0  # weight of `unbalanced_loss` in training

    def training_sequence(self, formula: str) -> list[int]:
        """See `training_sequence`."""
        return training_sequence(formula)

    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """See `causal_loss`."""
        return causal_loss(network, tokens, self.balance)

    @property
    def context(self) -> int:
        """Tokens that the network can read."""
        return int(self.network.config.max_position_embeddings)

    def fits(self, formula: str) -> bool:
        """True where the formula's log-probability is exact: its tokens fit into the context."""
        return len(training_sequence(formula)) - 1 <= self.context

    def config(self) -> Mapping[str, Any]:
        """The configuration of transformers, by which its `AutoModelForCausalLM` loads the folder, too."""
        return {**self.network.config.to_dict(), "architectures": [type(self.network).__name__]}

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences; see `discovery.decoding.sample`."""
        return decoding.sample(self.decoder(), n, rng, options)

    def decoder(self) -> decoding.Decoder:
        """The network as decoding sees it."""
        return _CachedDecoder(self)

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probability of each formula in canonical order, shape (n,); where it does not `fit`, a mean.

        A formula longer than the context gets the per-token mean over the part that fits times its full length.
        """
        sequences = [training_sequence(formula) for formula in formulas]
        totals = np.zeros(len(sequences))
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        for start in range(0, len(order), SCORING_BATCH):
            chunk = order[start : start + SCORING_BATCH]
            totals[chunk] = _token_sums(self.network, [sequences[index][: self.context + 1] for index in chunk])
        scored = np.array([min(len(sequence) - 1, self.context) for sequence in sequences])
        return np.asarray(totals * np.array([len(s) - 1 for s in sequences]) / np.maximum(scored, 1))


@dataclass(frozen=True)
class CausalFamily:
    """A family of causal language models with a network of transformers."""

    name: str
    config: Callable[[int, int, int], Any]  # (layers, width, heads) -> configuration of transformers
    network: Callable[[Any], Any]  # configuration -> network; its weights follow torch's global seed
    sizes: Mapping[str, tuple[int, int, int]]  # preset -> (layers, width, heads)
    step: Step = cached_step  # how the network reads one more token

    def build(self, preset: str) -> CausalGenerator:
        """An untrained model in a preset size."""
        return self.of_size(*self.sizes[preset]).with_card({"preset": preset})

    def of_size(self, layers: int, width: int, heads: int, dropout: float = 0.0) -> CausalGenerator:
        """An untrained model of any size."""
        config = self.config(layers, width, heads)
        network = self.network(models.with_dropout(config, dropout) if dropout else config).eval()
        return CausalGenerator(self.name, network, step=self.step)

    def load(self, folder: Path) -> CausalGenerator:
        """The model of a folder.

        Raises:
            WeightsError: a file is missing, truncated, or of another kind of model.
        """
        network, card = load_parts(folder, lambda _, config: self.network_of(config))
        return CausalGenerator(self.name, network, card, self.step)

    def network_of(self, config: Mapping[str, Any]) -> Any | None:
        """A network with random weights of a stored configuration; None where it is of another family."""
        kind = type(self.config(2, 8, 2))
        return self.network(kind.from_dict(dict(config))) if config.get("model_type") == kind.model_type else None


SMALL = (4, 128, 4)  # layers, width, heads: 0.8 M parameters
GPT = CausalFamily(
    "gpt", models.gpt_config, models.gpt_network, {"small": SMALL, "paper": (12, 180, 6)}, models.gpt_step
)
GPT2 = CausalFamily("gpt2", models.gpt2_config, GPT2LMHeadModel, {"small": SMALL, "paper": (8, 180, 4)})
GPTNEO = CausalFamily("gptneo", models.gptneo_config, GPTNeoForCausalLM, {"small": SMALL, "paper": (12, 180, 6)})
GPTJ = CausalFamily("gptj", models.gptj_config, GPTJForCausalLM, {"small": SMALL, "paper": (12, 180, 6)})
BART = CausalFamily("bart", models.bart_config, BartForCausalLM, {"small": SMALL, "paper": (10, 128, 4)})


class _CachedDecoder:
    """A causal network that reads one token a step and keeps the keys and values of what it has read."""

    def __init__(self, generator: CausalGenerator) -> None:
        self._network = generator.network.eval()
        self._step = generator.step
        self._context = generator.context
        self._cache = DynamicCache()

    @property
    def max_atoms(self) -> int:
        """Atoms that fit into the context beside start and end token."""
        return self._context - 2

    def begin(self) -> None:
        """Forget everything."""
        self._cache = DynamicCache()

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the next token, shape (rows, vocabulary)."""
        inputs = torch.from_numpy(tokens)[:, None].to(self._network.device)
        logits: NDArray[np.float32] = self._step(self._network, inputs, self._cache)[:, -1].float().cpu().numpy()
        return logits

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows only."""
        self._cache.batch_select_indices(torch.from_numpy(rows).to(self._network.device))


@torch.inference_mode()
def _token_sums(network: Any, sequences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log-probability of all tokens after the first, summed per sequence, shape (n,)."""
    tokens = torch.from_numpy(pad(sequences).astype(np.int64)).to(network.device)
    targets = tokens[:, 1:]
    logits = network.eval()(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PAD, reduction="none")
    sums: NDArray[np.float64] = -losses.double().sum(dim=1).cpu().numpy()
    return sums
