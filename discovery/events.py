"""What a running campaign tells those who watch it: a display, Ray's metrics, a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from discovery.records import Failure, Measurement, Proposal, RoundRecord

STAGES = ("generate", "screen", "rank", "select", "validate", "learn", "record")


class Observer(Protocol):
    """Told what happens, in order, from the process that runs the loop."""

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """`stage` is one of `STAGES`; `total` is what `stage_advanced` will count up to, None where unknown."""

    def stage_advanced(self, stage: str, done: int) -> None:
        """`done` items of the stage are finished."""

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """The stage ended after `seconds` of wall-clock time."""

    def proposed(self, proposal: Proposal) -> None:
        """A batch was chosen."""

    def answered(self, answer: Measurement | Failure) -> None:
        """An oracle call ended and is committed."""

    def round_finished(self, record: RoundRecord) -> None:
        """A round is recorded."""


class Observers:
    """Tells several observers, in order."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.stage_started(round_number, stage, total)

    def stage_advanced(self, stage: str, done: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.stage_advanced(stage, done)

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.stage_finished(round_number, stage, seconds)

    def proposed(self, proposal: Proposal) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.proposed(proposal)

    def answered(self, answer: Measurement | Failure) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.answered(answer)

    def round_finished(self, record: RoundRecord) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.round_finished(record)
