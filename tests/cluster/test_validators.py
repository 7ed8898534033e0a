"""Validators that die, hang or never start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from actors.cluster import Cluster
from actors.fanout import Limits, fan_out
from actors.pools import ValidatorPool
from discovery.errors import OracleError
from discovery.oracles.base import Oracle
from discovery.records import Failure, Measurement
from tests.cluster.faulty import FaultyOracle, MeetingOracle, calls, no_oracle

FORMULAS = ["NaF", "KF", "LiCl", "KCl", "MgF2", "NaH"]


@contextmanager
def pool_of(make_oracle: Callable[[], Oracle], size: int = 2) -> Iterator[ValidatorPool]:
    pool = ValidatorPool(make_oracle, size, {"num_cpus": 0.5}, threads=1)
    try:
        yield pool
    finally:
        pool.close()


def test_killed_validators_cost_attempts_and_never_the_round(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with pool_of(partial(FaultyOracle, log, kills=("KF",), kills_once=("LiCl",))) as pool:
        answers = {answer.formula: answer for answer in fan_out(pool, FORMULAS, Limits(attempts=2))}
    assert sorted(answers) == sorted(FORMULAS)
    dead = answers["KF"]
    assert isinstance(dead, Failure)
    assert (dead.oracle, dead.reason, dead.attempts) == ("formula", "worker died", 2)
    assert isinstance(answers["LiCl"], Measurement)
    assert answers["LiCl"].attempts == 2
    assert {formula: answer.attempts for formula, answer in answers.items() if formula not in ("KF", "LiCl")} == {
        "NaF": 1, "KCl": 1, "MgF2": 1, "NaH": 1,
    }  # fmt: skip
    assert Counter(calls(log)) == {"KF": 2, "LiCl": 2, "NaF": 1, "KCl": 1, "MgF2": 1, "NaH": 1}


def test_a_hanging_call_is_ended_after_its_time(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with pool_of(partial(FaultyOracle, log, hangs=("KF",)), size=1) as pool:
        answers = {answer.formula: answer for answer in fan_out(pool, FORMULAS, Limits(timeout_s=2.0))}
        again = list(fan_out(pool, ["NaCl"], Limits()))  # the replaced validator works
    hung = answers.pop("KF")
    assert isinstance(hung, Failure)
    assert (hung.reason, hung.attempts) == ("timeout", 1)
    assert 2.0 <= hung.seconds < 10.0
    assert len(answers) == len(FORMULAS) - 1
    assert all(answer.reason == "no hydrogen" for answer in answers.values() if isinstance(answer, Failure))
    assert Counter(calls(log)) == dict.fromkeys([*FORMULAS, "NaCl"], 1)
    assert isinstance(again[0], Measurement)


def test_two_validators_work_at_the_same_time(cluster: Cluster, tmp_path: Path) -> None:
    with pool_of(partial(MeetingOracle, tmp_path, 2)) as pool:
        answers = list(fan_out(pool, ["NaF", "KF"], Limits()))
    assert [type(answer) for answer in answers] == [Measurement, Measurement]


def test_an_oracle_that_cannot_be_built_is_the_error_that_it_raised(cluster: Cluster) -> None:
    with pool_of(no_oracle, size=1) as pool, pytest.raises(OracleError, match=r"^the licence has run out: renew it$"):
        list(fan_out(pool, ["NaF"], Limits()))
