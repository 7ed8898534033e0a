"""What workers do with an oracle's answer, whatever it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement
from discovery.workers import measured, sample_parts


class Answering:
    """An oracle of somebody else's that gives what it was told to."""

    name, scheme = "theirs", "theirs"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def can_measure(self, formula: str) -> bool:
        """Everything."""
        del formula
        return True

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """The given answer; an exception is raised."""
        del formula, budget
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[return-value]


def measurement(formula: str = "NaCl", energy: float | None = -2.0, above: float | None = None) -> Measurement:
    return Measurement(formula, "theirs", "theirs", energy, above)


def test_a_usable_answer_is_kept() -> None:
    for answer in (measurement(), measurement(energy=None, above=0.1), Failure("NaCl", "theirs", "no label")):
        assert measured(Answering(answer), "NaCl", Budget()) is answer


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (None, "unusable answer", "NoneType"),
        (-2.0, "unusable answer", "float"),
        (measurement("KCl"), "unusable answer", "KCl"),
        (measurement(energy=math.nan), "unusable answer", "nan"),
        (measurement(above=math.inf), "unusable answer", "inf"),
        (measurement(energy=None), "unusable answer", "neither"),
        (ZeroDivisionError("division by zero"), "oracle error", "ZeroDivisionError: division by zero"),
    ],
)
def test_anything_else_costs_its_own_candidate_alone(answer: object, reason: str, detail: str) -> None:
    got = measured(Answering(answer), "NaCl", Budget())
    assert isinstance(got, Failure)
    assert (got.formula, got.oracle, got.reason) == ("NaCl", "theirs", reason)
    assert detail in got.detail


def test_parts_of_a_request_add_up_and_have_seeds_of_their_own() -> None:
    parts = sample_parts(10, np.random.SeedSequence(0))
    assert [size for size, _ in parts] == [3, 3, 2, 2]
    assert len({tuple(seed.generate_state(2)) for _, seed in parts}) == 4
