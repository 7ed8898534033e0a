"""LIFT (b): any causal language model, fine-tuned by LoRA on sentences, answering in decimal numbers that are sampled.

The text of an answer can be anything, so its distribution is not summed up but sampled; what is no number is counted
and left out. The base model stays where it is: a surrogate's folder holds the adapters (Hu et al., ICLR 2022) alone.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from discovery.errors import ConfigError, WeightsError
from discovery.model_files import short_hash
from discovery.surrogates.lift.answer_loss import Learning, answer_loss, padded, signed
from discovery.surrogates.lift.base import Answers, Example
from discovery.surrogates.lift.sentences import answer, parsed, question
from discovery.training import EpochReport, Hooks, TrainingConfig, TrainingData, evaluate, train

KIND = "sentences"
ROWS = 32  # compositions at a time
ANSWER_TOKENS = 12  # longest answer; one byte a token is the worst case
LEAST_SPREAD = 0.02  # eV/atom; that of few equal answers is not zero


@dataclass(frozen=True)
class SentenceSettings:
    """How a model is asked, and how much of it learns."""

    names: bool = True  # of the features, in the question
    samples: int = 8  # answers drawn for each composition
    rank: int = 8  # of the adapters
    seed: int = 0  # of their first values

    def __post_init__(self) -> None:
        if self.samples < 2 or self.rank < 1:
            raise ConfigError("--samples must be 2 or more (their spread is the uncertainty), --rank 1 or more")


@dataclass(frozen=True)
class SentenceModel:
    """A causal language model with adapters as an `Answerer`."""

    base: str  # local folder, or name on the Hugging Face hub
    base_hash: str  # of its weights
    network: Any  # peft.PeftModel, never changed after construction
    tokenizer: Any  # of transformers
    schemes: tuple[str, ...]
    settings: SentenceSettings

    kind = KIND

    @classmethod
    def of(cls, base: str, schemes: Sequence[str], settings: SentenceSettings) -> SentenceModel:
        """A base model with fresh adapters, which change nothing yet.

        Raises:
            WeightsError: no such model, or no safetensors weights.
            ConfigError: `peft` is not installed.
        """
        network, tokenizer = load_base(base)
        found = short_hash(network.state_dict())
        return cls(base, found, adapted(network, settings), tokenizer, tuple(schemes), settings)

    @classmethod
    def restored(cls, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> SentenceModel:
        """The model that `config` and `tensors` came from.

        Raises:
            WeightsError: the base model is missing, or has other weights.
            ValueError: tensors of another model.
        """
        settings = SentenceSettings(**config["settings"])
        model = cls.of(config["base"], config["schemes"], settings)
        if model.base_hash != config["base_hash"]:
            raise WeightsError(
                f"the language model {model.base} has other weights than the surrogate was trained with "
                f"({model.base_hash}, not {config['base_hash']}): put the old ones there or train anew"
            )
        own = model.tensors()
        if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in tensors.items()}:
            raise ValueError("adapters that do not fit")
        Learning(model.network).load_state_dict(tensors)
        return model

    def answers(self, formulas: Sequence[str], scheme: str) -> Answers:
        """Median and standard deviation of the answers that were numbers."""
        centre, spread = np.full(len(formulas), np.nan), np.full(len(formulas), np.nan)
        unreadable = np.zeros(len(formulas), dtype=np.int64)
        for start in range(0, len(formulas), ROWS):
            texts = self.written(formulas[start : start + ROWS], scheme)
            for row, said in enumerate(texts, start):
                numbers = [number for number in map(parsed, said) if number is not None]
                unreadable[row] = len(said) - len(numbers)
                if numbers:
                    centre[row] = np.median(numbers)
                    spread[row] = np.hypot(np.std(numbers), LEAST_SPREAD)
        return Answers(centre, np.nan_to_num(spread, nan=LEAST_SPREAD), unreadable, self.settings.samples)

    @torch.inference_mode()
    def written(self, formulas: Sequence[str], scheme: str) -> list[list[str]]:
        """Sampled answers as text, `settings.samples` for each composition; equal calls give equal texts."""
        questions = [self._tokens(question(f, scheme, names=self.settings.names), start=True) for f in formulas]
        width = max(map(len, questions))
        ids = torch.zeros(len(questions), width, dtype=torch.long)
        seen = torch.zeros_like(ids)
        for row, tokens in enumerate(questions):  # padded on the left, where generation goes on
            ids[row, width - len(tokens) :], seen[row, width - len(tokens) :] = torch.tensor(tokens), 1
        device = self.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(_seed(scheme, *formulas))
            made = self.network.eval().generate(
                input_ids=ids.to(device),
                attention_mask=seen.to(device),
                do_sample=True,
                top_k=0,
                num_return_sequences=self.settings.samples,
                max_new_tokens=ANSWER_TOKENS,
                pad_token_id=0,
            )
        texts = self.tokenizer.batch_decode(made[:, width:].cpu())
        k = self.settings.samples
        return [texts[start : start + k] for start in range(0, len(texts), k)]

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
        """See `Answerer`; only the adapters learn, and only they are kept in checkpoints."""
        data = TrainingData(self._sequences(examples), self._sequences(valid))
        network = self._copied()
        history = train(Learning(network), data, answer_loss, config, hooks)
        return replace(self, network=network.eval()), history

    def toward(self, other: Self, share: float) -> Self:
        """See `Answerer`."""
        network, after = self._copied(), other.tensors()
        between = {name: torch.lerp(value, after[name], share) for name, value in self.tensors().items()}
        Learning(network).load_state_dict(between)
        return replace(self, network=network.eval())

    def on(self, device: str) -> Self:
        """The same model on a torch device."""
        if torch.device(device) == self.device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """The adapters."""
        return {name: value.detach() for name, value in Learning(self.network).state_dict().items()}

    def config(self) -> Mapping[str, Any]:
        """Which base model, and how it is asked."""
        return {
            "base": self.base,
            "base_hash": self.base_hash,
            "schemes": list(self.schemes),
            "settings": asdict(self.settings),
        }

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(next(self.network.parameters()).device)

    def _copied(self) -> Any:
        """The network with adapters of its own; the frozen weights are shared, however large they are."""
        frozen = (value for value in self.network.parameters() if not value.requires_grad)
        return copy.deepcopy(self.network, {id(value): value for value in frozen})

    def _sequences(self, examples: Sequence[Example]) -> NDArray[np.int32]:
        names = self.settings.names
        return padded([
            signed(
                self._tokens(question(example.formula, example.scheme, names=names), start=True),
                self._tokens(answer(example.energy)),
            )
            for example in examples
        ])  # fmt: skip

    def _tokens(self, text: str, *, start: bool = False) -> list[int]:
        """Question and answer are cut into tokens apart, so that no token lies across the end of the question."""
        first = self.tokenizer.bos_token_id if start else None
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids if first is None else [first, *ids]


def load_base(base: str) -> tuple[Any, Any]:
    """Network and tokenizer of a local folder or a name on the hub; nothing is unpickled, no foreign code is run.

    Raises:
        WeightsError: it is not there, not whole, or the hub cannot be reached.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        network = AutoModelForCausalLM.from_pretrained(base, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"the language model {base!r} cannot be loaded ({reason}): give a local folder with config.json, "
            "model.safetensors and a tokenizer, or a name on the hub where it can be reached"
        ) from error
    return network.eval(), tokenizer


def adapted(network: Any, settings: SentenceSettings) -> Any:
    """The network with adapters on all of its linear layers.

    Raises:
        ConfigError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("language models with adapters need peft: pip install 'discovery-loop[lift]'") from error
    from transformers.pytorch_utils import Conv1D

    transposed = any(isinstance(module, Conv1D) for module in network.modules())  # as GPT-2 stores its weights
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules="all-linear",
        fan_in_fan_out=transposed,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that is to go
        torch.manual_seed(settings.seed)
        return get_peft_model(network, config).eval()


def _seed(*texts: str) -> int:
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
