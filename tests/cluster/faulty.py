"""Oracles that go wrong in ways that a process does not survive, or only with help."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from discovery.errors import OracleError
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement
from tests.small import FormulaOracle

HANG_SECONDS = 600.0
MEETING_SECONDS = 60.0


@dataclass(frozen=True)
class FaultyOracle(FormulaOracle):
    """Kills its own process over some formulas and never ends over others; notes every call in `log`."""

    log: Path
    kills: tuple[str, ...] = ()  # at every call
    kills_once: tuple[str, ...] = ()  # at the first call
    hangs: tuple[str, ...] = ()

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        first = formula not in calls(self.log)
        with self.log.open("a") as log:
            log.write(formula + "\n")
        if formula in self.kills or (formula in self.kills_once and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if formula in self.hangs:
            time.sleep(HANG_SECONDS)
        return super().measure(formula, budget)


@dataclass(frozen=True)
class MeetingOracle(FormulaOracle):
    """Answers once `parties` calls are under way at the same time; a call that stays alone is a failure."""

    folder: Path
    parties: int

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        (self.folder / formula).touch()
        deadline = time.monotonic() + MEETING_SECONDS
        while len(list(self.folder.iterdir())) < self.parties:
            if time.monotonic() > deadline:
                return Failure(formula, self.name, "alone")
            time.sleep(0.05)
        return super().measure(formula, budget)


def no_oracle() -> FormulaOracle:
    """An oracle that cannot be built."""
    raise OracleError("the licence has run out: renew it")


def calls(log: Path) -> list[str]:
    """All formulas that were asked for, in order."""
    return log.read_text().split() if log.exists() else []
