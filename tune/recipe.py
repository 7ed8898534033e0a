"""From what a trial is given to a model, a training and a way of sampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from discovery.generators.base import LanguageModel, SamplingOptions
from discovery.generators.zoo import Size, sized
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import TrainingConfig as SurrogateTraining
from discovery.training import MAY_CHANGE, TrainingConfig
from tune.plan import Plan
from tune.space import BUDGET, VARIANT

PERIODS = 8  # reports of a trial, at least: what early stopping and resuming have to go by
OPERATIONS = 6  # per parameter and token, forward and backward (Kaplan et al. 2020)
PETA = 1e15
RETUNED = MAY_CHANGE | {"peak_learning_rate", "weight_decay"}  # by population-based training, under way


@dataclass(frozen=True)
class Recipe:
    """An untrained model and all that is done with it."""

    model: LanguageModel
    training: TrainingConfig
    sampling: SamplingOptions
    variant: str  # of the training set
    petaflop: float  # arithmetic of the training

    @property
    def parameters(self) -> int:
        """Weights of the network."""
        return count_parameters(self.model)


def recipe_of(config: Mapping[str, Any], plan: Plan, tokens: Mapping[str, int], device: str = "cpu") -> Recipe:
    """The recipe of a trial.

    Args:
        config: a draw from `tune.space.generator_space`.
        plan: of the search.
        tokens: of one pass over each training set.
        device: of torch.
    """
    return recipe_with(sized(plan.model, size_of(config), plan.seed), config, plan, tokens, device=device)


def recipe_with(
    model: LanguageModel, config: Mapping[str, Any], plan: Plan, tokens: Mapping[str, int], *, device: str = "cpu"
) -> Recipe:
    """`recipe_of` for a model of any size."""
    variant = config.get(VARIANT, next(iter(tokens)))
    passes = _passes(plan, count_parameters(model), tokens[variant]) * config.get(BUDGET, 1.0)
    epochs, share = schedule(passes)
    training = TrainingConfig(
        epochs=epochs,
        tokens_per_batch=config["tokens_per_batch"],
        peak_learning_rate=config["peak_learning_rate"],
        warmup_share=config["warmup_share"],
        weight_decay=config["weight_decay"],
        device=device,
        seed=plan.seed,
        epoch_share=share,
        patience=epochs,  # the schedule ends where the budget does: early stopping is the scheduler's
    )
    petaflop = OPERATIONS * count_parameters(model) * passes * tokens[variant] / PETA
    return Recipe(model, training, sampling_of(config, plan), variant, petaflop)


def size_of(config: Mapping[str, Any]) -> Size:
    """The architecture that a draw names."""
    width = config["heads"] * config["head_width"]
    return Size(config["layers"], width, config["heads"], config["dropout"], config.get("left_to_right"))


def sampling_of(config: Mapping[str, Any], plan: Plan) -> SamplingOptions:
    """How a trial's model is sampled."""
    return SamplingOptions(
        constrained=plan.constrained, temperature=config["temperature"], top_p=config.get("top_p", 1.0)
    )


def schedule(passes: float) -> tuple[int, float]:
    """Periods of equal length that make up so many passes over the data, and the share of the data in each."""
    periods = max(PERIODS, math.ceil(passes))
    return periods, passes / periods


def surrogate_recipe(
    config: Mapping[str, Any], plan: Plan, schemes: tuple[str, ...]
) -> tuple[NetworkConfig, SurrogateTraining]:
    """Sizes and training of one member of an ensemble."""
    width = config["heads"] * config["head_width"]
    sizes = NetworkConfig(
        schemes,
        width=width,
        layers=config["layers"],
        heads=config["heads"],
        feed_forward=config["feed_forward"] * width,
        pooled=config["pooled"],
    )
    own = {name: config[name] for name in ("peak_rate", "warm_up", "weight_decay", "dropout", "batch_size")}
    training = SurrogateTraining(
        seed=plan.seed, epochs=plan.surrogate_epochs, restart_epochs=0, average_decay=config["average_decay"]
    )
    return sizes, replace(training, **own)


def count_parameters(model: LanguageModel) -> int:
    """Weights of a language model."""
    return sum(parameter.numel() for parameter in model.network.parameters())


def _passes(plan: Plan, parameters: int, tokens: int) -> float:
    if plan.epochs is not None:
        return float(plan.epochs)
    return plan.petaflop * PETA / (OPERATIONS * parameters * tokens)
