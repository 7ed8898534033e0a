"""Two stages of training, the calibration, and what a card says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discovery.composition import SYMBOLS
from discovery.errors import ConfigError, DataError
from discovery.surrogates import calibration
from discovery.surrogates.base import FloatArray
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.ensemble import element_counts
from discovery.surrogates.evaluation import MIN_CALIBRATION, labelled
from discovery.surrogates.lift.base import Answerer, Example
from discovery.surrogates.lift.pretext import pretext_examples
from discovery.surrogates.lift.surrogate import Asked, LiftSurrogate, Prior
from discovery.training import EpochReport, Hooks, TrainingConfig

CALIBRATED = 1000  # validation labels of a scheme that the calibration takes, at most
CHECKED = 500  # validation labels that choose the epoch, at most


@dataclass(frozen=True)
class LiftConfig:
    """How a language model is taught."""

    epochs: int = 6
    pretext: int = 20_000  # made-up examples of the first stage, read once; 0: no first stage
    learning_rate: float = 1e-3  # peak of each stage
    tokens_per_batch: int = 2048
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pretext < 0:
            raise ConfigError(f"--pretext {self.pretext} is negative: give 0 for none")

    def stage(self, epochs: int) -> TrainingConfig:
        """Settings of the training loop for one stage."""
        return TrainingConfig(
            epochs=epochs,
            tokens_per_batch=self.tokens_per_batch,
            peak_learning_rate=self.learning_rate,
            patience=max(5, epochs // 4),
            device=self.device,
            seed=self.seed,
        )


def train_lift(answerer: Answerer, data: Dataset, config: LiftConfig, hooks: Hooks | None = None) -> LiftSurrogate:
    """A surrogate that learned the training part of `data`, calibrated on its validation part.

    Args:
        answerer: a language model that knows the schemes of the labels to learn.
        data: labels; those of other schemes are left out.
        config: settings.
        hooks: of both stages; the first has a checkpoint of its own beside that of the second.

    Raises:
        DataError: no label to learn.
    """
    hooks = hooks or Hooks()
    examples = examples_of(data, answerer.schemes, "train")
    if not examples:
        raise DataError(f"no training label of scheme {', '.join(answerer.schemes)}: give others")
    taught, elements = answerer.on(config.device), _elements(data)
    if config.pretext:
        made = pretext_examples(elements, config.pretext, np.random.default_rng([config.seed, 1]))
        taught, _ = taught.taught(made, (), config.stage(1), _first_stage(hooks))
    valid = _some(examples_of(data, answerer.schemes, "validation"), CHECKED, config.seed)
    taught, history = taught.taught(examples, valid, config.stage(config.epochs), hooks)
    energies = np.array([example.energy for example in examples])
    surrogate = LiftSurrogate(
        taught,
        dict.fromkeys(answerer.schemes, SchemeCalibration()),
        element_counts(data.compositions, data.rows("train")),
        Prior(float(energies.mean()), float(energies.std())),
        {scheme: Asked(scheme, 0.0) for scheme in answerer.schemes},
        card={"training": asdict(config), "epochs": [asdict(report) for report in history], "labels": len(examples)},
    )
    return calibrated(surrogate, data, config.seed)


def calibrated(surrogate: LiftSurrogate, data: Dataset, seed: int) -> LiftSurrogate:
    """With calibrations fitted on the validation part; a scheme with too few labels there takes that of the first."""
    fitted: dict[str, SchemeCalibration] = {}
    for scheme in surrogate.answerer.schemes:
        rows, labels = _part(data, scheme, "validation", (CALIBRATED, seed))
        answers = surrogate.answers([data.formulas[row] for row in rows], scheme)
        read = ~np.isnan(answers.centre)
        if read.sum() < MIN_CALIBRATION:
            fitted[scheme] = next(iter(fitted.values()), SchemeCalibration())
            continue
        error = (answers.centre - labels)[read]
        fitted[scheme] = calibration.fit(error, np.zeros(len(error)), answers.spread[read])
    return replace(surrogate, calibrations=fitted)


def measured(surrogate: LiftSurrogate, data: Dataset, most: int = 10**9) -> dict[str, dict[str, object]]:
    """Errors and calibration of each scheme on the test part (or `most` rows of it), energies in eV/atom."""
    found: dict[str, dict[str, object]] = {}
    for scheme in surrogate.answerer.schemes:
        rows, labels = _part(data, scheme, "test", (most, 0))
        if not len(rows):
            continue
        formulas = [data.formulas[row] for row in rows]
        answers = surrogate.answers(formulas, scheme)
        prediction = surrogate.calibrated(answers, formulas, scheme)
        error, freedom = prediction.mean - labels, surrogate.calibrations[scheme].degrees_of_freedom
        found[scheme] = {
            "n": len(rows),
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mae_of_the_training_mean": float(np.abs(surrogate.prior.mean - labels).mean()),
            "coverage": {str(k): v for k, v in calibration.coverage(error, prediction.std, freedom).items()},
            "miscalibration_area": calibration.miscalibration_area(error, prediction.std, freedom),
            "mae_of_the_surest_half": float(np.abs(error[prediction.std <= np.median(prediction.std)]).mean()),
            "unreadable_answers": int(answers.unreadable.sum()),
            "answers": answers.asked * len(rows),
        }
    return found


def examples_of(data: Dataset, schemes: Sequence[str], part: str) -> list[Example]:
    """Every label of a part of the split as an example."""
    examples = []
    for scheme in schemes:
        rows, labels = labelled(data, part, scheme)
        pairs = zip(rows, labels.tolist(), strict=True)
        examples += [Example(data.formulas[row], scheme, energy) for row, energy in pairs]
    return examples


def _part(data: Dataset, scheme: str, part: str, limit: tuple[int, int]) -> tuple[NDArray[np.int64], FloatArray]:
    """Labelled rows of a part, and their labels; a seeded choice of so many."""
    rows, labels = labelled(data, part, scheme)
    most, seed = limit
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    return rows[chosen], labels[chosen]


def _some(examples: Sequence[Example], most: int, seed: int) -> list[Example]:
    return [examples[row] for row in np.random.default_rng(seed).permutation(len(examples))[:most]]


def _elements(data: Dataset) -> list[str]:
    present = (data.compositions.fractions()[data.rows("train")] > 0).any(axis=0)
    return [SYMBOLS[index] for index in np.flatnonzero(present)]


def _first_stage(hooks: Hooks) -> Hooks:
    path: Path | None = hooks.checkpoint
    return replace(hooks, checkpoint=None if path is None else path.with_stem(f"{path.stem}-pretext"))


def report_line(report: EpochReport) -> None:
    """Show an epoch."""
    print(report.line(), flush=True)
