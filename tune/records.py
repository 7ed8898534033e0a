"""What is kept of each trial, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import Any

from tune.plan import Objective
from tune.space import Config

RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped early", "failed"


@dataclass(frozen=True)
class Record:
    """One trial."""

    trial: str  # Ray's id
    number: int  # counted from 1, in the order of their beginning
    config: Config
    status: str = RUNNING
    causes: tuple[str, ...] = ()  # of each failure; a trial whose worker died goes on from its checkpoint
    curve: tuple[tuple[float, float], ...] = ()  # (percent of the training, loss that early stopping goes by)
    results: Mapping[str, float] = field(default_factory=dict)  # of the last report
    checkpoint: str = ""  # path of the last one, within the storage

    def value(self, objective: Objective) -> float | None:
        """The result that trials are ranked by; None for a trial that has none."""
        return self.results.get(objective.name) if self.status == FINISHED else None

    def early(self, percent: float) -> float | None:
        """The loss when so much of the training was done; None where the trial ended before."""
        return next((loss for done, loss in self.curve if done >= percent - 1e-6), None)

    def with_point(self, percent: float, loss: float) -> Record:
        """The record with one more report; one of a repeated stretch takes the place of the first."""
        kept = tuple(point for point in self.curve if point[0] < percent - 1e-6)
        return Record(**{**self.shallow(), "curve": (*kept, (percent, loss))})

    def changed(self, **changes: Any) -> Record:
        """The record with other values."""
        return Record(**{**self.shallow(), **changes})

    def shallow(self) -> dict[str, Any]:
        """Fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Record:
        """Inverse of `plain`, after a trip through JSON."""
        curve = tuple((float(percent), float(loss)) for percent, loss in plain["curve"])
        return cls(**{**plain, "curve": curve, "causes": tuple(plain["causes"])})


def ranked(records: Iterable[Record], objective: Objective) -> list[Record]:
    """Finished trials, the best first."""
    valued = [(value, record) for record in records if (value := record.value(objective)) is not None]
    sign = 1.0 if objective.mode == "min" else -1.0
    return [record for _, record in sorted(valued, key=lambda pair: (sign * pair[0], pair[1].number))]


def median_of(order: Sequence[Record]) -> Record:
    """The median of ranked trials; of two, the better one."""
    return order[median_low(range(len(order)))]


def front(records: Iterable[Record], first: Objective, second: Objective) -> list[Record]:
    """The Pareto front: finished trials that no other one beats in one goal without losing in the other."""
    kept: list[Record] = []
    for record in sorted(ranked(records, first), key=lambda r: (_cost(r, first), _cost(r, second))):
        if second.name in record.results and (not kept or _cost(record, second) < _cost(kept[-1], second)):
            kept.append(record)
    return kept


def counts(records: Iterable[Record]) -> dict[str, int]:
    """How many trials ended how."""
    listed = [record.status for record in records]
    return {status: listed.count(status) for status in (FINISHED, STOPPED, FAILED, RUNNING) if status in listed}


def _cost(record: Record, objective: Objective) -> float:
    value = record.results.get(objective.name, float("inf"))
    return value if objective.mode == "min" else -value
