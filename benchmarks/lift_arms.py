"""What `benchmarks.lift` compares: each arm learns the same labels and predicts the same test compositions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from discovery.generators.zoo import load_generator
from discovery.surrogates import evaluation
from discovery.surrogates.base import FloatArray
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts
from discovery.surrogates.from_labels import Preset
from discovery.surrogates.lift.base import Answerer
from discovery.surrogates.lift.composition_model import CompositionModel
from discovery.surrogates.lift.sentence_model import SentenceModel, SentenceSettings
from discovery.surrogates.lift.surrogate import LiftSurrogate
from discovery.surrogates.lift.training import LiftConfig, train_lift
from discovery.surrogates.magpie import magpie_features, random_forest
from discovery.surrogates.training import EpochReport, train_member
from discovery.training import Hooks

PRETEXT = 5000  # made-up examples of the first stage
STEPS = 600  # of the ensemble, at least


@dataclass(frozen=True)
class Task:
    """Labels to learn, of which the validation part chooses epochs and calibrates, and compositions to predict."""

    data: Dataset  # of one scheme; parts train, validation, test
    seed: int
    work: Path  # folder for checkpoints
    device: str = "cpu"

    @property
    def learned(self) -> int:
        """Labels in the training part."""
        return len(self.data.rows("train"))

    def formulas(self, *parts: str) -> list[str]:
        """Compositions of some parts, one part after the other."""
        return [self.data.formulas[row] for part in parts for row in self.data.rows(part)]

    def energies(self, *parts: str) -> FloatArray:
        """Their labels, eV/atom."""
        return np.concatenate([self.data.energies[self.data.rows(part), 0] for part in parts]).astype(np.float64)


@dataclass(frozen=True)
class Outcome:
    """What an arm says of the test compositions."""

    predicted: FloatArray  # eV/atom
    inside: float | None = None  # share of labels in the 90 % interval, where the arm has one
    unreadable: int = 0  # answers that were no number
    answers: int = 0  # answers drawn; 0 where none are


Arm = Callable[[Task], Outcome]


def lift_config(n: int, seed: int, *, pretext: int = PRETEXT, device: str = "cpu") -> LiftConfig:
    """Epochs and batches for n labels: 24 epochs for 100, 12 for 1,000, 6 for 10,000, 3 for 70,000."""
    epochs, batch = max(3, round(12 * (1000 / n) ** 0.3)), min(max(n // 2, 256), 1024)
    return LiftConfig(epochs, pretext, tokens_per_batch=batch, device=device, seed=seed)


def composition_arm(task: Task, *, start: str = "gpt2", scratch: bool = False, pretext: int = PRETEXT) -> Outcome:
    """LIFT (a): the language model of compositions, or the same with random weights."""
    model = CompositionModel.of(load_generator(start), task.data.schemes)
    if scratch:
        model = model.from_scratch(task.seed)
    return lift_outcome(model, task, lift_config(task.learned, task.seed, pretext=pretext, device=task.device))


def sentence_arm(task: Task, *, base: str, names: bool = True) -> Outcome:
    """LIFT (b): a language model of text with adapters, at the paper's rates."""
    model = SentenceModel.of(base, task.data.schemes, SentenceSettings(names=names, seed=task.seed))
    config = lift_config(task.learned, task.seed, device=task.device)
    return lift_outcome(model, task, config)


def lift_outcome(model: Answerer, task: Task, config: LiftConfig) -> Outcome:
    """Teach a model and ask it."""
    surrogate = train_lift(model, task.data, config, Hooks(checkpoint=task.work / "lift.safetensors"))
    surrogate = surrogate.on(task.device)
    answers = surrogate.answers(task.formulas("test"), task.data.schemes[0])
    drawn = answers.asked * len(answers.centre)
    return replace(surrogate_outcome(surrogate, task), unreadable=int(answers.unreadable.sum()), answers=drawn)


def ensemble_preset(n: int) -> Preset:
    """The preset for own labels, at least `STEPS` steps long."""
    batch = min(max(n // 10, 16), 512)
    return Preset(epochs=max(Preset.epochs, math.ceil(STEPS * batch / n)), batch_size=batch)


def ensemble_arm(task: Task) -> Outcome:
    """The attention networks of the project, in a small size."""
    preset, data = ensemble_preset(task.learned), task.data
    networks = tuple(
        train_member(
            data,
            preset.training(task.seed + member),
            task.work / f"member-{member}.safetensors",
            _quiet,
            preset.sizes(data.schemes[0]),
            device=task.device,
        )
        for member in range(preset.members)
    )
    counts = element_counts(data.compositions, data.rows("train"))
    return surrogate_outcome(evaluation.calibrate(EnsembleSurrogate(networks, {}, counts), data), task)


def surrogate_outcome(surrogate: EnsembleSurrogate | LiftSurrogate, task: Task) -> Outcome:
    """Predictions, and how often the 90 % interval holds the label."""
    scheme = task.data.schemes[0]
    prediction = surrogate.predict(task.formulas("test"), scheme)
    error = np.abs(prediction.mean - task.energies("test"))
    return Outcome(prediction.mean, float((error <= surrogate.interval(scheme, 0.9) * prediction.std).mean()))


def forest_arm(task: Task) -> Outcome:
    """A random forest on Magpie's features; it needs no validation part and learns that, too."""
    known = magpie_features(task.formulas("train", "validation"))
    forest = random_forest(known, task.energies("train", "validation"), task.seed, os.cpu_count() or 1)
    return Outcome(forest(magpie_features(task.formulas("test"))))


def mean_arm(task: Task) -> Outcome:
    """The mean of all labels."""
    return Outcome(np.full(len(task.data.rows("test")), task.energies("train", "validation").mean()))


def arms(base: str | None) -> Mapping[str, Arm]:
    """All arms by name; those of text where a language model is given."""
    of_text: dict[str, Arm] = {}
    if base is not None:
        of_text = {
            "LIFT, sentences with names": partial(sentence_arm, base=base),
            "LIFT, sentences without names": partial(sentence_arm, base=base, names=False),
        }
    return {
        "LIFT": composition_arm,
        "LIFT, no pretext tasks": partial(composition_arm, pretext=0),
        "LIFT, random weights": partial(composition_arm, scratch=True),
        **of_text,
        "ensemble": ensemble_arm,
        "random forest": forest_arm,
        "training mean": mean_arm,
    }


def _quiet(report: EpochReport) -> None:
    """Say nothing."""
    del report
