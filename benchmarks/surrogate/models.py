"""What is compared: the ensemble, trees on composition features, the mean, and published predictions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.surrogate.tables import Labels
from discovery.errors import DataError
from discovery.surrogates import evaluation
from discovery.surrogates.base import Surrogate
from discovery.surrogates.dataset import join
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts
from discovery.surrogates.magpie import gradient_boosting, magpie_features, random_forest
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import EpochReport, TrainingConfig, train_member

SCHEME = "mp2019"
TREES = 100  # of the forest; boosting takes ten times as many
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """How an ensemble for a split of its own is trained."""

    work: Path  # folder of the checkpoints: an interrupted training goes on
    members: int = 4
    epochs: int = TrainingConfig.epochs
    restart_epochs: int = TrainingConfig.restart_epochs
    sizes: NetworkConfig | None = None  # None: those of the shipped ensemble


def train_ensemble(labels: Labels, training: Training) -> Surrogate:
    """An ensemble that saw nothing but the training rows, calibrated on the validation rows."""
    data = join({SCHEME: pd.Series(labels.formation, index=list(labels.formulas))}, frozenset(labels.formulas))
    part_of = dict(zip(labels.formulas, labels.parts, strict=True))
    data = replace(data, split=np.array([part_of[formula] for formula in data.formulas]))
    networks = tuple(
        train_member(
            data,
            TrainingConfig(seed=member, epochs=training.epochs, restart_epochs=training.restart_epochs),
            training.work / f"member-{member}.safetensors",
            _show,
            training.sizes,
        )
        for member in range(training.members)
    )
    counts = element_counts(data.compositions, data.rows("train"))
    return evaluation.calibrate(EnsembleSurrogate(networks, {}, counts, card={"model": "of one split"}), data)


def baselines(labels: Labels, trees: int = TREES, seed: int = 0) -> dict[str, FloatArray]:
    """Predictions of all rows, eV/atom, by models that learned the training rows.

    A random forest and gradient boosting on Magpie's features (`discovery.surrogates.magpie`), and the training mean.
    """
    features, train = magpie_features(labels.formulas), labels.rows("train")
    known, energies = features[train], labels.formation[train]
    n = torch.get_num_threads()
    with threadpool_limits(n):  # boosting starts a thread for each core by itself
        found = {
            "random forest": random_forest(known, energies, seed, n, trees=trees)(features),
            "gradient boosting": gradient_boosting(known, energies, seed, rounds=10 * trees)(features),
        }
    return {**found, "training mean": np.full(len(labels.formulas), energies.mean())}


def published(path: Path, labels: Labels, rows: NDArray[np.int64]) -> dict[str, dict[str, FloatArray]]:
    """Out-of-fold predictions of published models for some rows: model -> {`formation`, `own hull`}, eV/atom.

    Raises:
        DataError: an unreadable file, or one that lacks compositions.
    """
    try:
        table = pd.read_parquet(path).set_index("reduced_formula")
        chosen = table.loc[[labels.formulas[row] for row in rows]]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} does not hold predictions for these rows ({error}): leave --published out") from error
    names = [name.removeprefix("Ef_pred_") for name in table.columns if name.startswith("Ef_pred_")]
    columns: Mapping[str, str] = {"formation": "Ef_pred_", "own hull": "Ed_mlhull_"}
    return {
        name: {key: chosen[prefix + name].to_numpy(dtype=np.float64) for key, prefix in columns.items()}
        for name in names
    }


def threads(number: int) -> None:
    """Torch threads; equal numbers give equal results."""
    torch.set_num_threads(number)


def _show(report: EpochReport) -> None:
    error = report.validation_mae.get(SCHEME, float("nan"))
    print(f"epoch {report.epoch}: validation MAE {error:.4f} eV/atom", file=sys.stderr, flush=True)
