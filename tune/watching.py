"""Follows a search: keeps the record of every trial, prints a line where one ends, shows it in Ray's metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util.metrics import Gauge

from tune.plan import Plan
from tune.records import FAILED, FINISHED, RUNNING, STOPPED, Record, counts
from tune.storage import RECORDS, Storage
from tune.trainable import CAUSE, PROGRESS

WRITTEN_S = 5.0  # between two writings of the records while no trial ends
LOST = "its worker or the driver died before its first checkpoint was kept"
DETAIL = "Worker exit detail:"  # in Ray's messages: before the reason
STATUSES = (RUNNING, FINISHED, STOPPED, FAILED)
BOOKKEEPING = frozenset({
    *("timestamp", "time_this_iter_s", "time_total_s", "time_since_restore", "iterations_since_restore"),
    *("training_iteration", "pid", "done", "episodes_total", "timesteps_total", "should_checkpoint"),
})  # fmt: skip


class Watch(Callback):  # type: ignore[misc]
    """Ray Tune's callback of a search. What it knows lies in the storage: a driver that is started again reads it.

    Args:
        plan: of the search.
        storage: where the records are kept.
        on_end: called with all records whenever a trial has ended.
        quiet: print nothing.
    """

    def __init__(
        self, plan: Plan, storage: Storage, on_end: Callable[[Sequence[Record]], None], *, quiet: bool = False
    ) -> None:
        self._plan, self._storage, self._on_end, self._quiet = plan, storage, on_end, quiet
        self._records: dict[str, Record] = {}
        self._written = 0.0
        self._metrics: TrialMetrics | None = None

    @property
    def records(self) -> list[Record]:
        """All trials, in the order of their beginning."""
        return list(self._records.values())

    def setup(self, **_: Any) -> None:
        """Read what an interrupted search left."""
        self._records = {record.trial: record for record in read_records(self._storage)}
        self._metrics = TrialMetrics(self._storage.url)

    def on_trial_start(self, trial: Trial, **_: Any) -> None:
        """Note the trial; one that is taken up again runs once more."""
        self._put(self._record(trial).changed(status=RUNNING, config=plain_config(trial)))
        self._write()

    def on_trial_result(self, trial: Trial, result: dict[str, Any], **_: Any) -> None:
        """Note what it reports."""
        record = self._record(trial).changed(config=plain_config(trial), results=numbers(result))
        loss = result.get(self._plan.early.name)
        if loss is not None and PROGRESS in result:
            record = record.with_point(result[PROGRESS], loss)
        if CAUSE in result:
            record = record.changed(causes=(*record.causes, result[CAUSE]))
        self._put(record)
        if time.monotonic() - self._written > WRITTEN_S:
            self._write()

    def on_trial_complete(self, trial: Trial, **_: Any) -> None:
        """Note how it ended."""
        record = self._record(trial)
        whole = self._plan.goal.name in record.results and record.results.get(PROGRESS) == 100.0
        failed = CAUSE in (trial.last_result or {})
        finished = whole and not failed and "parameters" in record.results
        self._ended(trial, FAILED if failed else FINISHED if finished else STOPPED)

    def on_trial_recover(self, trial: Trial, **_: Any) -> None:
        """Note why its worker died; Ray starts it again."""
        record = self._record(trial)
        self._put(record.changed(causes=(*record.causes, death_of(trial))))
        self._say(record, f"worker lost ({death_of(trial)}), goes on from its last checkpoint")
        self._write()

    def on_trial_error(self, trial: Trial, **_: Any) -> None:
        """Note why it is given up."""
        record = self._record(trial)
        self._put(record.changed(causes=(*record.causes, death_of(trial))))
        self._ended(trial, FAILED)

    def on_experiment_end(self, trials: list[Trial], **_: Any) -> None:
        """Trials that Ray knows nothing of any more are lost; the last checkpoints are noted."""
        known = {trial.trial_id: trial for trial in trials}
        for record in self.records:
            if record.trial not in known:
                self._put(record.changed(status=FAILED, causes=(*record.causes, LOST)))
            elif (checkpoint := known[record.trial].checkpoint) is not None:
                self._put(record.changed(checkpoint=checkpoint.path))
        self._write()

    def _ended(self, trial: Trial, status: str) -> None:
        record = self._record(trial).changed(status=status)
        self._put(record)
        self._write()
        self._say(record, outcome(record, self._plan))
        self._on_end(self.records)

    def _record(self, trial: Trial) -> Record:
        known = self._records.get(trial.trial_id)
        return known or Record(trial.trial_id, len(self._records) + 1, plain_config(trial))

    def _put(self, record: Record) -> None:
        self._records[record.trial] = record
        if self._metrics is not None:
            self._metrics.show(record, self.records)

    def _write(self) -> None:
        self._storage.write_json(RECORDS, {"trials": [record.plain() for record in self.records]})
        self._written = time.monotonic()

    def _say(self, record: Record, words: str) -> None:
        if not self._quiet:
            print(f"trial {record.number}/{self._plan.trials}: {words}", file=sys.stderr, flush=True)


class TrialMetrics:
    """Trials in Ray's metrics, beside those of campaigns; Prometheus adds ``ray_`` in front of the names.

    Args:
        search: tag of all of them.
    """

    def __init__(self, search: str) -> None:
        self._search = search
        own, trial = ("search",), ("search", "trial")
        self._trials = Gauge("discovery_tune_trials", "Trials by how they ended", (*own, "status"))
        self._shown = {
            PROGRESS: Gauge("discovery_tune_progress", "Percent of a trial's training", trial),
            "nll": Gauge("discovery_tune_nll", "Validation loss, nats per atom (surrogate: nats)", trial),
            "mae": Gauge("discovery_tune_mae", "Validation error of a surrogate, eV/atom", trial),
            "yield": Gauge("discovery_tune_yield", "Yield per 1,000 samples", trial),
            "recovery": Gauge("discovery_tune_recovery", "Share of the held-out compounds recovered", trial),
            "train_seconds": Gauge("discovery_tune_train_seconds", "Seconds of training", trial),
        }

    def show(self, record: Record, records: Sequence[Record]) -> None:
        """Show a trial's last report and how many trials ended how."""
        tags = {"search": self._search, "trial": str(record.number)}
        for name, gauge in self._shown.items():
            if name in record.results:
                gauge.set(record.results[name], tags)
        found = counts(records)
        for status in STATUSES:
            self._trials.set(found.get(status, 0), {"search": self._search, "status": status})


def read_records(storage: Storage) -> list[Record]:
    """The records that a search has kept so far."""
    return [Record.of(plain) for plain in storage.read_json(RECORDS).get("trials", [])]


def outcome(record: Record, plan: Plan) -> str:
    """What became of a trial, in one line."""
    if record.status == FAILED:
        return f"failed: {record.causes[-1] if record.causes else 'no cause known'}"
    if record.status == STOPPED:
        percent, loss = record.curve[-1] if record.curve else (0.0, float("nan"))
        return f"stopped early at {percent:.0f} %: {plan.early.meaning} {loss:.4f}"
    shown = "  ".join(f"{goal.meaning} {record.results[goal.name]:.4g}" for goal in plan.goals)
    seconds = record.results.get("train_seconds")
    return shown if seconds is None else f"{shown}  trained {seconds:.0f} s"


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a trial's report that are its own, not Ray's bookkeeping."""
    ours = {name: value for name, value in result.items() if name not in BOOKKEEPING}
    return {name: float(value) for name, value in ours.items() if isinstance(value, int | float)}


def plain_config(trial: Trial) -> dict[str, Any]:
    """The configuration as numbers and words of Python."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in trial.config.items()}


def death_of(trial: Trial) -> str:
    """Why a trial's worker died, in one line: the gist of what Ray wrote into the trial's own error file."""
    file = trial.error_file
    text = Path(file).read_text(encoding="utf-8") if file and Path(file).exists() else ""
    return gist(text.rpartition("Failure #")[2])


def gist(text: str) -> str:
    """The sentence that names the cause in one of Ray's long messages about a lost worker."""
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    if not lines:
        return "its worker was lost; Ray knows no cause"
    details = [line.partition(DETAIL)[2].strip() for line in lines if DETAIL in line]
    return " ".join([lines[0], *details[:1]])[:300]
