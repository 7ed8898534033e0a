"""A search from its beginning, or from where it was interrupted, to its records."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ray import tune
from ray.tune import Callback

from actors.cluster import Cluster
from discovery.errors import ConfigError
from discovery.reference.loading import load_reference
from discovery.surrogates.dataset import Dataset
from tune.energies import load_energies
from tune.engine import scheduler_of, searcher_of
from tune.page import write_page
from tune.plan import Plan, check_same
from tune.records import Record
from tune.shares import Share, share_of
from tune.space import START, SURROGATE_START, Space, generator_space, start_of, surrogate_space
from tune.storage import PLAN, TRIALS, Storage
from tune.supplies import Supplies, load_supplies
from tune.trainable import run_trial
from tune.watching import Watch, read_records

ATTEMPTS = 3  # of a trial whose worker dies: it goes on from its last checkpoint
KEPT_S = "10"  # seconds between two writings of Ray Tune's own state, from which --resume goes on
SETTINGS = {
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the goal is known at the end of a trial only
    "TUNE_GLOBAL_CHECKPOINT_S": KEPT_S,
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints, however quiet it is asked to be
}


@dataclass(frozen=True)
class Search:
    """What a search found, and what each of its trials took of the cluster."""

    records: list[Record]
    share: Share


def run_search(
    plan: Plan, storage: Storage, cluster: Cluster, material: Supplies | Dataset, *, quiet: bool = False
) -> Search:
    """Run all trials of a plan that are not finished yet.

    Args:
        plan: of the search.
        storage: new, or that of the same search (see `check_storage`).
        cluster: where trials run.
        material: see `supplies_of`.
        quiet: print nothing.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    variants = tuple(material.train) if isinstance(material, Supplies) else ()
    space = space_of(plan, variants)
    share = share_of(plan, cluster.cpus, cluster.gpus)
    storage.write_json(PLAN, plan.plain())
    tuner = tuner_of(plan, storage, (share, material), space, quiet=quiet)
    random.seed(plan.seed)  # Ray's population-based training draws from it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray Tune: about its own interfaces
        tuner.fit()
    return Search(read_records(storage), share)


def check_storage(plan: Plan, storage: Storage, *, resume: bool) -> None:
    """A search is begun where there is none, and taken up where there is one, with the same settings.

    Raises:
        ConfigError: there is one and `resume` is false, or another one.
    """
    kept = storage.read_json(PLAN)
    if kept and not resume:
        raise ConfigError(f"{storage.url} holds a search already: go on with --resume, or name another --storage")
    if kept:
        check_same(kept, plan, storage.url)


def supplies_of(plan: Plan) -> Supplies | Dataset:
    """What the trials of a plan work with."""
    return load_supplies(plan) if plan.target == "generator" else load_energies(plan, load_reference(plan.reference))


def space_of(plan: Plan, variants: Sequence[str]) -> Space:
    """What is searched."""
    if plan.target == "surrogate":
        return surrogate_space()
    return generator_space(plan.model, variants, budgets=plan.pareto)


def tuner_of(
    plan: Plan, storage: Storage, given: tuple[Share, Supplies | Dataset], space: Space, *, quiet: bool
) -> tune.Tuner:
    """Ray's tuner: a new one, or the interrupted one of the storage, which brings its callbacks with it."""
    share, material = given
    trainable = tune.with_parameters(run_trial, plan=plan, share=share, supplies=material)
    trainable = tune.with_resources(trainable, share.resources())
    path, arrow = storage.inner(TRIALS), storage.arrow()
    if tune.Tuner.can_restore(path, storage_filesystem=arrow):
        return tune.Tuner.restore(path, trainable, storage_filesystem=arrow)
    known = START if plan.target == "generator" else SURROGATE_START
    return tune.Tuner(
        trainable,
        param_space=dict(space) if plan.scheduler == "pbt" else None,
        tune_config=tune.TuneConfig(
            search_alg=searcher_of(plan, space, start_of(space, known)),
            scheduler=scheduler_of(plan, space),
            num_samples=plan.trials,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"trial_{trial.trial_id}",
            trial_dirname_creator=lambda trial: f"trial_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            **storage.for_ray(),
            callbacks=callbacks(plan, storage, quiet=quiet),
            failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
            # a population takes over checkpoints whose trials have gone on meanwhile: none of them may be gone
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None if plan.scheduler == "pbt" else 1),
            verbose=0,
        ),
    )


def callbacks(plan: Plan, storage: Storage, *, quiet: bool) -> list[Callback]:
    """Ours, and Ray's for MLflow (it adds those for TensorBoard, JSON and CSV by itself)."""
    watch = Watch(plan, storage, partial(_show, plan, storage), quiet=quiet)
    if plan.mlflow is None:
        return [watch]
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    try:
        logger = MLflowLoggerCallback(plan.mlflow, experiment_name=storage.url)
    except ImportError as error:
        raise ConfigError(f"--mlflow needs the package mlflow-skinny ({error}): pip install '.[mlflow]'") from error
    return [watch, logger]


def _show(plan: Plan, storage: Storage, records: Sequence[Record]) -> None:
    write_page(records, plan, storage)
