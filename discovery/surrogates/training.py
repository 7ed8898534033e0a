"""Training of one member of the ensemble, resumable after every epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from discovery.errors import WeightsError
from discovery.surrogates.dataset import QUANTITIES, Dataset
from discovery.surrogates.features import element_properties, pack
from discovery.surrogates.network import MaskPool, Network, NetworkConfig

QUANTITY_WEIGHT = 0.2  # of a label that is no energy of a scheme (`dataset.QUANTITIES`) in the loss


@dataclass(frozen=True)
class TrainingConfig:
    """How one member is trained."""

    seed: int = 0  # of weights, data order and dropout: what members differ in
    epochs: int = 44  # of the first cycle (0: none); passes over the compositions with a label other than `oqmd`
    batch_size: int = 512
    peak_rate: float = 2.5e-3
    warm_up: float = 0.1  # share of a cycle's steps in which the rate rises
    restart_epochs: int = 16  # a second cycle after the first (warm restart, Loshchilov and Hutter 2017); 0: none
    restart_rate: float = 1e-3  # peak of the second cycle
    weight_decay: float = 0.05
    dropout: float = 0.05
    average_decay: float = 0.998  # of the averaged weights, per step: the ones that are kept
    auxiliary_share: float = 0.4  # of the compositions known to OQMD alone, drawn anew each epoch
    auxiliary_late_share: float = 0.1  # the same in the last part of the training
    auxiliary_until: float = 0.45  # share of the first cycle's epochs after which the late share holds
    auxiliary_weight: float = 0.5  # of an `oqmd` label in the loss; labels of later schemes weigh the same
    spread_weight: float = 0.1  # of the likelihood of the scale, which cannot reach the mean

    @property
    def all_epochs(self) -> int:
        """Epochs of both cycles."""
        return self.epochs + self.restart_epochs


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave."""

    epoch: int  # counted from 1
    loss: float
    validation_mae: dict[str, float]  # eV/atom by scheme, averaged weights


def show_report(report: EpochReport) -> None:
    """Print one line of progress."""
    errors = ", ".join(f"{scheme} {mae:.4f}" for scheme, mae in report.validation_mae.items())
    print(f"epoch {report.epoch}: loss {report.loss:.4f}; validation MAE (eV/atom): {errors}", flush=True)


def train_member(
    data: Dataset,
    config: TrainingConfig,
    checkpoint: Path,
    on_epoch: Callable[[EpochReport], None],
    sizes: NetworkConfig | None = None,
    *,
    start: Network | None = None,
    device: str = "cpu",
) -> Network:
    """The averaged network after all epochs, on the CPU; continues from `checkpoint` where it exists.

    The weights it begins with are random, or those of `start`, a trained network of the same sizes.
    """
    trainer = Trainer(data, config, sizes or NetworkConfig(data.schemes), device)
    if start is not None:
        trainer.begin_with(start)
    for epoch in range(trainer.resume(checkpoint), config.all_epochs):
        loss = trainer.run_epoch(epoch)
        trainer.write(checkpoint, epoch + 1)
        on_epoch(EpochReport(epoch + 1, loss, validation_mae(trainer.average, data)))
    return trainer.average.to("cpu")


class Trainer:
    """The mutable state of a training: network, its running average, optimizer and step."""

    def __init__(self, data: Dataset, config: TrainingConfig, sizes: NetworkConfig, device: str = "cpu") -> None:
        self._data, self._config = data, config
        torch.manual_seed(config.seed)
        self.network = initial_network(data, sizes).to(device)
        self.average = initial_network(data, sizes).requires_grad_(False).to(device)
        self.average.load_state_dict(self.network.state_dict())
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), fused=True)
        self._epoch_rows = [epoch_rows(data, config, epoch) for epoch in range(config.all_epochs)]
        steps = [math.ceil(len(rows) / config.batch_size) for rows in self._epoch_rows]
        self._cycles = (sum(steps[: config.epochs]), sum(steps[config.epochs :]))
        self._step = 0
        self._label_weights = label_weights(data.schemes, config)
        self._targets = self._standardised_targets()
        self._scales = None if data.scales is None else torch.from_numpy(data.scales)  # eV/atom

    def run_epoch(self, epoch: int) -> float:
        """One pass; returns the mean loss."""
        seed, rate = self._config.seed * 10_000 + epoch, self._config.dropout
        drop = MaskPool(rate, seed, self.network.device) if rate else None
        rows, size = self._epoch_rows[epoch], self._config.batch_size
        losses = [self._run_step(rows[start : start + size], drop) for start in range(0, len(rows), size)]
        return float(np.mean(losses))

    def _run_step(self, rows: NDArray[np.int64], drop: MaskPool | None) -> float:
        rate = learning_rate(self._step, self._cycles, self._config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(rows, drop)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        self._step += 1
        decay = min(self._config.average_decay, self._step / (self._step + 10.0))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1.0 - decay)
        return float(loss.detach())

    def _loss(self, rows: NDArray[np.int64], drop: MaskPool | None) -> Tensor:
        """L1 of the mean, and the Laplace likelihood of the scale with the mean held fixed.

        Where the data give scales (a teacher's), L1 of the scale's logarithm takes the place of its likelihood.
        """
        batch = pack(self._data.compositions, rows).to(self.network.device)
        targets = self._targets[rows[batch.order]].to(self.network.device)
        row, scheme = (~targets.isnan()).nonzero(as_tuple=True)
        mean, spread = self.network.head(self.network.pool(batch, drop)[row], scheme, drop)
        error = (mean - targets[row, scheme]).abs()
        likelihood = error.detach() / spread + spread.log()
        if self._scales is not None:
            told = self._scales[rows[batch.order]].to(spread)[row, scheme] / self.network.scale
            likelihood = (spread.log() - told.log()).abs()
        weights = self._label_weights.to(self.network.device)[scheme]
        total: Tensor = (weights * (error + self._config.spread_weight * likelihood)).sum()
        return total / len(rows)

    def _standardised_targets(self) -> Tensor:
        baseline = self._data.compositions.fractions() @ self.network.reference.double().cpu().numpy().T
        return torch.from_numpy((self._data.energies - baseline) / float(self.network.scale)).float()

    def begin_with(self, network: Network) -> None:
        """Take over the weights, linear baseline and unit of a trained network."""
        for own in (self.network, self.average):
            own.load_state_dict(network.state_dict())
        self._targets = self._standardised_targets()

    def resume(self, checkpoint: Path) -> int:
        """Load what is there; returns the number of finished epochs."""
        if not checkpoint.exists():
            return 0
        tensors, about = read_tensors(checkpoint)
        if about.get("config") != json.dumps(asdict(self._config)):
            raise WeightsError(f"{checkpoint} is of a training with other settings: remove it or choose another --out")
        _take(self.network, tensors, "network.")
        _take(self.average, tensors, "average.")
        state = self._optimizer.state_dict()
        for key in (key for key in tensors if key.startswith("optimizer.")):
            _, number, slot = key.split(".")
            state["state"].setdefault(int(number), {})[slot] = tensors[key]
        self._optimizer.load_state_dict(state)
        self._targets = self._standardised_targets()  # in the units of the network just read
        self._step = int(about["step"])
        return int(about["epoch"])

    def write(self, checkpoint: Path, epochs: int) -> None:
        """Replace the checkpoint as a whole."""
        tensors = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in self.average.state_dict().items()}
        for number, slots in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{slot}": value for slot, value in slots.items()}
        about = {"config": json.dumps(asdict(self._config)), "step": str(self._step), "epoch": str(epochs)}
        write_tensors(checkpoint, tensors, about)


def initial_network(data: Dataset, sizes: NetworkConfig) -> Network:
    """A network with the linear baseline of each scheme fitted; weights from torch's global random state."""
    network = Network(sizes, element_properties())
    rows = data.rows("train")
    fractions, energies = data.compositions.fractions()[rows], data.energies[rows].astype(np.float64)
    reference = np.stack([_ridge(fractions, energies[:, column]) for column in range(energies.shape[1])])
    residual = energies - fractions @ reference.T
    network.reference.copy_(torch.from_numpy(reference))
    network.scale.fill_(float(np.nanstd(residual[:, 0])))
    return network


def _ridge(fractions: NDArray[np.float64], energies: NDArray[np.float64], penalty: float = 1.0) -> NDArray[np.float64]:
    """Least squares on element fractions; the penalty keeps elements without data at 0."""
    known = ~np.isnan(energies)
    x: NDArray[np.float64] = fractions[known]
    normal = x.T @ x + penalty * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(normal, x.T @ energies[known]), dtype=np.float64)


def learning_rate(step: int, cycles: tuple[int, int], config: TrainingConfig) -> float:
    """Rate of a step: in each of two cycles of so many steps a linear rise, then a cosine down to 0.

    Smith and Topin 2018; the second cycle is a warm restart (Loshchilov and Hutter 2017).
    """
    second = step >= cycles[0]
    peak = config.restart_rate if second else config.peak_rate
    place = (step - cycles[0] + 1) / cycles[1] if second else (step + 1) / cycles[0]
    if place < config.warm_up:
        return peak * place / config.warm_up
    return peak * 0.5 * (1.0 + math.cos(math.pi * (place - config.warm_up) / (1.0 - config.warm_up)))


def label_weights(schemes: Sequence[str], config: TrainingConfig) -> Tensor:
    """Weight of a label of each scheme in the loss, shape (schemes,)."""
    own = dict.fromkeys(QUANTITIES, QUANTITY_WEIGHT) | {"mp2019": 1.0}
    return torch.tensor([own.get(scheme, config.auxiliary_weight) for scheme in schemes])


def epoch_rows(data: Dataset, config: TrainingConfig, epoch: int) -> NDArray[np.int64]:
    """The rows of an epoch in a random order that depends on seed and epoch alone: a resumed run sees the same."""
    rng = np.random.default_rng([config.seed, epoch])
    train = data.rows("train")
    main, auxiliary = train[data.primary[train]], train[~data.primary[train]]
    late = epoch >= config.auxiliary_until * config.epochs
    share = config.auxiliary_late_share if late else config.auxiliary_share
    drawn = rng.choice(auxiliary, round(share * len(auxiliary)), replace=False)
    return rng.permutation(np.concatenate([main, drawn]))


def _parameter_groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def predict_rows(network: Network, data: Dataset, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and Laplace scale in all schemes, eV/atom, each of shape (rows, schemes), in the order of `rows`."""
    means, scales = torch.empty(len(rows), len(data.schemes)), torch.empty(len(rows), len(data.schemes))
    for start in range(0, len(rows), 2048):
        batch = pack(data.compositions, rows[start : start + 2048]).to(network.device)
        mean, scale = network(batch)
        place = torch.from_numpy(batch.order) + start
        means[place], scales[place] = mean.cpu(), scale.cpu()
    return means, scales


def validation_mae(network: Network, data: Dataset) -> dict[str, float]:
    """Mean absolute error by scheme on the validation part, eV/atom; schemes without a label there are left out."""
    rows = data.rows("validation")
    error = np.abs(predict_rows(network, data, rows)[0].double().numpy() - data.energies[rows])
    columns = ((scheme, error[:, i]) for i, scheme in enumerate(data.schemes))
    return {scheme: float(np.nanmean(column)) for scheme, column in columns if not np.isnan(column).all()}


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        WeightsError: the file is missing or truncated.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist: train a model there or name another folder") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({error}): copy it again or retrain") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str]) -> None:
    """Replace a safetensors file as a whole; `about` is its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({key: value.detach().cpu().clone() for key, value in tensors.items()}, partial, metadata=about)
    partial.replace(path)


def _take(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    module.load_state_dict(part)
