"""The workers of a campaign as Ray actors."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from actors.cluster import Cluster, connect
from actors.fanout import Limits, fan_out
from actors.metrics import MetricsObserver
from actors.pools import ModelPool, Options, ValidatorPool, share
from discovery.campaign import Campaign
from discovery.events import Observer
from discovery.generators.base import SamplingOptions
from discovery.learning import Learned, Lesson, joined
from discovery.oracles.base import Budget, Oracle
from discovery.parts import load_campaign_oracle
from discovery.records import Estimate, Failure, Measurement, Sample
from discovery.workers import SAMPLE_CHUNKS, Models, rank_chunks, sample_parts

GRACE_SECONDS = 30.0  # beyond a budget's own limit, which the oracle keeps by itself, before its worker is ended
CPU_SHARE = 0.5  # of the cluster's CPUs that validators reserve: a service or a search beside them still starts


@dataclass(frozen=True)
class Sizes:
    """How many actors of each kind, and what each reserves."""

    models: int
    validators: int
    validator_cpus: float  # the others reserve none: they work while validators wait, and the reverse
    gpus: float  # of one GPU, for every actor


def sizes(cpus: int, gpus: int, validators: int | None, cpu_share: float = CPU_SHARE) -> Sizes:
    """Actors for a cluster; all of them fit into it at once, so that none waits for what another one holds."""
    models = min(SAMPLE_CHUNKS, cpus)
    validators = cpus if validators is None else validators
    per_gpu = math.ceil((models + validators) / gpus) if gpus else 0
    return Sizes(
        models=models,
        validators=validators,
        validator_cpus=_floor(cpu_share * min(1.0, cpus / validators)),
        gpus=_floor(1 / per_gpu) if per_gpu else 0.0,
    )


def _floor(share_of_one: float) -> float:
    return math.floor(share_of_one * 1e4) / 1e4  # Ray counts in ten-thousandths


class RayWorkers:
    """Models and validators in actors; the answers are those of `LocalWorkers`.

    Args:
        cluster: closed together with the workers.
        make_oracle: builds the oracle of a validator, in its own process.
        validators: how many; None: one per CPU of the cluster.
        threads: torch threads of each actor: equal numbers give equal records.
        limits: what one candidate may cost; None: as its budget says.
        cpu_share: of the cluster's CPUs that the validators reserve; several campaigns side by side share them.
    """

    def __init__(
        self,
        cluster: Cluster,
        make_oracle: Callable[[], Oracle],
        validators: int | None = None,
        threads: int = 1,
        limits: Limits | None = None,
        cpu_share: float = CPU_SHARE,
    ) -> None:
        self._cluster = cluster
        self._limits = limits
        size = sizes(cluster.cpus, cluster.gpus, validators, cpu_share)
        models: Options = {"num_cpus": 0, "num_gpus": size.gpus}
        oracle: Options = {"num_cpus": size.validator_cpus, "num_gpus": size.gpus, "scheduling_strategy": "SPREAD"}
        self._models = ModelPool(size.models, models, threads)
        self._validators = ValidatorPool(make_oracle, size.validators, oracle, threads)

    def load(self, models: Models) -> None:
        """Use these models from now on; they travel once."""
        self._models.load(models)

    def generate(self, n: int, seed: np.random.SeedSequence, options: SamplingOptions) -> list[Sample]:
        """`n` raw samples."""
        parts = self._models.call([("sample", (part, child, options)) for part, child in sample_parts(n, seed)])
        return [sample for part in parts for sample in part]

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probabilities under the generator, shape (n,); NaN where there is none."""
        parts = self._models.call([("log_probability", (chunk,)) for chunk in rank_chunks(formulas)])
        return np.concatenate(parts) if parts else np.empty(0)

    def predict(self, formulas: Sequence[str]) -> list[Estimate]:
        """Estimates in the hull's scheme."""
        parts = self._models.call([("predict", (chunk,)) for chunk in rank_chunks(formulas)])
        return [estimate for part in parts for estimate in part]

    def can_measure(self, formulas: Sequence[str]) -> list[bool]:
        """Whether the oracle has a way to measure each."""
        return self._validators.can_measure(formulas)

    def validate(self, formulas: Iterable[str], budget: Budget) -> Iterator[Measurement | Failure]:
        """Answers in order of completion."""
        self._validators.budget = budget
        yield from fan_out(self._validators, formulas, self._limits or limits_of(budget))

    def learn(self, lesson: Lesson) -> Learned:
        """The models after a lesson: they learn side by side, from the same seeds as in `discovery.learning.learn`."""
        surrogate_seed, generator_seed = lesson.seed.spawn(2)
        shared = share(lesson)
        requests = [("refit", (shared, surrogate_seed)), ("fine_tune", (shared, generator_seed))]
        refitted, tuned = self._models.call(requests)
        return joined(refitted, tuned)

    def close(self) -> None:
        """End the actors, and what was started for them."""
        self._models.close()
        self._validators.close()
        self._cluster.close()


def limits_of(budget: Budget) -> Limits:
    """Limits that follow from a budget: none in time without `max_seconds`, so that runs can be repeated."""
    if budget.max_seconds is None:
        return Limits()
    return Limits(timeout_s=budget.max_seconds + GRACE_SECONDS)


def connect_workers(campaign: Campaign, cpu_share: float = CPU_SHARE) -> tuple[RayWorkers, list[Observer]]:
    """Workers for a campaign on a cluster, and the observer that shows it in Ray's metrics."""
    config = campaign.config
    cluster = connect()
    if cluster.dashboard_hint and sys.stderr.isatty():
        print(cluster.dashboard_hint, file=sys.stderr)
    make_oracle = partial(load_campaign_oracle, config, campaign.reference)
    workers = RayWorkers(cluster, make_oracle, config.workers, config.threads, cpu_share=cpu_share)
    return workers, [MetricsObserver(campaign.folder.name, config.tolerance)]
