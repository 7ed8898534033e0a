"""Training of many members side by side, as one computation on a GPU.

A network of a million parameters leaves a GPU idle: a step is a thousand small kernels. Here the weights of all members
are stacked and every kernel serves all of them; a step is compiled where `torch.compile` can, recorded once and
replayed (a CUDA graph). Each member has its own initial weights, order of the data and dropout, as when members are
trained one by one (`discovery.surrogates.training`), with the same schedule, loss and averaged weights. Three things
differ: matrix products of a GPU are in bfloat16, batches have a fixed share of compositions with many elements (what is
recorded needs fixed shapes), and rows that do not fill the last batch of an epoch wait for another one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from discovery.errors import WeightsError
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.features import N_ELEMENTS, fraction_basis
from discovery.surrogates.network import Network, NetworkConfig
from discovery.surrogates.training import (
    TrainingConfig,
    epoch_rows,
    initial_network,
    label_weights,
    learning_rate,
    predict_rows,
    read_tensors,
    write_tensors,
)

SHORT = 4  # elements: compositions with more go through in a part of their own, with more padding
WARM_UP_STEPS = 3  # with a learning rate of 0, before a step is recorded
PART = 1 << 15  # compositions whose basis is made at once
BARRED = -1e4  # logit of an empty place
Batch = tuple[tuple[Tensor, Tensor, Tensor], ...]  # parts of one padding: elements, fractions, basis


@dataclass(frozen=True)
class StackReport:
    """What some epochs gave."""

    epoch: int  # counted from 1
    loss: float  # mean over members
    seconds: float  # since the start of the training
    member_mae: float  # eV/atom, first scheme, validation part, averaged weights: mean of the members
    ensemble_mae: float  # of their mean


@dataclass(frozen=True)
class Forward:
    """The forward pass of all members at once: `Network` with one more dimension, on padded compositions."""

    sizes: NetworkConfig
    properties: Tensor  # (elements, properties)
    dropout: float

    def pooled(self, weights: dict[str, Tensor], part: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Pooled representation, shape (members, n, pooled).

        Args:
            weights: by the names of `Network`, each of shape (members, ...).
            part: elements (members, n, places), anything in an empty place; atomic fractions, 0 in an empty place;
                their basis (members, n, places, BASIS_SIZE).
        """
        elements, fractions, basis = part
        members, n, places = elements.shape
        table = weights["element.weight"] + _linear(weights, "property", self.properties.expand(members, -1, -1))
        chosen = functional.one_hot(elements.flatten(1), N_ELEMENTS).to(table.dtype)  # a product has a quick gradient
        x = torch.bmm(chosen, table) + _linear(weights, "basis", basis.flatten(1, 2))  # (members, tokens, width)
        barred = torch.where(fractions == 0, BARRED, 0.0)
        for layer in range(self.sizes.layers):
            x = self._layer(weights, f"layers.{layer}.", x, barred)
        x = _norm(weights, "norm", x)
        value = functional.silu(_linear(weights, "value", x)).float().view(members, n, places, -1)
        gate = _linear(weights, "gate", x).float().view(members, n, places, -1)
        share = torch.softmax(gate + fractions.log().clamp(min=BARRED)[..., None], dim=2)
        columns = value.view(members, n, places, share.shape[-1], -1)
        return (columns * share[..., None]).sum(dim=2).flatten(2)

    def outputs(self, weights: dict[str, Tensor], pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and Laplace scale in units of `Network.scale`, each of shape (members, n, schemes); see `Head`."""
        shift, stretch = weights["head.shift.weight"], weights["head.stretch.weight"]
        members, schemes = shift.shape[:2]
        x = _norm(weights, "head.norm", pooled)[:, :, None, :] * (1.0 + stretch[:, None]) + shift[:, None]
        x = x.flatten(1, 2)
        x = functional.silu(_linear(weights, "head.hidden", functional.dropout(x, self.dropout)))
        x = x + functional.silu(_linear(weights, "head.hidden2", functional.dropout(x, self.dropout)))
        hidden = functional.silu(_linear(weights, "head.spread.0", x.detach()))
        spread = functional.softplus(_linear(weights, "head.spread.2", hidden).float()) + 1e-3
        mean = _linear(weights, "head.mean", x).float()
        return mean.view(members, -1, schemes), spread.view(members, -1, schemes)

    def _layer(self, weights: dict[str, Tensor], name: str, x: Tensor, barred: Tensor) -> Tensor:
        members, n, places = barred.shape
        heads, width = self.sizes.heads, self.sizes.width
        qkv = _linear(weights, name + "qkv", _norm(weights, name + "norm_attention", x))
        q, k, v = qkv.view(members * n, places, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind()
        logits = (q @ k.transpose(-1, -2)).float() * (width // heads) ** -0.5 + barred.view(-1, 1, 1, places)
        mixed = (torch.softmax(logits, dim=-1).to(v.dtype) @ v).transpose(1, 2).reshape(members, n * places, width)
        x = x + functional.dropout(_linear(weights, name + "out", mixed), self.dropout)
        fed = functional.silu(_linear(weights, name + "up", _norm(weights, name + "norm_mlp", x)))
        return x + functional.dropout(_linear(weights, name + "down", fed), self.dropout)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return torch.baddbmm(weights[name + ".bias"][:, None], x, weights[name + ".weight"].transpose(1, 2))


def _norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    plain = functional.layer_norm(x.float(), x.shape[-1:])
    return plain * weights[name + ".weight"][:, None] + weights[name + ".bias"][:, None]


class Stack:
    """The mutable state of a training of several members."""

    def __init__(self, data: Dataset, configs: Sequence[TrainingConfig], sizes: NetworkConfig, device: str) -> None:
        """Nothing is trained yet.

        Args:
            data: compositions and labels.
            configs: one for each member; they differ in their seeds alone.
            sizes: of each network.
            device: such as "cuda".
        """
        self.config, self.device, self.data = configs[0], torch.device(device), data
        self._configs, self._sizes = tuple(configs), sizes
        states = [self._initial_state(config) for config in configs]
        self.constants = {name: states[0][name] for name in ("properties", "reference", "scale")}
        names = [name for name in states[0] if name not in self.constants]
        self._shapes = {name: states[0][name].shape for name in names}
        # Matrices, which decay, and vectors, which do not: one tensor (members, values) each
        self._groups = tuple(
            [name for name in names if (states[0][name].ndim > 1) == matrix] for matrix in (True, False)
        )
        self._flat = [self._packed(states, group).requires_grad_(True) for group in self._groups]
        self._average = [flat.detach().clone() for flat in self._flat]
        decays = (self.config.weight_decay, 0.0)
        self._optimizer = torch.optim.AdamW(
            [{"params": [flat], "weight_decay": decay} for flat, decay in zip(self._flat, decays, strict=True)],
            lr=torch.tensor(0.0, device=self.device),
            fused=self.device.type == "cuda",
            capturable=self.device.type == "cuda",
        )
        torch.manual_seed(self.config.seed)  # of the dropout
        self._load(data)
        self._label_weights = label_weights(data.schemes, self.config).to(self.device)
        self._forward = Forward(sizes, self.constants["properties"].to(self.device), self.config.dropout)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows: tuple[Tensor, ...] = ()
        self._loss = torch.zeros((), device=self.device)
        self._plan()

    def _initial_state(self, config: TrainingConfig) -> dict[str, Tensor]:
        torch.manual_seed(config.seed)
        return initial_network(self.data, self._sizes).state_dict()

    def _packed(self, states: Sequence[dict[str, Tensor]], names: Sequence[str]) -> Tensor:
        return torch.stack([torch.cat([state[name].flatten() for name in names]) for state in states]).to(self.device)

    def _unpacked(self, flat: Sequence[Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for values, names in zip(flat, self._groups, strict=True):
            parts = torch.split(values, [self._shapes[name].numel() for name in names], dim=1)
            found |= {name: part.view(-1, *self._shapes[name]) for name, part in zip(names, parts, strict=True)}
        return found

    def _load(self, data: Dataset) -> None:
        """Compositions and targets on the device."""
        packed = data.compositions
        filled = np.arange(packed.elements.shape[1]) < packed.lengths[:, None]
        self._elements = torch.from_numpy(packed.elements.astype(np.int64)).to(self.device)
        amounts = torch.from_numpy(np.where(filled, packed.amounts, 0.0).astype(np.float32)).to(self.device)
        total = amounts.sum(dim=1, keepdim=True)
        self._fractions = amounts / total
        parts = zip(torch.split(amounts, PART), torch.split(total, PART), strict=True)
        self._basis = torch.cat([_basis(*part) for part in parts])
        baseline = packed.fractions() @ self.constants["reference"].double().numpy().T
        scale = float(self.constants["scale"])
        targets = ((data.energies - baseline) / scale).astype(np.float32)
        self._targets = torch.from_numpy(targets).to(self.device)  # (n, schemes), in units of the scale
        told = data.scales
        self._scales = None if told is None else torch.from_numpy((told / scale).astype(np.float32)).to(self.device)

    def _plan(self) -> None:
        """Steps of each epoch and the two numbers of rows in a batch."""
        every = [epoch_rows(self.data, self.config, epoch) for epoch in range(self.config.all_epochs)]
        share = float((self.data.compositions.lengths[np.concatenate(every)] > SHORT).mean())
        size = self.config.batch_size
        many = round(share * size) if share in (0.0, 1.0) else min(max(1, round(share * size)), size - 1)
        self._batch = (size - many, many)
        self.steps = [max(1, len(rows) // size) for rows in every]
        self._cycles = (sum(self.steps[: self.config.epochs]), sum(self.steps[self.config.epochs :]))

    def _order(self, epoch: int) -> list[tuple[Tensor, ...]]:
        """Rows of every step of an epoch, (members, rows) each: compositions with few and with many elements."""
        parts: tuple[list[NDArray[np.int64]], ...] = ([], [])
        for config in self._configs:
            rows = epoch_rows(self.data, config, epoch)
            long = self.data.compositions.lengths[rows] > SHORT
            for part, chosen, size in zip(parts, (rows[~long], rows[long]), self._batch, strict=True):
                part.append(np.resize(chosen, (self.steps[epoch], size)))
        stacked = (torch.from_numpy(np.stack(part, axis=1)).to(self.device) for part in parts)
        return list(zip(*stacked, strict=True))

    def run_epoch(self, epoch: int, step: int) -> tuple[float, int]:
        """One pass from the step of that number; returns the mean loss and the number of the next step."""
        losses = torch.zeros((), device=self.device)
        for rows in self._order(epoch):
            self.take_step(rows, learning_rate(step, self._cycles, self.config))
            step += 1
            decay = min(self.config.average_decay, step / (step + 10.0))
            with torch.no_grad():
                torch._foreach_lerp_(self._average, [flat.detach() for flat in self._flat], 1.0 - decay)
            losses += self._loss
        return float(losses) / self.steps[epoch] / len(self._configs), step

    def take_step(self, rows: tuple[Tensor, ...], rate: float) -> None:
        """A step; on a GPU the first one is recorded."""
        if not self._rows:
            self._rows = tuple(part.clone() for part in rows)
        for held, new in zip(self._rows, rows, strict=True):
            held.copy_(new)
        if self.device.type != "cuda":
            self._set_rate(rate)
            self._step()
            return
        if self._graph is None:
            self._record()
        self._set_rate(rate)
        assert self._graph is not None
        self._graph.replay()

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"].fill_(rate)

    def _record(self) -> None:
        self._set_rate(0.0)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()

    def _step(self) -> None:
        few, many = self._rows
        rows = torch.cat([few, many], dim=1)  # (members, rows)
        batch = (self._part(few, SHORT), self._part(many, None))
        scales = None if self._scales is None else self._scales[rows]
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            total = self._losses(batch, self._targets[rows], scales)
        total.backward()  # type: ignore[no-untyped-call]
        _clip([flat.grad for flat in self._flat if flat.grad is not None])
        self._optimizer.step()
        self._loss.copy_(total.detach())

    def _part(self, rows: Tensor, places: int | None) -> tuple[Tensor, Tensor, Tensor]:
        return self._elements[rows, :places], self._fractions[rows, :places], self._basis[rows, :places]

    def _losses(self, batch: Batch, targets: Tensor, scales: Tensor | None) -> Tensor:
        """Sum of all members' losses, each as in `Trainer._loss`; NaN: no label."""
        weights = self._unpacked(self._flat)
        parts = [part for part in batch if part[0].numel()]
        pooled = torch.cat([self._forward.pooled(weights, part) for part in parts], dim=1)
        mean, spread = self._forward.outputs(weights, pooled)
        known = ~targets.isnan()
        error = (mean - torch.where(known, targets, 0.0)).abs()
        likelihood = error.detach() / spread + spread.log()
        if scales is not None:
            likelihood = (spread.log() - scales.log()).abs()
        each = self._label_weights * known * (error + self.config.spread_weight * likelihood)
        return each.sum() / targets.shape[1]

    def resume(self, checkpoint: Path) -> tuple[int, int]:
        """Load what is there; returns the number of finished epochs and of steps.

        Raises:
            WeightsError: a checkpoint of other settings or another number of members.
        """
        if not checkpoint.exists():
            return 0, 0
        tensors, about = read_tensors(checkpoint)
        if about.get("configs") != self._settings():
            raise WeightsError(f"{checkpoint} is of a training with other settings: remove it or choose another folder")
        for number, (flat, average) in enumerate(zip(self._flat, self._average, strict=True)):
            flat.data.copy_(tensors[f"weights.{number}"])
            average.copy_(tensors[f"average.{number}"])
            names = (key for key in tensors if key.startswith(f"optimizer.{number}."))
            self._optimizer.state[flat] = {key.split(".")[2]: tensors[key].to(self.device) for key in names}
        return int(about["epochs"]), int(about["steps"])

    def write(self, checkpoint: Path, epochs: int, steps: int) -> None:
        """Replace the checkpoint as a whole."""
        tensors: dict[str, Tensor] = {}
        for number, (flat, average) in enumerate(zip(self._flat, self._average, strict=True)):
            tensors |= {f"weights.{number}": flat, f"average.{number}": average}
            tensors |= {f"optimizer.{number}.{key}": value for key, value in self._optimizer.state[flat].items()}
        about = {"configs": self._settings(), "epochs": str(epochs), "steps": str(steps)}
        write_tensors(checkpoint, tensors, about)

    def _settings(self) -> str:
        return json.dumps([[asdict(config) for config in self._configs], self._sizes.to_dict()])

    def networks(self) -> tuple[Network, ...]:
        """The averaged networks, on the CPU."""
        weights = {name: value.cpu() for name, value in self._unpacked(self._average).items()}
        found = []
        for member in range(len(self._configs)):
            network = Network(self._sizes, self.constants["properties"])
            network.load_state_dict({name: value[member] for name, value in weights.items()} | self.constants)
            found.append(network.eval().requires_grad_(False))
        return tuple(found)


def train_stack(
    data: Dataset,
    configs: Sequence[TrainingConfig],
    checkpoint: Path,
    on_report: Callable[[StackReport], None],
    sizes: NetworkConfig | None = None,
    *,
    device: str = "cuda",
    every: int = 5,
) -> tuple[Network, ...]:
    """The averaged networks of all members, on the CPU; continues from `checkpoint` where it exists.

    Args:
        data: compositions and labels.
        configs: one for each member; they differ in their seeds alone.
        checkpoint: file, written anew every few epochs.
        on_report: called as often.
        sizes: of each network.
        device: such as "cuda". On a CPU training the members one by one is quicker.
        every: epochs between two reports.
    """
    stack, start = Stack(data, configs, sizes or NetworkConfig(data.schemes), device), time.perf_counter()
    first, step = stack.resume(checkpoint)
    for epoch in range(first, stack.config.all_epochs):
        loss, step = stack.run_epoch(epoch, step)
        if (epoch + 1) % every == 0 or epoch + 1 == stack.config.all_epochs:
            stack.write(checkpoint, epoch + 1, step)
            errors = validation_errors(stack.networks(), data, stack.device)
            on_report(StackReport(epoch + 1, loss, time.perf_counter() - start, *errors))
    return stack.networks()


def validation_errors(networks: Sequence[Network], data: Dataset, device: torch.device) -> tuple[float, float]:
    """Mean absolute error in the first scheme on the validation part, eV/atom: mean of the members, of their mean."""
    rows = data.rows("validation")
    rows = rows[~np.isnan(data.energies[rows, 0])]
    answers = np.stack([predict_rows(network.to(device), data, rows)[0][:, 0].double().numpy() for network in networks])
    truth = data.energies[rows, 0]
    return float(np.abs(answers - truth).mean()), float(np.abs(answers.mean(axis=0) - truth).mean())


def _basis(amounts: Tensor, total: Tensor) -> Tensor:
    """Padded, shape (n, places, BASIS_SIZE)."""
    filled = torch.where(amounts == 0, 1.0, amounts)
    return fraction_basis(filled.flatten(), total.expand_as(amounts).flatten()).view(*amounts.shape, -1)


def _clip(gradients: Sequence[Tensor], largest: float = 1.0) -> None:
    """Scale each member's gradient, given in parts of shape (members, values), to a norm of at most `largest`."""
    norm = torch.stack([gradient.square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)[:, None]
    for gradient in gradients:
        gradient.mul_(factor)
