"""The load benchmark notices what it is there to notice, and its requests can be told apart."""

import json
from dataclasses import replace

import pytest

from benchmarks.load import percentiles, statistics
from benchmarks.load_requests import Plan, Reply, formula, mistakes, payload, read_log, shortened
from discovery.composition import amounts

PLAN = Plan("http://127.0.0.1:1", "rank", clients=2, seconds=1.0, items=2)
EXPECTED = {0: [[formula(0), -1.0], [formula(1), -2.0]]}


def reply(number, status=200, **others):
    result = (
        [[name, -1.0 - i] for i, name in enumerate(payload("rank", number, 2)["formulas"])] if status == 200 else []
    )
    return replace(Reply(number, status, 0.1 * number, 0.05, False, result), **others)


def generated(number, digest="a"):
    return replace(reply(number), result=[2, digest])


def test_no_two_requests_are_alike():
    numbers = [*range(3000), *range(2_570_000, 2_570_400)]
    formulas = {formula(number) for number in numbers}
    assert len(formulas) == len(numbers)
    assert all(len(amounts(text)) == 3 for text in sorted(formulas)[:50])
    assert payload("generate", 7, 3) == {"n": 3, "seed": 7, "constrained": True}


def test_right_answers_in_any_order_are_no_mistake():
    assert mistakes(PLAN, [reply(1), reply(0), reply(2, 503)], EXPECTED) == []


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([reply(0), reply(0)], "two answers"),
        ([reply(0), reply(2), reply(3)], "no answer"),
        ([reply(0, result=reply(1).result)], "another one"),
        ([reply(0, result=[[formula(0), -1.0], [formula(1), -2.001]])], "another one"),
        ([reply(0, result=reply(0).result[:1])], "another one"),
    ],
)
def test_lost_doubled_and_exchanged_answers_are_found(replies, words):
    (found,) = mistakes(PLAN, replies, EXPECTED)
    assert words in found


def test_samples_of_other_seeds_are_found():
    plan = replace(PLAN, kind="generate")
    assert mistakes(plan, [generated(0, "a"), generated(1, "b")], {0: [2, "a"]}) == []
    assert mistakes(plan, [generated(0, "b")], {0: [2, "a"]}) == ["request 0 got the answer of another one"]
    assert mistakes(plan, [generated(0), generated(1)], {}) == ["two seeds gave the same samples"]


def test_answers_are_shortened_to_what_tells_them_apart():
    rows = [
        {"formula": "NaCl", "formation_energy_per_atom": -2.0, "other": 1},
        {"formula": "Xx", "error": "no element"},
    ]
    assert shortened("rank", rows) == [["NaCl", -2.0], ["Xx", None]]
    one, other = ({"candidates": [{"formula": text}]} for text in ("NaCl", "KCl"))
    assert shortened("generate", one)[0] == 1
    assert shortened("generate", one) != shortened("generate", other)


def test_statistics_count_refusals_apart_from_errors():
    replies = [reply(0), reply(1), reply(2, 503, retry_after=True), reply(3, 429), reply(4, 500), reply(5, 0)]
    found = statistics(PLAN, replies, [])
    assert (found["answered"], found["refused"], found["refused_with_retry_after"]) == (2, 2, 1)
    assert found["errors"] == {"500": 1, "0": 1}
    assert found["requests_per_second"] == pytest.approx(2 / 0.55, abs=0.01)  # from 0 to 0.5 + 0.05 s
    assert found["items_per_second"] == pytest.approx(4 / 0.55, abs=0.01)
    assert found["latency_ms"] == {"p50": 50.0, "p95": 50.0, "p99": 50.0}


def test_percentiles_are_in_milliseconds():
    assert percentiles([i / 1000 for i in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles([]) is None


def test_plans_and_logs_are_read_as_they_were_written(tmp_path):
    assert Plan.from_json(PLAN.to_json()) == PLAN
    log = tmp_path / "log"
    log.write_text(json.dumps(reply(3).__dict__) + "\n")
    assert read_log(log) == [reply(3)]
