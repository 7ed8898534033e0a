"""The scheduling of oracle calls, on a pool that lives in simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from actors.fanout import Limits, WorkerDiedError, fan_out
from discovery.errors import OracleError
from discovery.records import Failure, Measurement

START_SECONDS = 5.0
DIES = "dies"
HANGS = "hangs"
DEFAULT = Limits()
Plan = dict[
    str, list[float | str]
]  # formula -> what happens at each attempt: seconds, DIES or HANGS; the last one repeats


@dataclass
class Running:
    worker: int
    formula: str | None
    ends: float  # simulated time
    dies: bool


@dataclass
class SimulatedPool:
    """Workers that run one call at a time; time passes only in `wait`."""

    size: int
    plan: Plan
    broken_starts: int = 0
    now: float = 0.0
    alive: dict[int, int] = field(default_factory=dict)  # worker -> incarnation
    running: dict[Hashable, Running] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    replaced: int = 0

    def start(self, worker: int) -> Hashable:
        broken = self.broken_starts > 0
        self.broken_starts -= broken
        return self._run(worker, None, START_SECONDS, broken)

    def submit(self, worker: int, formula: str) -> Hashable:
        outcomes = self.plan[formula]
        outcome = outcomes[min(self.asked.count(formula), len(outcomes) - 1)]
        self.asked.append(formula)
        if outcome == HANGS:
            return self._run(worker, formula, np.inf, False)
        return self._run(worker, formula, 1.0 if outcome == DIES else float(outcome), outcome == DIES)

    def wait(self, calls: Sequence[Hashable], timeout_s: float | None) -> Sequence[Hashable]:
        first = min(self.running[call].ends for call in calls)
        until = first if timeout_s is None else min(first, self.now + timeout_s)
        assert np.isfinite(until), "nothing will ever happen"
        self.now = max(self.now, until)
        return [call for call in calls if self.running[call].ends <= self.now]

    def result(self, call: Hashable) -> object:
        run = self.running.pop(call)
        if run.dies:
            raise WorkerDiedError("killed by signal 9")
        return "oracle" if run.formula is None else Measurement(run.formula, "oracle", "s", 0.0, seconds=run.ends)

    def replace(self, worker: int) -> None:
        self.replaced += 1
        self.running = {call: run for call, run in self.running.items() if run.worker != worker}

    def clock(self) -> float:
        return self.now

    def _run(self, worker: int, formula: str | None, seconds: float, dies: bool) -> Hashable:
        assert all(run.worker != worker for run in self.running.values()), "one call at a time"
        call = object()
        self.running[call] = Running(worker, formula, self.now + seconds, dies)
        return call


def run(pool: SimulatedPool, limits: Limits = DEFAULT) -> list[Measurement | Failure]:
    return list(fan_out(pool, list(pool.plan), limits, pool.clock))


def test_answers_come_in_order_of_completion() -> None:
    pool = SimulatedPool(2, {"A": [9.0], "B": [1.0], "C": [1.0], "D": [1.0]})
    assert [answer.formula for answer in run(pool)] == ["B", "C", "D", "A"]
    assert pool.asked == ["A", "B", "C", "D"] or pool.asked == ["B", "A", "C", "D"]
    assert pool.now == START_SECONDS + 9.0  # all of the short ones ran beside the long one


def test_no_more_workers_start_than_there_are_formulas() -> None:
    pool = SimulatedPool(5, {"A": [1.0], "B": [1.0]})
    assert len(run(pool)) == 2
    assert not pool.running


def test_nothing_to_ask_asks_nobody() -> None:
    pool = SimulatedPool(2, {})
    assert run(pool) == []
    assert pool.now == 0.0


def test_a_formula_given_twice_is_answered_once() -> None:
    pool = SimulatedPool(1, {"A": [1.0]})
    assert [answer.formula for answer in fan_out(pool, ["A", "A"], DEFAULT, pool.clock)] == ["A"]


def test_a_dead_worker_costs_one_attempt() -> None:
    pool = SimulatedPool(2, {"A": [DIES, 1.0], "B": [1.0], "C": [1.0]})
    answers = {answer.formula: answer for answer in run(pool)}
    assert isinstance(answers["A"], Measurement)
    assert answers["A"].attempts == 2
    assert answers["B"].attempts == answers["C"].attempts == 1
    assert pool.replaced == 1
    assert Counter(pool.asked) == {"A": 2, "B": 1, "C": 1}


def test_a_candidate_that_kills_every_worker_becomes_a_failure() -> None:
    pool = SimulatedPool(2, {"A": [DIES], "B": [1.0], "C": [1.0]})
    answers = {answer.formula: answer for answer in run(pool, Limits(attempts=3))}
    assert answers["A"] == Failure("A", "oracle", "worker died", "killed by signal 9", 1.0, 3)
    assert isinstance(answers["B"], Measurement)
    assert isinstance(answers["C"], Measurement)
    assert pool.replaced == 3


def test_a_hanging_call_is_ended_and_its_worker_replaced() -> None:
    pool = SimulatedPool(1, {"A": [HANGS], "B": [1.0]})
    answers = run(pool, Limits(timeout_s=20.0))
    assert answers[0] == Failure("A", "oracle", "timeout", "no answer within 20 s", 20.0, 1)
    assert answers[1].formula == "B"
    assert pool.asked == ["A", "B"]
    assert pool.now == START_SECONDS + 20.0 + START_SECONDS + 1.0


def test_getting_ready_does_not_count_towards_the_time_out() -> None:
    pool = SimulatedPool(1, {"A": [1.0]})
    assert isinstance(run(pool, Limits(timeout_s=2.0))[0], Measurement)
    beside = SimulatedPool(
        2, {"A": [HANGS], **{f"F{i}": [1.5] for i in range(8)}}
    )  # one works while the other restarts
    answers = {answer.formula: type(answer) for answer in run(beside, Limits(timeout_s=2.0))}
    assert answers == {"A": Failure, **{f"F{i}": Measurement for i in range(8)}}


def test_a_slow_call_beside_a_hanging_one_is_kept() -> None:
    pool = SimulatedPool(2, {"A": [HANGS], "B": [19.0], "C": [19.0]})
    answers = {answer.formula: type(answer) for answer in run(pool, Limits(timeout_s=20.0))}
    assert answers == {"A": Failure, "B": Measurement, "C": Measurement}


def test_a_worker_that_dies_while_it_gets_ready_is_replaced_and_costs_no_attempt() -> None:
    pool = SimulatedPool(2, {"A": [1.0], "B": [1.0]}, broken_starts=3)
    assert [answer.attempts for answer in run(pool)] == [1, 1]
    assert pool.replaced == 3


def test_workers_that_never_get_ready_are_an_error() -> None:
    pool = SimulatedPool(2, {"A": [1.0]}, broken_starts=1000)
    with pytest.raises(OracleError, match="--local"):
        run(pool)


def test_an_answer_is_handed_over_before_its_worker_is_asked_again() -> None:
    pool = SimulatedPool(1, {"A": [1.0], "B": [1.0], "C": [1.0]})
    for count, _ in enumerate(fan_out(pool, list(pool.plan), DEFAULT, pool.clock), 1):
        assert len(pool.asked) == count


@pytest.mark.parametrize("seed", range(20))
def test_every_formula_is_answered_exactly_once_whatever_happens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes: list[float | str] = [0.5, 1.0, 3.0, 30.0, DIES, HANGS]
    plan: Plan = {f"F{i}": [outcomes[j] for j in rng.integers(len(outcomes), size=4)] for i in range(40)}
    pool = SimulatedPool(int(rng.integers(1, 6)), plan, broken_starts=1)
    answers = run(pool, Limits(attempts=2, timeout_s=10.0))
    assert sorted(answer.formula for answer in answers) == sorted(plan)
    assert all(count <= 2 for count in Counter(pool.asked).values())
    assert {answer.reason for answer in answers if isinstance(answer, Failure)} <= {"timeout", "worker died"}
