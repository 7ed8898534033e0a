"""What is searched, and within which bounds. Every draw is a valid combination: widths are heads times width per head.

Each name is a field of a size (`discovery.generators.zoo.Size`), of a training (`discovery.training.TrainingConfig`) or
of the sampling (`discovery.generators.base.SamplingOptions`); `tune.recipe` puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from discovery.errors import ConfigError
from discovery.generators.zoo import FAMILIES

Config = dict[str, Any]  # name -> value: what a trial is given
Space = dict[str, Domain]

BUDGET = "budget"  # share of the arithmetic of a full trial; searched where seconds count, too
VARIANT = "variant"  # name of a training set; searched where there are several
FREE_ORDER = ("blmm",)  # families that can be taught to write in more than one order
ANY_ORDER = ("roberta", "blmm")  # families that write in any order: there is no next token to cut the tail of
CHANGEABLE = ("peak_learning_rate", "weight_decay", "dropout", "temperature", "top_p")  # while a network is trained

START: Mapping[str, Any] = {  # the zoo's small preset as `discovery.train` trains it: the first trial of a search
    "layers": 4,
    "heads": 4,
    "head_width": 32,
    "dropout": 0.0,
    "peak_learning_rate": 2e-3,
    "warmup_share": 0.1,
    "weight_decay": 0.05,
    "tokens_per_batch": 2048,
    "temperature": 1.0,
    "top_p": 1.0,
    "left_to_right": 0.5,
    BUDGET: 1.0,
}
SURROGATE_START: Mapping[str, Any] = {  # the shipped ensemble's
    "layers": 3,
    "heads": 4,
    "head_width": 40,
    "feed_forward": 3,
    "pooled": 256,
    "dropout": 0.05,
    "peak_rate": 2.5e-3,
    "warm_up": 0.1,
    "weight_decay": 0.05,
    "batch_size": 512,
    "average_decay": 0.998,
}


def generator_space(family: str, variants: Sequence[str] = ("data",), *, budgets: bool = False) -> Space:
    """The search space of a family of language models.

    Args:
        family: a key of `FAMILIES`.
        variants: names of the training sets; with one there is nothing to search.
        budgets: search the share of a trial's arithmetic, too.

    Raises:
        ConfigError: no such family.
    """
    if family not in FAMILIES or FAMILIES[family].sized is None:
        able = [name for name, made in FAMILIES.items() if made.sized is not None]
        raise ConfigError(f"--model {family!r} cannot be searched: choose from {', '.join(able)}")
    space: Space = {
        "layers": tune.randint(2, 11),  # the upper bound of Ray's integers is open
        "heads": tune.choice([4, 8]),  # widths of 64 and more: the same arithmetic takes three times as long at 32
        "head_width": tune.choice([16, 24, 32, 48]),  # even: an even part of it is rotated in GPT-J
        "dropout": tune.uniform(0.0, 0.2),
        "peak_learning_rate": tune.loguniform(5e-4, 1e-2),
        "warmup_share": tune.uniform(0.02, 0.3),
        "weight_decay": tune.loguniform(1e-3, 0.3),
        "tokens_per_batch": tune.choice([512, 1024, 2048, 4096, 8192]),
        "temperature": tune.uniform(0.8, 1.3),
        "top_p": tune.uniform(0.9, 1.0),
        "left_to_right": tune.uniform(0.1, 0.9),
        VARIANT: tune.choice(list(variants)),
        BUDGET: tune.choice([0.25, 0.5, 1.0]),
    }
    absent = {
        "left_to_right": family not in FREE_ORDER,
        "top_p": family in ANY_ORDER,
        VARIANT: len(variants) < 2,
        BUDGET: not budgets,
    }
    return {name: domain for name, domain in space.items() if not absent.get(name)}


def surrogate_space() -> Space:
    """The search space of one member of the surrogate's ensemble."""
    return {
        "layers": tune.randint(2, 6),
        "heads": tune.choice([2, 4, 8]),
        "head_width": tune.choice([16, 24, 32, 40]),
        "feed_forward": tune.randint(2, 5),  # times the width
        "pooled": tune.choice([128, 256, 384]),  # multiples of the 8 gates
        "dropout": tune.uniform(0.0, 0.2),
        "peak_rate": tune.loguniform(5e-4, 1e-2),
        "warm_up": tune.uniform(0.02, 0.3),
        "weight_decay": tune.loguniform(1e-3, 0.3),
        "batch_size": tune.choice([128, 256, 512]),
        "average_decay": tune.choice([0.99, 0.995, 0.998, 0.999]),
    }


def start_of(space: Space, known: Mapping[str, Any]) -> Config:
    """What is used today, as far as the space has it: the first trial, which a search cannot fall behind.

    Args:
        space: to be searched.
        known: `START` or `SURROGATE_START`; a name that it lacks gets the first of its categories.
    """
    return {name: known[name] if name in known else domain.categories[0] for name, domain in space.items()}


def changeable(space: Space) -> Space:
    """The part that population-based training may change while a network is trained."""
    return {name: space[name] for name in CHANGEABLE if name in space}
