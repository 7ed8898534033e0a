"""Search spaces: every draw is a network that can be built, and costs what the plan says."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from discovery.errors import ConfigError
from discovery.generators.zoo import FAMILIES, Size, sized
from tests.core.small_search import small_plan
from tune.engine import within
from tune.recipe import OPERATIONS, PERIODS, recipe_of, schedule, size_of, surrogate_recipe
from tune.space import START, SURROGATE_START, changeable, generator_space, start_of, surrogate_space


def draws(space: dict, n: int, seed: int) -> list[dict]:
    rng = np.random.RandomState(seed)
    return [{name: domain.sample(random_state=rng) for name, domain in space.items()} for _ in range(n)]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_draw_is_a_valid_size(family: str) -> None:
    space = generator_space(family, ("pure", "strict"))
    for config in draws(space, 200, seed=0):
        size = size_of(config)  # raises where the heads do not divide the width
        assert size.width // size.heads % 2 == 0  # GPT-J rotates an even part of each head
        assert config["variant"] in ("pure", "strict")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_corners_of_the_smaller_half_of_each_space_can_be_built_and_read_a_formula(family: str) -> None:
    space = generator_space(family)
    widths = itertools.product(space["heads"].categories, space["head_width"].categories)
    smallest, widest = min(widths, key=np.prod), (8, 16)
    for (heads, head_width), dropout in itertools.product((smallest, widest), (0.0, 0.2)):
        config = {**start_of(space, START), "layers": 2, "heads": heads, "head_width": head_width, "dropout": dropout}
        model = sized(family, size_of(config), seed=0)
        assert np.isfinite(model.log_probability(["NaCl", "SrTiO3"])).all()


def test_what_a_family_cannot_do_is_not_searched() -> None:
    assert "left_to_right" in generator_space("blmm")
    assert "left_to_right" not in generator_space("gpt2")
    assert "top_p" in generator_space("gpt2")
    assert "top_p" not in generator_space("roberta")
    assert "variant" not in generator_space("gpt2", ("one",))
    assert "budget" in generator_space("gpt2", budgets=True)
    with pytest.raises(ConfigError, match="cannot be searched: choose from gpt"):
        generator_space("llama")


@pytest.mark.parametrize(
    ("space", "known"),
    [(generator_space("blmm", ("a", "b"), budgets=True), START), (surrogate_space(), SURROGATE_START)],
)
def test_the_first_trial_is_what_is_used_today_and_lies_within_the_space(space: dict, known: dict) -> None:
    first = start_of(space, known)
    assert set(first) == set(space)
    for name, domain in space.items():
        assert domain.is_valid(first[name]), name


def test_weights_follow_the_seed() -> None:
    size = Size(2, 16, 2)
    one, same, other = (sized("gpt2", size, seed).version for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_dropout_works_in_training_alone(family: str) -> None:
    model = sized(family, Size(2, 16, 2, dropout=0.5), seed=0)
    tokens = torch.tensor([model.training_sequence("SrTiO3")])

    def loss(network: torch.nn.Module) -> float:
        torch.manual_seed(0)  # what is masked, or hidden, is drawn before anything is dropped
        return model.loss(network, tokens)[0].item()

    evaluated = loss(model.network.eval())
    assert loss(model.network.eval()) == evaluated
    assert loss(model.network.train()) != evaluated


def test_every_trial_costs_the_same_arithmetic() -> None:
    tokens = {"data": 400_000}
    plan = small_plan(petaflop=0.002)
    base = {**start_of(generator_space("gpt2"), START), "layers": 2}
    small, wide = (recipe_of({**base, "heads": heads}, plan, tokens, "cpu") for heads in (4, 16))
    assert wide.parameters > 4 * small.parameters
    for recipe in (small, wide):
        passes = recipe.training.epochs * recipe.training.epoch_share
        assert passes * OPERATIONS * recipe.parameters * tokens["data"] == pytest.approx(0.002e15)
        assert recipe.petaflop == pytest.approx(0.002)
    half = recipe_of({**base, "budget": 0.5}, plan, tokens, "cpu")
    assert half.petaflop == pytest.approx(0.001)
    assert recipe_of(base, dataclasses.replace(plan, epochs=3), tokens, "cpu").training.epoch_share == 3 / PERIODS


def test_a_schedule_reports_often_enough_and_reads_all() -> None:
    assert schedule(20.0) == (20, 1.0)
    assert schedule(0.5) == (PERIODS, 0.5 / PERIODS)
    periods, share = schedule(12.3)
    assert periods * share == pytest.approx(12.3)
    assert share <= 1


def test_population_based_training_stays_within_the_bounds() -> None:
    space = changeable(generator_space("gpt2"))
    assert set(space) == {"peak_learning_rate", "weight_decay", "dropout", "temperature", "top_p"}
    wild = {**START, "top_p": 1.14, "temperature": 0.5, "layers": 3}
    held = within(space, wild)
    assert (held["top_p"], held["temperature"], held["layers"]) == (1.0, 0.8, 3)


def test_every_surrogate_draw_is_a_network() -> None:
    plan = small_plan(target="surrogate", objective="nll", epochs=2)
    for config in draws(surrogate_space(), 50, seed=1):
        sizes, training = surrogate_recipe(config, plan, ("mp2019",))
        assert sizes.width % sizes.heads == 0
        assert sizes.pooled % 8 == 0
        assert training.all_epochs == 2
