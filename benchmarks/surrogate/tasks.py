"""Which further training task helps to tell stable from unstable: one ingredient at a time, everything else equal.

    python -m benchmarks.surrogate.tasks --labels FILE [--epochs 16] [--members 2] [--seeds 0 1] [--out FILE.json]

All networks learn formation energies of the training rows (split `random`); the arms add

- `decomposition`: the energy above the hull of the other training compounds as a second output;
- `competing`: the energy of that hull itself, a model of the hull surface;
- `differences`: the loss of energy differences between compounds of one chemical system, whose errors should cancel.

No arm sees a test label: the hulls of the added outputs are made of training compounds alone. Judged on the test rows
against the DFT hull of all compounds, as in `benchmarks.surrogate`; `direct` ranks by the output of the arm itself.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.results import add_out, command, finish
from benchmarks.surrogate.__main__ import rounded
from benchmarks.surrogate.measures import errors, own_hull, stability
from benchmarks.surrogate.models import FloatArray
from benchmarks.surrogate.tables import Labels, read_labels
from discovery.composition import chemical_system
from discovery.errors import ConfigError
from discovery.options import exit_with
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.features import encode, pack
from discovery.surrogates.from_labels import Preset
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import Trainer, TrainingConfig, predict_rows

PLAIN, DECOMPOSITION, COMPETING, DIFFERENCES = ARMS = ("plain", "decomposition", "competing", "differences")
DIFFERENCE_WEIGHT = 0.5  # of the loss of differences beside that of the energies
OWN_WEIGHT = 0.5  # of an added output in the loss, as of every scheme but the first


def main(argv: list[str] | None = None) -> int:
    """Train, measure, print one JSON object."""
    args = parser().parse_args(argv)
    if args.epochs < 1 or args.members < 1:
        raise ConfigError("--epochs and --members must be 1 or more")
    torch.set_num_threads(args.threads)
    labels = read_labels(args.labels, "random")
    data = {arm: dataset(labels, arm) for arm in args.arms}
    found = [
        {"arm": arm, "seed": seed} | measured(labels, predictions(data[arm], arm, args, seed), arm)
        for seed in args.seeds
        for arm in args.arms
    ]
    result = {
        "command": command("benchmarks.surrogate.tasks", argv),
        "rows": {part: len(labels.rows(part)) for part in ("train", "validation", "test")},
        "runs": found,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    finish(rounded(result), args.out)
    return 0


def dataset(labels: Labels, arm: str) -> Dataset:
    """Formation energies, and beside them the output that the arm adds, NaN outside of the training rows."""
    train = labels.rows("train")
    columns = [labels.formation]
    if arm in (DECOMPOSITION, COMPETING):
        formulas = tuple(labels.formulas[row] for row in train)
        energies = labels.formation[train]
        above = own_hull(formulas, energies, np.arange(len(train)))
        added = np.full(len(labels.formulas), np.nan)
        added[train] = above if arm == DECOMPOSITION else energies - above
        columns.append(added)
    every = np.ones(len(labels.formulas), dtype=bool)
    return Dataset(
        formulas=labels.formulas,
        compositions=encode(labels.formulas),
        energies=np.column_stack(columns).astype(np.float32),
        schemes=("mp2019", arm)[: len(columns)],
        primary=every,
        bartel=~every,
        split=labels.parts,
    )


def by_system(rows: NDArray[np.int64], system: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The same rows with those of one chemical system together; systems and rows within them by chance.

    Args:
        rows: of an epoch.
        system: number of the chemical system of each row of the data.
        rng: decides the order.
    """
    place = rng.permutation(int(system.max()) + 1)[system[rows]]
    return rows[np.lexsort((rng.random(len(rows)), place))]


class DifferenceTrainer(Trainer):
    """Adds the L1 loss of energy differences between neighbours in the batch that share a chemical system."""

    def __init__(self, data: Dataset, config: TrainingConfig, sizes: NetworkConfig) -> None:
        super().__init__(data, config, sizes)
        self._system = np.unique([chemical_system(formula) for formula in data.formulas], return_inverse=True)[1]
        rng = np.random.default_rng(config.seed)
        self._epoch_rows = [by_system(rows, self._system, rng) for rows in self._epoch_rows]

    def _loss(self, rows: NDArray[np.int64], drop: Any) -> Tensor:
        batch = pack(self._data.compositions, rows)
        back = torch.from_numpy(np.argsort(batch.order))
        mean, spread = self.network.head(
            self.network.pool(batch, drop), torch.zeros(len(rows), dtype=torch.int64), drop
        )
        error = mean[back] - self._targets[rows, 0]
        spread = spread[back]
        likelihood = error.detach().abs() / spread + spread.log()
        paired = torch.from_numpy(self._system[rows][1:] == self._system[rows][:-1])
        apart = (error[1:] - error[:-1]).abs()[paired].sum()
        own: Tensor = (error.abs() + self._config.spread_weight * likelihood).sum()
        return (own + DIFFERENCE_WEIGHT * apart) / len(rows)


def predictions(data: Dataset, arm: str, args: argparse.Namespace, seed: int) -> FloatArray:
    """Mean over the members, of every output, eV/atom, shape (n, outputs)."""
    preset = Preset(members=args.members, epochs=args.epochs)
    sizes = replace(preset.sizes("mp2019"), schemes=data.schemes)
    found = []
    for member in range(args.members):
        config = replace(preset.training(100 * seed + member), auxiliary_weight=OWN_WEIGHT)
        trainer = (DifferenceTrainer if arm == DIFFERENCES else Trainer)(data, config, sizes)
        for epoch in range(config.all_epochs):
            trainer.run_epoch(epoch)
        found.append(predict_rows(trainer.average, data, np.arange(len(data.formulas)))[0].double().numpy())
    return np.mean(found, axis=0)


def measured(labels: Labels, predicted: FloatArray, arm: str) -> dict[str, Any]:
    """Figures on the test rows."""
    rows = labels.rows("test")
    true = labels.decomposition[rows]
    figures: dict[str, Any] = {
        "formation_energy": errors(predicted[rows, 0], labels.formation[rows]),
        "stability": stability(predicted[rows, 0] - labels.hull[rows], true),
    }
    if arm == DECOMPOSITION:
        figures["direct"] = stability(predicted[rows, 1], true)
    if arm == COMPETING:
        figures["direct"] = stability(predicted[rows, 0] - predicted[rows, 1], true)
    return figures


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.surrogate.tasks", description=__doc__)
    options.add_argument("--labels", required=True, type=Path, metavar="FILE", help="Parquet, as mp_bartel2020")
    options.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    options.add_argument("--epochs", type=int, default=16)
    options.add_argument("--members", type=int, default=2)
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--threads", type=int, default=1)
    add_out(options)
    return options


if __name__ == "__main__":
    exit_with(main)
