"""The seam between the loop and where its work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from discovery.generators.base import Generator, SamplingOptions
from discovery.oracles.base import Budget
from discovery.records import Estimate, Failure, Measurement, Sample
from discovery.surrogates.base import Surrogate


class Workers(Protocol):
    """Generates, predicts and validates; two implementations, the same tests."""

    def load(self, generator: Generator, surrogate: Surrogate) -> None:
        """Use these models from now on (once per round; weights travel once)."""

    def generate(self, n: int, seeds: Sequence[np.random.SeedSequence], options: SamplingOptions) -> list[Sample]:
        """`n` raw samples, split evenly over `seeds`; the same for any number of workers."""

    def predict(self, formulas: Sequence[str]) -> list[Estimate]:
        """Estimates in the reference's scheme, in the order of `formulas`."""

    def log_probability(self, formulas: Sequence[str]) -> list[float]:
        """Natural log-probabilities under the generator."""

    def validate(self, formulas: Sequence[str], budget: Budget) -> Iterator[Measurement | Failure]:
        """Answers in order of completion; every formula is answered exactly once."""

    def close(self) -> None:
        """Release what is held."""
