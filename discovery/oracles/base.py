"""The Protocol that every oracle follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from discovery.records import Failure, Measurement


@dataclass(frozen=True)
class Budget:
    """Limits of one oracle call. Steps, not seconds, where runs must be reproducible."""

    max_steps: int = 60  # relaxation steps of one structure
    max_relaxations: int = 3  # structures relaxed per composition
    max_seconds: float | None = None  # wall-clock limit of one call; None: no limit
    rung: str | None = None  # a cheap look in the oracle's place: "unrelaxed" or "potential"; None: the oracle itself


class Oracle(Protocol):
    """Measures one composition at a time. An expected failure is returned, not raised."""

    @property
    def name(self) -> str:
        """As in messages and records."""

    @property
    def scheme(self) -> str:
        """The scheme of its energies; "" where each answer names its own."""

    def can_measure(self, formula: str) -> bool:
        """False where the oracle knows at once that it cannot measure (no prototype): such ones are not asked."""

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """The answer for one reduced formula; deterministic for a given budget without `max_seconds`."""
