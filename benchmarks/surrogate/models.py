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
from discovery.surrogates.features import Compositions, element_properties, encode
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import EpochReport, TrainingConfig, train_member

SCHEME = "mp2019"
NORMS = (2, 3, 5, 7, 10)  # of the atomic fractions
TREES = 200  # of the forest; boosting takes five times as many
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

    A random forest and gradient boosting on `features`, and the mean of the training rows.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    table = features(encode(labels.formulas))
    train = labels.rows("train")
    forest = RandomForestRegressor(trees, min_samples_leaf=2, max_features=1 / 3, random_state=seed)
    boosting = HistGradientBoostingRegressor(max_iter=5 * trees, max_leaf_nodes=63, random_state=seed)
    with threadpool_limits(torch.get_num_threads()):  # boosting starts a thread for each core by itself
        found = {
            name: model.fit(table[train], labels.formation[train]).predict(table)
            for name, model in (("random forest", forest), ("gradient boosting", boosting))
        }
    return {**found, "training mean": np.full(len(labels.formulas), labels.formation[train].mean())}


def features(compositions: Compositions) -> NDArray[np.float32]:
    """Features after Magpie (L. Ward et al., npj Comput. Mater. 2, 16028 (2016)), shape (n, features).

    Mean, mean absolute deviation, minimum, maximum and range of each property over the elements (the first two weighted
    by the atomic fractions), norms of the fractions, number of elements.
    """
    properties = element_properties().double().numpy()[compositions.elements]  # (n, width, properties)
    used = (compositions.amounts > 0)[:, :, None]
    shares = (compositions.amounts / compositions.amounts.sum(axis=1, keepdims=True))[:, :, None]
    mean = (shares * properties).sum(axis=1)
    deviation = (shares * np.abs(properties - mean[:, None, :])).sum(axis=1)
    low = np.where(used, properties, np.inf).min(axis=1)
    high = np.where(used, properties, -np.inf).max(axis=1)
    norms = [np.power(np.power(shares[:, :, 0], p).sum(axis=1), 1 / p) for p in NORMS]
    columns = [mean, deviation, low, high, high - low, np.stack(norms, axis=1), compositions.lengths[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)


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
