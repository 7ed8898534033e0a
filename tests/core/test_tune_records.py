"""Ranking, Pareto front and what a search teaches, on records whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.core.small_search import failed, record, small_plan, stopped
from tune.plan import SECOND
from tune.records import Record, counts, front, median_of, ranked
from tune.study import foresight, importances
from tune.watching import gist

PLAN = small_plan()


def test_finished_trials_are_ranked_and_the_others_are_not() -> None:
    records = [record(1, 50.0), failed(2, "out of memory"), record(3, 90.0), stopped(4), record(5, 70.0)]
    assert [r.number for r in ranked(records, PLAN.goal)] == [3, 5, 1]
    assert [r.number for r in ranked(records, small_plan(objective="nll").goal)] == [3, 5, 1]
    assert median_of(ranked(records, PLAN.goal)).number == 5
    assert counts(records) == {"finished": 3, "stopped early": 1, "failed": 1}


def test_the_front_holds_what_nothing_beats() -> None:
    pairs = {1: (90.0, 50.0), 2: (80.0, 20.0), 3: (70.0, 30.0), 4: (60.0, 10.0), 5: (60.0, 11.0), 6: (95.0, 60.0)}
    records = [record(number, value, seconds=seconds) for number, (value, seconds) in pairs.items()]
    assert [r.number for r in front(records, PLAN.goal, SECOND["generator"])] == [6, 1, 2, 4]


def test_a_repeated_stretch_of_training_replaces_the_first() -> None:
    one = Record("t", 1, {}).with_point(12.5, 3.0).with_point(25.0, 2.0).with_point(37.5, 1.0)
    again = one.with_point(25.0, 2.1)
    assert again.curve == ((12.5, 3.0), (25.0, 2.1))
    assert again.early(20.0) == 2.1
    assert again.early(50.0) is None


def test_a_record_survives_json() -> None:
    whole = record(3, 42.0, causes=("worker died",))
    assert Record.of(json.loads(json.dumps(whole.plain()))) == whole


def test_a_loss_that_orders_as_the_goal_does_is_a_perfect_forecast() -> None:
    records = [record(n, 10.0 * n) for n in range(1, 8)]
    found = foresight([*records, stopped(9)], PLAN, np.random.default_rng(0))
    assert [(f.percent, f.trials, f.correlation) for f in found] == [(25.0, 7, 1.0), (50.0, 7, 1.0), (100.0, 7, 1.0)]
    turned = [r.changed(curve=tuple((p, -loss) for p, loss in r.curve)) for r in records]
    assert [f.correlation for f in foresight(turned, PLAN, np.random.default_rng(0))] == [-1.0, -1.0, -1.0]
    assert foresight(records[:4], PLAN, np.random.default_rng(0)) == []


def test_the_setting_that_decides_is_the_most_important() -> None:
    rng = np.random.default_rng(0)
    records = []
    for number in range(1, 41):
        config = {"layers": int(rng.integers(2, 9)), "dropout": float(rng.random()), "variant": "ab"[number % 2]}
        records.append(record(number, 10.0 * config["layers"] + rng.random()).changed(config=config))
    found, r2 = importances(records, PLAN, seed=0)
    assert found[0].name == "layers"
    assert found[0].share > 0.9
    assert r2 > 0.8
    assert sum(row.share for row in found) == pytest.approx(1.0)
    assert importances(records[:4], PLAN, seed=0) == ([], 0.0)


def test_the_gist_of_a_lost_worker_is_one_line() -> None:
    text = (
        " 1 (occurred at 2026-01-01)\nThe actor died unexpectedly before finishing this task.\n\tclass_name: Implicit\n"
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
        "Worker unexpectedly exits with a connection error code 2. End of file.\n"
    )
    found = gist(text)
    assert found.startswith("The actor died unexpectedly before finishing this task. Worker unexpectedly exits")
    assert "\n" not in found
    assert gist("") == "its worker was lost; Ray knows no cause"
