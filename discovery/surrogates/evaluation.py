"""Calibrating an ensemble on the validation part and measuring it on the test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from discovery.surrogates import analogues, calibration
from discovery.surrogates.base import FloatArray
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.ensemble import CHUNK, EnsembleSurrogate, Outputs

MIN_CALIBRATION = 50  # labels; a scheme with fewer takes the calibration of the first scheme


def calibrate(surrogate: EnsembleSurrogate, data: Dataset) -> EnsembleSurrogate:
    """The ensemble with calibrations fitted on the validation part, apart for each scheme."""
    fitted: dict[str, SchemeCalibration] = {}
    for scheme in data.schemes:
        rows, labels = labelled(data, "validation", scheme)
        if len(rows) < MIN_CALIBRATION:
            fitted[scheme] = fitted.get(data.schemes[0], SchemeCalibration())
            continue
        said = outputs(surrogate, data, rows, scheme)
        fitted[scheme] = calibration.fit(said.mean - labels, said.epistemic, said.aleatoric)
    return surrogate.with_calibration(fitted)


def with_analogues(surrogate: EnsembleSurrogate, data: Dataset) -> EnsembleSurrogate:
    """The ensemble corrected by what it gets wrong on the training labels; to be calibrated after that."""
    bare = replace(surrogate, analogues=None)
    classes = analogues.classes_of(bare.networks, bare.element_counts)
    memories = {}
    for scheme in data.schemes:
        rows, labels = labelled(data, "train", scheme)
        if len(rows):
            said = outputs(bare, data, rows, scheme)
            scales = said.scales.mean(axis=0)
            memories[scheme] = analogues.fitted(data.compositions.rows(rows), labels - said.mean, scales, classes)
    return replace(bare, analogues=analogues.Analogues(classes, memories))


def words_of_analogues(surrogate: EnsembleSurrogate) -> str:
    """For the card."""
    size = surrogate.analogues.size if surrogate.analogues else 0
    return f"{size} weights of errors on training labels, by exchanges of elements (discovery.surrogates.analogues)"


def evaluate(surrogate: EnsembleSurrogate, data: Dataset, split: str) -> dict[str, dict[str, object]]:
    """Errors and calibration of each scheme on one part of the split; `mp_bartel2020` apart as the headline."""
    results = {}
    for scheme in data.schemes:
        rows, labels = labelled(data, split, scheme)
        if len(rows):
            results[scheme] = _measure(surrogate, data, rows, labels, scheme)
    if not data.bartel.any():
        return results
    rows, labels = labelled(data, split, "mp2019")
    chosen = data.bartel[rows]
    if chosen.any():
        results["mp2019, rows of mp_bartel2020"] = _measure(surrogate, data, rows[chosen], labels[chosen], "mp2019")
    return results


def labelled(data: Dataset, split: str, scheme: str) -> tuple[NDArray[np.int64], FloatArray]:
    """Rows of a part that have a label in `scheme`, and these labels, eV/atom."""
    rows = data.rows(split)
    labels = data.energies[rows, data.schemes.index(scheme)].astype(np.float64)
    known = ~np.isnan(labels)
    return rows[known], labels[known]


def outputs(surrogate: EnsembleSurrogate, data: Dataset, rows: NDArray[np.int64], scheme: str) -> Outputs:
    """`EnsembleSurrogate.outputs` of some rows, in chunks."""
    chunks = [data.compositions.rows(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    parts = [surrogate.outputs(chunk, scheme) for chunk in chunks]
    columns = zip(*((part.means, part.scales, part.shift) for part in parts), strict=True)
    return Outputs(*(np.concatenate(column, axis=-1) for column in columns))


def published_on_same_rows(data: Dataset, predictions: Path, split: str) -> dict[str, float]:
    """MAE (eV/atom) of the training mean and of published out-of-fold predictions on the headline rows."""
    rows, labels = labelled(data, split, "mp2019")
    rows, labels = rows[data.bartel[rows]], labels[data.bartel[rows]]
    train, train_labels = labelled(data, "train", "mp2019")
    results = {"training mean": float(np.abs(labels - train_labels[data.bartel[train]].mean()).mean())}
    table = pd.read_parquet(predictions).set_index("reduced_formula")
    formulas = [data.formulas[row] for row in rows]
    for column in (name for name in table.columns if name.startswith("Ef_pred_")):
        error = np.abs(table.loc[formulas, column].to_numpy() - labels)
        results[column.removeprefix("Ef_pred_")] = float(error.mean())
    return results


def _measure(
    surrogate: EnsembleSurrogate, data: Dataset, rows: NDArray[np.int64], labels: FloatArray, scheme: str
) -> dict[str, object]:
    said = outputs(surrogate, data, rows, scheme)
    error = said.mean - labels
    fitted = surrogate.calibrations[scheme]
    epistemic, aleatoric = fitted.apply(said.epistemic, said.aleatoric)
    std, freedom = np.hypot(epistemic, aleatoric), fitted.degrees_of_freedom
    return {
        "n": len(rows),
        "mae": float(np.abs(error).mean()),
        "mae_of_single_members": [float(value) for value in np.abs(said.means - labels).mean(axis=1)],
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mean_epistemic_std": float(epistemic.mean()),
        "mean_aleatoric_std": float(aleatoric.mean()),
        "coverage": {str(level): share for level, share in calibration.coverage(error, std, freedom).items()},
        "miscalibration_area": calibration.miscalibration_area(error, std, freedom),
        "mae_of_the_surest_half": float(np.abs(error[std <= np.median(std)]).mean()),
    }


def rounded_results(results: Mapping[str, object]) -> dict[str, object]:
    """The same with floats cut to four decimals, for the card."""
    return {key: _rounded(value) for key, value in results.items()}


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value
