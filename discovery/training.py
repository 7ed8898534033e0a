"""One training loop for every language model of compositions.

Sequences are cut into batches of about equal length and equal numbers of tokens, so that next to nothing is padded and
every step costs the same. Randomness is a function of (seed, epoch) alone, that of losses which mask tokens included: a
resumed training repeats nothing and ends with the weights of an uninterrupted one. Validation draws the same numbers in
every epoch, so that its losses compare.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.checkpoints import TrainingState, read_checkpoint, write_checkpoint
from discovery.errors import ConfigError
from discovery.vocabulary import PAD

MAY_CHANGE = frozenset({"device", "epochs", "patience"})  # of the settings when a training is resumed
VALIDATION, TRAINING = range(2)  # what torch's random numbers are for; part of their seed
Tokens = NDArray[np.signedinteger[Any]]
LossFunction = Callable[[torch.nn.Module, torch.Tensor], tuple[torch.Tensor, int]]
"""(model, tokens of shape (batch, length), padded) -> (summed loss in nats, tokens scored); may draw from torch."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained."""

    epochs: int = 20
    tokens_per_batch: int = 2048  # about 256 formulas
    peak_learning_rate: float = 2e-3  # reached at the end of the warm-up, then a cosine down to 0
    warmup_share: float = 0.1  # of all steps
    weight_decay: float = 0.05  # decoupled (AdamW); on matrices only
    gradient_clip: float = 1.0  # largest norm of the gradient
    patience: int = 5  # epochs without a better validation loss before training ends
    device: str = "cpu"
    seed: int = 0
    epoch_share: float = 1.0  # of the batches that an epoch trains on, drawn anew in each epoch

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.tokens_per_batch < 1 or self.patience < 1:
            raise ConfigError("epochs, tokens_per_batch and patience must be 1 or more")
        if not self.peak_learning_rate > 0:
            raise ConfigError(f"the learning rate must be positive, not {self.peak_learning_rate}")
        if not 0 < self.epoch_share <= 1:
            raise ConfigError(f"epoch_share is a share of the data above 0, at most 1, not {self.epoch_share}")


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave; losses in nats per token."""

    epoch: int  # counted from 1
    epochs: int
    train_loss: float
    valid_loss: float
    tokens_per_second: float
    seconds: float  # of this epoch
    seconds_left: float  # for all epochs that are still to come

    def line(self) -> str:
        """One line of progress."""
        return (
            f"epoch {self.epoch}/{self.epochs}  train {self.train_loss:.4f}  valid {self.valid_loss:.4f} nats/token  "
            f"{self.tokens_per_second:,.0f} tokens/s  {self.seconds:.0f} s  {self.seconds_left / 60:.1f} min left"
        )


@dataclass(frozen=True)
class TrainingData:
    """Token sequences, start and end included; each of shape (n, longest), padded with PAD."""

    train: Tokens
    valid: Tokens  # may be empty: then the last weights are kept


@dataclass(frozen=True)
class Hooks:
    """What a caller may hang into the loop."""

    on_epoch: Callable[[EpochReport], None] | None = None
    checkpoint: Path | None = None  # written after every epoch; training resumes from it where it exists
    may_change: frozenset[str] = MAY_CHANGE  # settings that may differ from those of the checkpoint


def pad(sequences: Sequence[Sequence[int]]) -> NDArray[np.int16]:
    """Sequences as one array of shape (n, longest), filled up with PAD."""
    width = max((len(sequence) for sequence in sequences), default=0)
    padded = np.full((len(sequences), width), PAD, dtype=np.int16)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded


def learning_rate(step: int, total: int, config: TrainingConfig) -> float:
    """Rate at `step` (from 0) of `total`: linear warm-up, then half a cosine to 0 (Loshchilov & Hutter 2017)."""
    warmup = max(1, round(config.warmup_share * total))
    if step < warmup:
        return config.peak_learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return config.peak_learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def batches(tokens: Tokens, budget: int, rng: np.random.Generator) -> list[Tokens]:
    """Rows grouped by length into batches of at most `budget` tokens (one row at least), in random order."""
    lengths = (tokens != PAD).sum(axis=1)
    order = np.lexsort((rng.random(len(tokens)), lengths))
    cut: list[Tokens] = []
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= budget:
            stop += 1
        cut.append(tokens[order[start:stop], : lengths[order[stop - 1]]])
        start = stop
    return [cut[index] for index in rng.permutation(len(cut))]


def evaluate(model: torch.nn.Module, tokens: Tokens, loss: LossFunction, config: TrainingConfig) -> float:
    """Mean loss in nats per token, with random numbers that are the same in every call; NaN where there are no rows."""
    model.eval()
    total, scored = 0.0, 0
    with torch.no_grad(), _seeded(config.device, VALIDATION):
        for batch in batches(tokens, 4 * config.tokens_per_batch, np.random.default_rng(0)):
            summed, count = loss(model, _to_device(batch, config.device))
            total, scored = total + float(summed), scored + count
    return total / scored if scored else math.nan


def train(
    model: torch.nn.Module, data: TrainingData, loss: LossFunction, config: TrainingConfig, hooks: Hooks | None = None
) -> list[EpochReport]:
    """Train `model` in place; with a validation part it ends with the best weights, otherwise with the last.

    Returns:
        One report per epoch, those of an earlier, interrupted run included.
    """
    hooks = hooks or Hooks()
    model.to(config.device)
    optimizer = _optimizer(model, config)
    state = _resume(model, optimizer, config, hooks)
    while len(state.history) < config.epochs and state.epochs_without_progress < config.patience:
        report = _run_epoch(model, optimizer, data, loss, (config, len(state.history)))
        state = _advance(state, report, model)
        if hooks.checkpoint is not None:
            write_checkpoint(hooks.checkpoint, model, optimizer, state)
        if hooks.on_epoch is not None:
            hooks.on_epoch(report)
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    return [EpochReport(**entry) for entry in state.history]


def _run_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data: TrainingData,
    loss: LossFunction,
    position: tuple[TrainingConfig, int],
) -> EpochReport:
    config, done = position
    began = time.perf_counter()
    cut = batches(data.train, config.tokens_per_batch, np.random.default_rng([config.seed, done]))
    cut = cut[: max(1, round(config.epoch_share * len(cut)))]
    model.train()
    total, scored = 0.0, 0
    with _seeded(config.device, TRAINING, config.seed, done):
        for index, batch in enumerate(cut):
            rate = learning_rate(done * len(cut) + index, config.epochs * len(cut), config)
            summed, count = _step(model, optimizer, _to_device(batch, config.device), loss, (rate, config))
            total, scored = total + summed, scored + count
    seconds = time.perf_counter() - began
    valid = evaluate(model, data.valid, loss, config)
    elapsed = time.perf_counter() - began
    left = elapsed * (config.epochs - done - 1)
    return EpochReport(done + 1, config.epochs, total / max(1, scored), valid, scored / seconds, elapsed, left)


def _step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tokens: torch.Tensor,
    loss: LossFunction,
    rate_and_config: tuple[float, TrainingConfig],
) -> tuple[float, int]:
    rate, config = rate_and_config
    for group in optimizer.param_groups:
        group["lr"] = rate
    with _precision(config.device):
        summed, count = loss(model, tokens)
    optimizer.zero_grad(set_to_none=True)
    (summed / max(1, count)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
    optimizer.step()
    return float(summed.detach()), count


@contextlib.contextmanager
def _seeded(device: str, *key: int) -> Iterator[None]:
    """Torch's global generator as a function of `key`; on leaving it goes on where it was."""
    kind = torch.device(device)
    with torch.random.fork_rng(devices=[kind] if kind.type == "cuda" else []):
        torch.manual_seed(int(np.random.default_rng(key).integers(2**63)))
        yield


def _precision(device: str) -> contextlib.AbstractContextManager[object]:
    # bfloat16 needs no loss scaling; on a CPU without native bfloat16 it is 12 times slower than float32
    if torch.device(device).type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},  # biases and norms
    ]
    return torch.optim.AdamW(groups, lr=config.peak_learning_rate, betas=(0.9, 0.98), fused=True)


def _resume(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig, hooks: Hooks
) -> TrainingState:
    settings = {key: value for key, value in asdict(config).items() if key not in hooks.may_change}
    if hooks.checkpoint is None or not hooks.checkpoint.exists():
        return TrainingState(settings=settings)
    return read_checkpoint(hooks.checkpoint, model, optimizer, settings)


def _advance(state: TrainingState, report: EpochReport, model: torch.nn.Module) -> TrainingState:
    history = (*state.history, asdict(report))
    if math.isnan(report.valid_loss):
        return replace(state, history=history)
    if report.valid_loss >= state.best_loss:
        return replace(state, history=history, epochs_without_progress=state.epochs_without_progress + 1)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    return replace(state, history=history, epochs_without_progress=0, best_loss=report.valid_loss, best_weights=weights)


def _to_device(batch: Tokens, device: str) -> torch.Tensor:
    return torch.from_numpy(batch.astype(np.int64)).to(device)
