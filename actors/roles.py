"""What the actors do. Plain classes: `actors.pools` makes actors of them, tests call them directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.generators.base import Generator, SamplingOptions
from discovery.learning import Lesson, learn_generator, learn_surrogate
from discovery.oracles.base import Budget, Oracle
from discovery.ranking import estimates
from discovery.records import Estimate, Failure, Measurement, Sample
from discovery.surrogates.base import Surrogate
from discovery.workers import Models, log_probabilities, measured


class ModelRole:
    """Generates, ranks and learns with the models that it was last given.

    One role, not three: these stages follow one another, so that each can have all processes, and a process costs 4 s
    of CPU time to start and 0.3 GB for its libraries alone.
    """

    def __init__(self, threads: int, device: str = "cpu") -> None:
        torch.set_num_threads(threads)
        self._device = device  # where the models compute; they come and go as CPU tensors
        self._models: Models | None = None

    def use(self, models: Models) -> None:
        """Work with these from now on."""
        self._models = models.on(self._device)

    def sample(self, n: int, seed: np.random.SeedSequence, options: SamplingOptions) -> list[Sample]:
        """`n` raw samples."""
        generator = self._given().generator
        if generator is None:
            raise RuntimeError("a list of candidates takes the generator's place: there is nothing to sample")
        return generator.sample(n, np.random.default_rng(seed), options)

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probabilities, shape (n,); NaN where there is no generator."""
        return log_probabilities(self._given(), formulas)

    def predict(self, formulas: Sequence[str]) -> list[Estimate]:
        """Estimates in the hull's scheme."""
        models = self._given()
        return estimates(models.surrogate, models.hull, formulas)

    def refit(self, lesson: Lesson, seed: np.random.SeedSequence) -> tuple[Surrogate, dict[str, float]]:
        """See `discovery.learning.learn_surrogate`."""
        refitted, metrics = learn_surrogate(self._given().surrogate, lesson, np.random.default_rng(seed))
        return refitted.on("cpu"), metrics

    def fine_tune(
        self, lesson: Lesson, seed: np.random.SeedSequence
    ) -> tuple[Generator | None, dict[str, float], bool]:
        """See `discovery.learning.learn_generator`."""
        tuned, guard, rolled_back = learn_generator(self._given().generator, lesson, seed)
        return (None if tuned is None else tuned.on("cpu")), guard, rolled_back

    def _given(self) -> Models:
        if self._models is None:
            raise RuntimeError("load the models first")
        return self._models


class ValidatorRole:
    """Measures one candidate at a time with an oracle of its own, which `make_oracle` builds."""

    def __init__(self, make_oracle: Callable[[], Oracle], threads: int) -> None:
        torch.set_num_threads(threads)
        self._make_oracle = make_oracle
        self._oracle: Oracle | None = None

    def start(self) -> str:
        """Build the oracle, if there is none yet; returns its name.

        Apart from the constructor, for an error in a constructor reaches the caller as a dead actor only.
        """
        return self._ready().name

    def can_measure(self, formulas: Sequence[str]) -> list[bool]:
        """Whether the oracle has a way to measure each."""
        oracle = self._ready()
        return [oracle.can_measure(formula) for formula in formulas]

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """One oracle call."""
        return measured(self._ready(), formula, budget)

    def _ready(self) -> Oracle:
        if self._oracle is None:
            self._oracle = self._make_oracle()
        return self._oracle
