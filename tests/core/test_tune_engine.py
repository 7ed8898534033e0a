"""Optuna's side of a search, without Ray: what it is told, and that it repeats itself."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from discovery.errors import ConfigError
from tests.core.small_search import small_plan
from tune.engine import GoalSearch, scheduler_of, searcher_of
from tune.plan import SAMPLERS, Plan, check_same
from tune.shares import PER_GPU, Share, share_of
from tune.space import START, generator_space, start_of
from tune.trainable import CAUSE, PROGRESS

SPACE = generator_space("gpt2")
FIRST = start_of(SPACE, START)
State = optuna.trial.TrialState


def search(**changes: Any) -> GoalSearch:
    return GoalSearch(small_plan(trials=40, **changes), SPACE, FIRST)


def report(value: float | None, percent: float = 100.0) -> dict[str, Any]:
    goal = {} if value is None else {"yield": value}
    return {"nll": 1.0, PROGRESS: percent, "training_iteration": 1, **goal}


def test_the_first_trial_is_what_is_used_today() -> None:
    assert search().suggest("a") == pytest.approx(FIRST)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_proposes_within_the_space_and_repeats_itself(sampler: str) -> None:
    lists = []
    for _ in range(2):
        made = search(sampler=sampler)
        proposed = []
        for number in range(14):
            config = made.suggest(f"t{number}")
            assert all(SPACE[name].is_valid(value) for name, value in config.items()), config
            made.on_trial_complete(f"t{number}", report(float(number % 5)))
            proposed.append(config)
        lists.append(proposed)
    assert lists[0] == lists[1]


def test_what_becomes_of_trials_reaches_optuna() -> None:
    made = search()
    for name in ("good", "early", "nan", "dead", "diverged"):
        made.suggest(name)
    made.on_trial_result("early", report(None, 25.0))
    made.on_trial_complete("good", report(80.0))
    made.on_trial_complete("early", report(None, 25.0))
    made.on_trial_complete("nan", report(math.nan))
    made.on_trial_complete("dead", None, error=True)
    made.on_trial_complete("diverged", {CAUSE: "the loss is no number"})
    states = [trial.state for trial in made._ot_study.trials]
    assert states == [State.COMPLETE, State.PRUNED, State.PRUNED, State.FAIL, State.FAIL]
    assert made._ot_study.best_value == 80.0
    assert made._ot_study.trials[1].intermediate_values == {25: -1.0}  # better is larger, as with the yield
    made.on_trial_complete("good", report(1.0))  # told once only
    assert made._ot_study.best_value == 80.0


def test_two_goals_make_a_study_with_two_directions() -> None:
    made = GoalSearch(small_plan(pareto=True, scheduler="none"), SPACE, FIRST)
    made.suggest("a")
    made.on_trial_result("a", report(None, 25.0))  # Optuna takes no reports on the way here
    made.on_trial_complete("a", {**report(50.0), "train_seconds": 9.0})
    assert made._ot_study.best_trials[0].values == [50.0, 9.0]
    assert [d.name for d in made._ot_study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_search_survives_pickling_with_its_memory() -> None:
    import tempfile
    from pathlib import Path

    made = search()
    made.suggest("a")
    made.on_trial_complete("a", report(5.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "searcher"
        made.save(str(path))
        restored = search()
        restored.restore(str(path))
    assert restored._ot_study.best_value == 5.0
    assert restored.suggest("b") == made.suggest("b")


def test_schedulers_stop_by_likelihood_at_a_quarter_and_at_half() -> None:
    asha = scheduler_of(small_plan(), SPACE)
    [bracket] = asha._brackets
    assert sorted(milestone for milestone, _ in bracket._rungs) == [25.0, 50.0]
    assert type(scheduler_of(small_plan(scheduler="none"), SPACE)).__name__ == "FIFOScheduler"
    bred = small_plan(scheduler="pbt")
    assert type(scheduler_of(bred, SPACE)).__name__ == "PopulationBasedTraining"
    assert type(searcher_of(bred, SPACE, FIRST)).__name__ == "BasicVariantGenerator"


def test_trials_share_what_there_is() -> None:
    assert share_of(small_plan(), 2, 0) == Share(1.0, 0.0)
    assert share_of(small_plan(), 16, 2) == Share(1.0, 1 / PER_GPU)  # eight trials, sixteen cores
    assert share_of(small_plan(), 4, 4) == Share(1.0, 1.0)  # a core for each: no GPU is shared
    assert share_of(small_plan(), 2, 1) == Share(1.0, 0.5)
    assert share_of(small_plan(cpus=0.5), 2, 0) == Share(0.5, 0.0)
    assert Share(0.5, 0.0).threads == 1
    assert Share(4.0, 0.25).resources() == {"cpu": 4.0, "gpu": 0.25}
    fractions = share_of(small_plan(), 9, 3)
    assert fractions.gpus * 3 <= 1 < fractions.gpus * 3 + 1e-3  # Ray counts in ten-thousandths: rounded down


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "--trials 0 is too small"),
        ({"petaflop": 0.0}, "give a --petaflop above 0"),
        ({"epochs": 0}, "--epochs of 1 or more"),
        ({"objective": "mae"}, "choose from yield, nll, recovery"),
        ({"tolerance": -1.0}, "such as 0.1"),
        ({"cpus": 0.0}, "--cpus-per-trial is above 0"),
        ({"gpus": -0.5}, "--gpus-per-trial 0 or more"),
        ({"scheduler": "pbt", "trials": 3}, "use asha here"),
        ({"pareto": True, "sampler": "gp"}, "use tpe or nsga2"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_plans_that_cannot_be_are_turned_down(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_plan(**changes)


def test_a_search_is_taken_up_with_its_own_settings_only() -> None:
    plan = small_plan()
    check_same(plan.plain(), small_plan(cpus=0.5), "here")  # where it runs may change
    with pytest.raises(ConfigError, match=r"here holds another search \(seed was 0, is 1\)"):
        check_same(plan.plain(), small_plan(seed=1), "here")
    assert Plan(**plan.plain()) == plan
