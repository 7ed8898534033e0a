"""LIFT (a): the language model of compositions itself, which goes on after the atoms with an energy in digits.

A question is what the language model knows, ``<start> Sr Ti O O O``, closed by the token of an energy scheme; the
answer is ``- 3 5 5``. The vocabulary and the context of the network grow, its weights stay. An answer has 4 tokens, so
its distribution is summed up (`beam`) instead of sampled: about 8 rows of one token for each composition, where 16
sampled answers would take 48 and be noisy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from discovery import vocabulary
from discovery.composition import compound_amounts
from discovery.errors import ConfigError, SchemeError
from discovery.generators.causal import BART, GPT, GPT2, GPTJ, GPTNEO, CausalGenerator
from discovery.generators.network import own_weights
from discovery.generators.transformers_models import cached_step
from discovery.surrogates.base import FloatArray
from discovery.surrogates.lift import digits
from discovery.surrogates.lift.answer_loss import Learning, answer_loss, padded, signed
from discovery.surrogates.lift.base import Answers, Example
from discovery.surrogates.lift.beam import Beam
from discovery.surrogates.lift.distribution import summary
from discovery.surrogates.lift.pretext import NAMES as PRETEXT
from discovery.training import EpochReport, Hooks, TrainingConfig, TrainingData, evaluate, train
from discovery.vocabulary import START

KIND = "composition"
FAMILIES = {family.name: family for family in (GPT, GPT2, GPTNEO, GPTJ, BART)}
CONTEXT = 64  # tokens that the network reads; 97.7 % of the compounds of the Materials Project fit as they are
MAX_ATOMS = CONTEXT - digits.LENGTH - 1  # beside start and scheme, and all digits but the last, which is not read
ROWS = 256  # compositions at a time
JITTER = 0.02  # eV/atom, noise on the labels in training: neighbouring numbers share their digits' probability


@dataclass(frozen=True)
class CompositionModel:
    """A causal language model of compositions as an `Answerer`."""

    family: str
    network: Any  # of transformers, never changed after construction
    schemes: tuple[str, ...]  # in the order of their tokens

    kind = KIND

    @classmethod
    def of(cls, generator: object, schemes: Sequence[str]) -> CompositionModel:
        """A language model of compositions with room for questions and answers.

        Raises:
            ConfigError: no causal language model, or more schemes than tokens for them.
        """
        if not isinstance(generator, CausalGenerator) or generator.name not in FAMILIES:
            raise ConfigError(f"--start must be a causal language model: {', '.join(FAMILIES)}, or a folder of one")
        if len(schemes) > digits.SCHEMES:
            raise ConfigError(f"{len(schemes)} energy schemes are too many: give {digits.SCHEMES} at most")
        return cls(generator.name, grown(generator.name, generator.network), tuple(schemes))

    @classmethod
    def restored(cls, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> CompositionModel:
        """The model that `config` and `tensors` came from.

        Raises:
            ValueError: tensors or tokens of another model.
        """
        if config["tokens"] != list(vocabulary.TOKENS):
            raise ValueError("another vocabulary")
        network = FAMILIES[config["family"]].network_of(config["network"])
        if network is None:
            raise ValueError(f"no {config['family']}")
        if shapes(own_weights(network)) != shapes(tensors):
            raise ValueError("sizes that do not fit")
        network.load_state_dict(dict(tensors), strict=False)  # what is tied to a loaded tensor is missing
        return cls(config["family"], network.eval(), tuple(config["schemes"]))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.network.device)

    def from_scratch(self, seed: int) -> CompositionModel:
        """The same architecture with random weights: the control."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = FAMILIES[self.family].network(copy.deepcopy(self.network.config))
        return replace(self, network=network.eval())

    def question(self, formula: str, scheme: str) -> list[int]:
        """Tokens of a question."""
        return [START, *atoms(formula), self._scheme_token(scheme)]

    def answers(self, formulas: Sequence[str], scheme: str) -> Answers:
        """Median and standard deviation of the answers' distribution."""
        questions = [self.question(formula, scheme) for formula in formulas]
        lengths = np.array([len(question) for question in questions], dtype=np.int64)
        centre, spread = np.empty(len(questions)), np.empty(len(questions))
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            for rows in np.array_split(alike, -(-len(alike) // ROWS)):
                tokens = torch.tensor([questions[row] for row in rows], device=self.network.device)
                centre[rows], spread[rows] = summary(*self._distribution(tokens), len(rows))
        return Answers(centre, spread, np.zeros(len(questions), dtype=np.int64), 0)

    @torch.inference_mode()
    def _distribution(self, questions: torch.Tensor) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Owner, value (eV/atom) and probability of the answers to questions of equal length."""
        cache, tokens = DynamicCache(), questions
        beam = Beam.begin(len(questions))
        for place in range(digits.LENGTH):
            first, stop = digits.choices(place)
            logits = self._read(tokens, cache)[:, first:stop].double().cpu()
            rows, beam = beam.grown(logits, first)
            if place < digits.LENGTH - 1:
                cache.batch_select_indices(rows.to(questions.device))
                tokens = beam.written[:, -1:].to(questions.device)
        return beam.all_leaves()

    def _read(self, tokens: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Logits after the last of some tokens, shape (rows, vocabulary)."""
        step = FAMILIES[self.family].step
        if step is cached_step:
            return step(self.network, tokens, cache)[:, -1].float()
        for place in range(tokens.shape[1]):  # a class without a cache of its own reads one token at a time
            logits = step(self.network, tokens[:, place : place + 1], cache)
        return logits[:, -1].float()

    def loss_of(self, examples: Sequence[Example]) -> float:
        """See `Answerer`."""
        config = TrainingConfig(device=str(self.device))
        return evaluate(self.network, self._sequences(examples), answer_loss, config)

    def taught(
        self,
        examples: Sequence[Example],
        valid: Sequence[Example],
        config: TrainingConfig,
        hooks: Hooks | None = None,
    ) -> tuple[Self, list[EpochReport]]:
        """See `Answerer`."""
        data = TrainingData(self._sequences(examples), self._sequences(valid))
        network = copy.deepcopy(self.network)
        history = train(Learning(network), data, jittered_loss, config, hooks)
        return replace(self, network=network.eval()), history

    def toward(self, other: Self, share: float) -> Self:
        """See `Answerer`."""
        network = copy.deepcopy(self.network)
        after = other.network.state_dict()
        network.load_state_dict({
            name: torch.lerp(value, after[name], share) if value.is_floating_point() else value
            for name, value in self.network.state_dict().items()
        })  # fmt: skip
        return replace(self, network=network.eval())

    def on(self, device: str) -> Self:
        """The same model on a torch device."""
        if torch.device(device) == self.device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """The weights."""
        return own_weights(self.network)

    def config(self) -> Mapping[str, Any]:
        """Family, sizes, schemes and tokens."""
        return {
            "family": self.family,
            "network": self.network.config.to_dict(),
            "schemes": list(self.schemes),
            "tokens": list(vocabulary.TOKENS),
        }

    def _sequences(self, examples: Sequence[Example]) -> NDArray[np.int32]:
        numbers = torch.tensor([example.energy for example in examples], dtype=torch.float64)
        written = digits.encode(numbers).tolist()
        questions = (self.question(example.formula, example.scheme) for example in examples)
        return padded([signed(question, answer) for question, answer in zip(questions, written, strict=True)])

    def _scheme_token(self, scheme: str) -> int:
        if scheme in self.schemes:
            return digits.FIRST_SCHEME + self.schemes.index(scheme)
        if scheme in PRETEXT:
            return digits.FIRST_SCHEME + digits.SCHEMES + PRETEXT.index(scheme)
        raise SchemeError(f"the surrogate does not know scheme {scheme!r}: use one of {', '.join(self.schemes)}")


def atoms(formula: str) -> list[int]:
    """Element tokens of a composition; one that is too long is scaled down to `MAX_ATOMS`, every element kept.

    Raises:
        CompositionError: no composition.
    """
    counts = compound_amounts(formula)
    divisor = math.gcd(*counts.values())
    counts = {symbol: count // divisor for symbol, count in counts.items()}
    total = sum(counts.values())
    if total <= MAX_ATOMS:
        return vocabulary.encode(counts)
    spare = (MAX_ATOMS - len(counts)) / total
    return vocabulary.encode({symbol: 1 + int(count * spare) for symbol, count in counts.items()})


def shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    """Sizes by name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def grown(family: str, network: Any) -> Any:
    """A network with the tokens of `digits` and a context of `CONTEXT`, old weights in their old places.

    New rows of embeddings start as torch draws them, from a fixed seed; new positions as the last old one, since they
    mean "far from the start".
    """
    config = copy.deepcopy(network.config)
    config.vocab_size, config.max_position_embeddings = digits.SIZE, max(CONTEXT, config.max_position_embeddings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        larger = FAMILIES[family].network(config)
    old = dict(network.named_parameters())
    with torch.no_grad():
        for name, value in larger.named_parameters():
            known = old[name]
            value[: len(known)] = known
            if len(known) < len(value) and len(value) < digits.SIZE:
                value[len(known) :] = known[-1]
    return larger.eval()


def jittered_loss(model: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
    """`answer_loss`; in training with normal noise on the labels, which torch's global generator draws."""
    if not model.training:
        return answer_loss(model, tokens)
    answered = tokens > 0
    energies = digits.decode(tokens[answered].view(-1, digits.LENGTH) - 1)
    noise = JITTER * torch.randn(len(energies)).to(tokens.device)
    moved = tokens.masked_scatter(answered, digits.encode(energies + noise) + 1)
    return answer_loss(model, moved)
