"""Models that have seen the known part of a problem and nothing else, trained once for each known part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.likelihood_ranking import trained_without
from benchmarks.replay.desk import Models
from benchmarks.replay.problem import Problem
from discovery.errors import ConfigError
from discovery.formulas import fits, split_of
from discovery.generators.base import Generator
from discovery.generators.zoo import build, load_generator
from discovery.model_files import CARD, read_json, write_json
from discovery.surrogates.base import Surrogate
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.from_labels import Preset, train_on_labels
from discovery.training import Hooks, TrainingConfig

LIST = "list.json"  # beside the models: what they were trained on, so that other settings do not find them


@dataclass(frozen=True)
class Training:
    """How much is spent on the models of a replay."""

    surrogate: Preset = Preset()  # noqa: RUF009 - frozen
    generator: str = "gpt2"  # family of the language model, preset `small`
    epochs: int = 6  # of the language model; 0: none
    seed: int = 0


def models_for(problem: Problem, training: Training, folder: Path) -> Models:
    """Trained on `problem.known` alone; loaded where a folder of the same known part and settings exists."""
    home = folder / f"models-{problem.digest}"
    made = {"known": problem.digest, "training": asdict(training)}
    if (home / LIST).is_file() and read_json(home / LIST) == made:
        return Models(EnsembleSurrogate.load(home / "surrogate"), _loaded(home / "generator"))
    surrogate = _surrogate(problem, training, home)
    generator = _generator(problem, training, home) if training.epochs else None
    write_json(home / LIST, made)  # last: a killed training is not taken for a finished one
    return Models(surrogate, generator)


def unaware_generator(name: str, problem: Problem) -> Generator:
    """A language model that was trained elsewhere, without a family's compounds.

    Raises:
        ConfigError: its card does not say that it has not seen them.
    """
    generator = load_generator(name)
    family = frozenset(problem.name.removeprefix("family ").split("-"))
    if not (problem.name.startswith("family ") and trained_without(generator, family)):
        raise ConfigError(f"--language-model {name} may have seen the compounds of {problem.name}: leave it out")
    return generator


def _surrogate(problem: Problem, training: Training, home: Path) -> Surrogate:
    def show(report: object) -> None:
        print(f"surrogate of {problem.name}: {report}", flush=True)

    checkpoints = home / "checkpoints"
    surrogate = train_on_labels(problem.labels, training.surrogate, checkpoints, show, seed=training.seed)
    surrogate.save(home / "surrogate")
    return surrogate


def _generator(problem: Problem, training: Training, home: Path) -> Generator:
    formulas = [formula for formula in problem.known if fits(formula)]
    valid = [formula for formula in formulas if split_of(formula, training.seed) == "valid"]
    train = sorted(set(formulas) - set(valid))
    torch.manual_seed(training.seed)
    config = TrainingConfig(epochs=training.epochs, seed=training.seed)
    hooks = Hooks(lambda report: print(f"language model of {problem.name}: {report.line()}", flush=True),
                  home / "generator.safetensors")  # fmt: skip
    generator, _ = build(training.generator, "small").fit(train, valid, config, hooks)
    generator.save(home / "generator")
    return generator


def _loaded(folder: Path) -> Generator | None:
    return load_generator(str(folder)) if (folder / CARD).is_file() else None
