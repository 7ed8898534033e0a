"""Ray Tune's parts as a plan asks for them: Optuna's samplers, early stopping, population-based training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from tune.plan import Plan
from tune.space import Config, Space, changeable
from tune.trainable import CAUSE, PROGRESS

RUNGS = (25.0, 99.0)  # percent: where the worse half of the trials ends, 25 and 50, and where no more do
PERTURBED = 25.0  # percent of its training after which population-based training looks at a trial again
STARTED_AT_RANDOM = 10  # trials before a model of the space is made; a quarter of them in small searches


class GoalSearch(OptunaSearch):  # type: ignore[misc]
    """Optuna's sampler, told what trials found; those that were stopped early count as pruned, by their likelihood.

    A trial reports its goal at its end only. Ray's own class wants it in every report.
    """

    def __init__(self, plan: Plan, space: Space, first: Config) -> None:
        self._early, self._goals = plan.early.name, plan.goals
        one = len(plan.goals) == 1
        super().__init__(
            self.convert_search_space(space),
            metric=plan.goal.name if one else [goal.name for goal in plan.goals],
            mode=plan.goal.mode if one else [goal.mode for goal in plan.goals],
            points_to_evaluate=[first],
            sampler=optuna_sampler(plan),
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note how the training goes on, in the direction of the goal: what Optuna orders stopped trials by."""
        value = result.get(self._early)
        if len(self._goals) == 1 and trial_id not in self._completed_trials and value is not None:
            sign = -1.0 if self._goals[0].mode == "max" else 1.0
            self._ot_trials[trial_id].report(sign * value, int(result.get(PROGRESS, 0)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what came of a trial."""
        if trial_id in self._completed_trials or trial_id not in self._ot_trials:
            return
        found = result or {}
        values = [found.get(goal.name) for goal in self._goals]
        whole = found.get(PROGRESS) == 100.0 and all(_finite(value) for value in values)
        if whole and not error:
            self._ot_study.tell(self._ot_trials[trial_id], values)
        else:
            failed = error or CAUSE in found or len(self._goals) > 1
            state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.PRUNED
            self._ot_study.tell(self._ot_trials[trial_id], state=state)
        self._completed_trials.add(trial_id)


def optuna_sampler(plan: Plan) -> optuna.samplers.BaseSampler:
    """The sampler of ``--sampler``; seeded."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    at_random = max(4, min(STARTED_AT_RANDOM, plan.trials // 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made: Mapping[str, Any] = {
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=plan.seed, n_startup_trials=at_random, constant_liar=not plan.pareto
            ),
            "gp": lambda: optuna.samplers.GPSampler(seed=plan.seed, n_startup_trials=at_random),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=plan.seed, population_size=max(4, plan.trials // 5)),
            "qmc": lambda: optuna.samplers.QMCSampler(seed=plan.seed, warn_independent_sampling=False),
            "random": lambda: optuna.samplers.RandomSampler(seed=plan.seed),
        }
        sampler: optuna.samplers.BaseSampler = made[plan.sampler]()
    return sampler


def searcher_of(plan: Plan, space: Space, first: Config) -> Searcher | BasicVariantGenerator:
    """Who proposes trials; population-based training breeds its own from random ones."""
    if plan.scheduler == "pbt":
        return BasicVariantGenerator(points_to_evaluate=[first], random_state=plan.seed)
    return GoalSearch(plan, space, first)


def scheduler_of(plan: Plan, space: Space) -> TrialScheduler:
    """Who stops trials, or lets them take over from better ones."""
    by = {"metric": plan.early.name, "mode": "min", "time_attr": PROGRESS}
    if plan.scheduler == "pbt":
        return PopulationBasedTraining(
            **by,
            perturbation_interval=PERTURBED,
            hyperparam_mutations=dict(changeable(space)),
            custom_explore_fn=partial(within, changeable(space)),
            log_config=False,
            require_attrs=False,  # a trial that failed reports its cause alone
        )
    if plan.scheduler == "none":
        return FIFOScheduler()
    return ASHAScheduler(**by, grace_period=RUNGS[0], max_t=RUNGS[1], reduction_factor=2, stop_last_trials=False)


def within(space: Space, config: Config) -> Config:
    """A configuration that Ray has perturbed by a factor, held within the bounds of the space."""
    bounds = {name: (domain.lower, domain.upper) for name, domain in space.items()}
    return {**config, **{name: min(max(config[name], low), high) for name, (low, high) in bounds.items()}}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
