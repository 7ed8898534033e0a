"""The seam between the loop and where its work is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from discovery.generators.base import Generator, SamplingOptions
from discovery.learning import Learned, Lesson, learn
from discovery.oracles.base import Budget, Oracle
from discovery.ranking import AnyHull, estimates
from discovery.records import Estimate, Failure, Measurement, Sample
from discovery.surrogates.base import Surrogate

SAMPLE_CHUNKS = 4  # parts that a request for samples is cut into: a constant, so that any number of workers agrees
RANK_CHUNK = 512  # formulas ranked together: a constant for the same reason


@dataclass(frozen=True)
class Models:
    """What the workers work with during a round."""

    generator: Generator | None  # None where a list of candidates takes its place
    surrogate: Surrogate
    hull: AnyHull

    def on(self, device: str) -> Models:
        """The same models computing on a torch device, such as ``cuda``."""
        generator = None if self.generator is None else self.generator.on(device)
        return replace(self, generator=generator, surrogate=self.surrogate.on(device))


class Workers(Protocol):
    """Generates, predicts, validates and learns; two implementations, the same tests."""

    def load(self, models: Models) -> None:
        """Use these models from now on; weights and hull travel once per round."""

    def generate(self, n: int, seed: np.random.SeedSequence, options: SamplingOptions) -> list[Sample]:
        """`n` raw samples; the same for any number of workers."""

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probabilities under the generator, shape (n,)."""

    def predict(self, formulas: Sequence[str]) -> list[Estimate]:
        """Estimates in the hull's scheme, in the order of `formulas`."""

    def can_measure(self, formulas: Sequence[str]) -> list[bool]:
        """Whether the oracle has a way to measure each."""

    def validate(self, formulas: Iterable[str], budget: Budget) -> Iterator[Measurement | Failure]:
        """Answers in order of completion; every formula is answered exactly once.

        A formula is taken from `formulas` when its call begins, so that a round can be stopped by ending them.
        """

    def learn(self, lesson: Lesson) -> Learned:
        """The models after a lesson; those in use do not change."""

    def close(self) -> None:
        """Release what is held."""


class LocalWorkers:
    """All work in this process, one thing after the other; the models compute on `device`."""

    def __init__(self, oracle: Oracle, device: str = "cpu") -> None:
        self._oracle = oracle
        self._device = device
        self._models: Models | None = None

    @property
    def models(self) -> Models:
        """The models in use."""
        if self._models is None:
            raise RuntimeError("load the models first")
        return self._models

    def load(self, models: Models) -> None:
        """Use these models from now on."""
        self._models = models.on(self._device)

    def generate(self, n: int, seed: np.random.SeedSequence, options: SamplingOptions) -> list[Sample]:
        """`n` raw samples."""
        parts = [_sample(self.models, part, child, options) for part, child in sample_parts(n, seed)]
        return [sample for part in parts for sample in part]

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probabilities under the generator, shape (n,)."""
        parts = [log_probabilities(self.models, chunk) for chunk in rank_chunks(formulas)]
        return np.concatenate(parts) if parts else np.empty(0)

    def predict(self, formulas: Sequence[str]) -> list[Estimate]:
        """Estimates in the hull's scheme."""
        parts = [estimates(self.models.surrogate, self.models.hull, chunk) for chunk in rank_chunks(formulas)]
        return [estimate for part in parts for estimate in part]

    def can_measure(self, formulas: Sequence[str]) -> list[bool]:
        """Whether the oracle has a way to measure each."""
        return [self._oracle.can_measure(formula) for formula in formulas]

    def validate(self, formulas: Iterable[str], budget: Budget) -> Iterator[Measurement | Failure]:
        """Answers in the order asked."""
        for formula in formulas:
            yield measured(self._oracle, formula, budget)

    def learn(self, lesson: Lesson) -> Learned:
        """The models after a lesson."""
        return learn(self.models.generator, self.models.surrogate, lesson).on("cpu")

    def close(self) -> None:
        """Forget the models."""
        self._models = None


def sample_parts(n: int, seed: np.random.SeedSequence) -> list[tuple[int, np.random.SeedSequence]]:
    """Cut a request for samples into parts, each with its own seed."""
    sizes = [n // SAMPLE_CHUNKS + (i < n % SAMPLE_CHUNKS) for i in range(SAMPLE_CHUNKS)]
    return [(size, child) for size, child in zip(sizes, seed.spawn(SAMPLE_CHUNKS), strict=True) if size]


def rank_chunks(formulas: Sequence[str]) -> list[Sequence[str]]:
    """Cut a list of formulas into parts of `RANK_CHUNK`."""
    return [formulas[start : start + RANK_CHUNK] for start in range(0, len(formulas), RANK_CHUNK)]


def log_probabilities(models: Models, formulas: Sequence[str]) -> NDArray[np.float64]:
    """Natural log-probabilities, shape (n,); NaN where there is no generator."""
    if models.generator is None:
        return np.full(len(formulas), np.nan)
    return models.generator.log_probability(formulas)


def measured(oracle: Oracle, formula: str, budget: Budget) -> Measurement | Failure:
    """One oracle call; an error that the oracle did not expect becomes a failure of this candidate alone."""
    try:
        answer = oracle.measure(formula, budget)
    except Exception as error:  # a third-party calculator may raise anything; the round goes on
        return Failure(formula, oracle.name, "oracle error", f"{type(error).__name__}: {error}"[:500])
    wrong = _what_is_wrong(answer, formula)
    return Failure(formula, oracle.name, "unusable answer", wrong) if wrong else answer


def _what_is_wrong(answer: object, formula: str) -> str:
    """Why an oracle's answer cannot be taken; "" where it can."""
    if not isinstance(answer, Measurement | Failure):
        return f"{type(answer).__name__} instead of a Measurement or a Failure"
    if answer.formula != formula:
        return f"it is about {answer.formula!r}"[:500]
    if isinstance(answer, Failure):
        return ""
    energies = [answer.formation_energy_per_atom, answer.energy_above_hull]
    given = [energy for energy in energies if energy is not None]
    if not given:
        return "neither a formation energy nor an energy above hull"
    return "" if np.isfinite([*given, answer.std]).all() else f"an energy is no finite number: {given}, {answer.std}"


def _sample(models: Models, n: int, seed: np.random.SeedSequence, options: SamplingOptions) -> list[Sample]:
    if models.generator is None:
        raise RuntimeError("a list of candidates takes the generator's place: there is nothing to sample")
    return models.generator.sample(n, np.random.default_rng(seed), options)
