"""Oracle calls spread over a pool of workers: one call at a time each, answers in order of completion.

A worker that dies costs its candidate one attempt; a call that takes too long costs its worker. Whatever happens, every
formula is answered exactly once. Nothing here knows of Ray: the pool does.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from discovery.errors import OracleError
from discovery.records import Failure, Measurement

Answer = Measurement | Failure


class WorkerDiedError(Exception):
    """A worker's process ended before it answered."""


class Pool(Protocol):
    """Workers, numbered from 0, that are asked without waiting. A call is any hashable handle."""

    @property
    def size(self) -> int:
        """How many workers there are."""

    def start(self, worker: int) -> Hashable:
        """Ask a worker to get ready; the call's result is the name of its oracle."""

    def submit(self, worker: int, formula: str) -> Hashable:
        """Ask a worker for one formula; the call's result is its answer."""

    def wait(self, calls: Sequence[Hashable], timeout_s: float | None) -> Sequence[Hashable]:
        """Those calls that ended, as soon as there is one; none after `timeout_s` seconds."""

    def result(self, call: Hashable) -> Any:
        """The result of a call that ended.

        Raises:
            WorkerDiedError: its worker is gone.
        """

    def replace(self, worker: int) -> None:
        """End a worker, whatever it does, and put a new one in its place."""


@dataclass(frozen=True)
class Limits:
    """What one candidate may cost."""

    attempts: int = 2  # workers that may die over one candidate
    timeout_s: float | None = None  # wall-clock limit of one call on a worker that is ready; None: no limit


def fan_out(
    pool: Pool, formulas: Iterable[str], limits: Limits, clock: Callable[[], float] = time.monotonic
) -> Iterator[Answer]:
    """Ask `pool` for every formula once; answers as they come.

    An answer is handed over before its worker is asked for the next formula, so that it can be committed first. Beyond
    the first one of each worker, a formula is taken from `formulas` when a worker is free for it.

    Raises:
        OracleError: workers die before they are ready, or their oracle cannot be started.
    """
    return _FanOut(pool, formulas, limits, clock).answers()


@dataclass
class _Task:
    """A formula that has no answer yet."""

    formula: str
    attempts: int = 0


@dataclass(frozen=True)
class _Call:
    """What a worker is doing."""

    worker: int
    task: _Task | None  # None while the worker gets ready
    started: float  # on the clock, seconds


class _FanOut:
    """The state of one fan-out."""

    def __init__(self, pool: Pool, formulas: Iterable[str], limits: Limits, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._limits = limits
        self._clock = clock
        self._source = _distinct(formulas)
        self._waiting = deque(islice(self._source, pool.size))
        self._again: deque[_Task] = (
            deque()
        )  # their worker died: what killed one must not keep the others from being asked
        self._calls: dict[Hashable, _Call] = {}
        self._idle: list[int] = []
        self._oracle = ""
        self._failed_starts = 0

    def answers(self) -> Iterator[Answer]:
        """Run until every formula is answered."""
        for worker in range(len(self._waiting)):
            self._start(worker)
        while self._unfinished():
            for handle in self._pool.wait(list(self._calls), self._patience()):
                yield from self._ended(handle)
            yield from self._overdue()
            self._dispatch()

    def _start(self, worker: int) -> None:
        self._calls[self._pool.start(worker)] = _Call(worker, None, self._clock())

    def _dispatch(self) -> None:
        while self._idle and (task := self._next()):
            worker = self._idle.pop()
            task.attempts += 1
            self._calls[self._pool.submit(worker, task.formula)] = _Call(worker, task, self._clock())

    def _next(self) -> _Task | None:
        """The next formula to ask for."""
        if self._waiting:
            return self._waiting.popleft()
        return next(self._source, None) or (self._again.popleft() if self._again else None)

    def _unfinished(self) -> bool:
        """True while an answer is to come; looks for a further formula only where nothing is under way."""
        if any(call.task for call in self._calls.values()) or self._waiting or self._again:
            return True
        self._waiting.extend(islice(self._source, 1))
        return bool(self._waiting)

    def _ended(self, handle: Hashable) -> Iterator[Answer]:
        call = self._calls.pop(handle)
        try:
            result = self._pool.result(handle)
        except WorkerDiedError as error:
            yield from self._died(call, error)
            return
        self._idle.append(call.worker)
        if call.task is None:
            self._oracle, self._failed_starts = result, 0
        else:
            yield _counted(result, call.task.attempts)

    def _died(self, call: _Call, error: WorkerDiedError) -> Iterator[Answer]:
        task = call.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts >= self._limits.attempts * self._pool.size:
                raise OracleError(f"no validator gets ready ({error}): free memory, lower --workers or try --local")
        self._pool.replace(call.worker)
        self._start(call.worker)
        if task is not None and task.attempts < self._limits.attempts:
            self._again.append(task)
        elif task is not None:
            yield self._failure(call, task, "worker died", str(error))

    def _overdue(self) -> Iterator[Answer]:
        limit = self._limits.timeout_s
        if limit is None:
            return
        for handle, call in list(self._calls.items()):
            if call.task is not None and self._clock() - call.started >= limit:
                del self._calls[handle]
                self._pool.replace(call.worker)
                self._start(call.worker)
                yield self._failure(call, call.task, "timeout", f"no answer within {limit:g} s")

    def _patience(self) -> float | None:
        """Seconds until the next call is overdue; 0 where a worker can be asked at once."""
        if (self._waiting or self._again) and self._idle:
            return 0.0
        started = [call.started for call in self._calls.values() if call.task is not None]
        if self._limits.timeout_s is None or not started:
            return None
        return max(0.0, min(started) + self._limits.timeout_s - self._clock())

    def _failure(self, call: _Call, task: _Task, reason: str, detail: str) -> Failure:
        seconds = self._clock() - call.started
        return Failure(task.formula, self._oracle, reason, detail[:500], seconds, task.attempts)


def _distinct(formulas: Iterable[str]) -> Iterator[_Task]:
    seen: set[str] = set()
    for formula in formulas:
        if formula not in seen:
            seen.add(formula)
            yield _Task(formula)


def _counted(answer: Answer, attempts: int) -> Answer:
    """The answer, with the attempts that dead workers cost."""
    return answer if attempts == 1 else dataclasses.replace(answer, attempts=attempts)
