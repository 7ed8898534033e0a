"""Small searches of every kind in one process: another file system, a failing trial, population-based, surrogate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from actors.cluster import Cluster
from discovery.generators.zoo import load_generator
from discovery.surrogates.zoo import load_surrogate
from tests.cluster.elsewhere import Moody
from tests.core.small_search import small_plan, small_supplies
from tests.core.test_tune_trial import energies
from tune.best import confirm, write_best
from tune.records import Record, counts, front, ranked
from tune.run import run_search
from tune.space import changeable, generator_space
from tune.storage import Storage

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_a_trial_that_runs_out_of_memory_is_recorded_and_the_search_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    supplies = small_supplies(tolerance=10.0)
    judge = Moody(**dict(vars(supplies.judge)), asked=tmp_path / "asked")
    supplies = dataclasses.replace(supplies, judge=judge)
    storage = Storage.at(f"elsewhere://{tmp_path}/search")
    assert not storage.local
    plan = small_plan(trials=5, scheduler="none", cpus=0.5, confirm=40)
    search = run_search(plan, storage, cluster, supplies, quiet=True)
    assert search.share.resources() == {"cpu": 0.5}  # four trials share two cores
    assert counts(search.records) == {"finished": 4, "failed": 1}
    [failed] = [record for record in search.records if record.causes]
    assert failed.causes == ("out of memory: no room for the hull",)
    confirmed = confirm(search.records, plan, storage, search.share, supplies)
    assert confirmed is not None
    assert confirmed.best["samples"] == 40
    best = write_best(search.records, plan, storage, confirmed)
    assert best is not None
    assert load_generator(str(tmp_path / "search" / "best")).name == "gpt2"


def test_asha_stops_some_trials_and_ranks_the_others(cluster: Cluster, tmp_path: Path) -> None:
    plan = small_plan(trials=8, petaflop=1e-7)
    search = run_search(plan, Storage.at(str(tmp_path)), cluster, small_supplies(tolerance=10.0), quiet=True)
    found = counts(search.records)
    assert found["stopped early"] >= 1
    assert found["finished"] >= 1
    for record in search.records:
        if record.status == "stopped early":
            assert record.curve[-1][0] in (25.0, 50.0) or record.curve[-1][0] < 60
            assert "yield" not in record.results


def test_a_population_stays_within_its_bounds(cluster: Cluster, tmp_path: Path) -> None:
    plan = small_plan(trials=4, scheduler="pbt", petaflop=1e-8)
    search = run_search(plan, Storage.at(str(tmp_path)), cluster, small_supplies(tolerance=10.0), quiet=True)
    assert counts(search.records) == {"finished": 4}
    assert not any(record.causes for record in search.records)
    bounds = changeable(generator_space("gpt2"))
    for record in search.records:
        for name, domain in bounds.items():
            assert domain.lower <= record.config[name] <= domain.upper, (name, record.config[name])


def test_two_goals_leave_a_front(cluster: Cluster, tmp_path: Path) -> None:
    plan = small_plan(trials=5, pareto=True, scheduler="none", petaflop=1e-8)
    search = run_search(plan, Storage.at(str(tmp_path)), cluster, small_supplies(tolerance=10.0), quiet=True)
    assert counts(search.records) == {"finished": 5}
    assert {record.config["budget"] for record in search.records} <= {0.25, 0.5, 1.0}
    spent = {record.number: record.results["petaflop"] / record.config["budget"] for record in search.records}
    assert list(spent.values()) == pytest.approx([1e-8] * 5)
    kept = front(search.records, *plan.goals)
    best = ranked(search.records, plan.goal)[0]
    assert best.results["yield"] == max(record.results["yield"] for record in kept)
    assert min(r.results["train_seconds"] for r in search.records) == min(r.results["train_seconds"] for r in kept)


def test_a_surrogate_is_searched_for_and_written(cluster: Cluster, tmp_path: Path) -> None:
    plan = small_plan(target="surrogate", objective="nll", trials=2, epochs=2, scheduler="none")
    search = run_search(plan, Storage.at(str(tmp_path)), cluster, energies(), quiet=True)
    assert counts(search.records) == {"finished": 2}
    best = write_best(search.records, plan, Storage.at(str(tmp_path)), None)
    assert isinstance(best, Record)
    assert best.results["nll"] == min(record.results["nll"] for record in search.records)
    assert load_surrogate(str(tmp_path / "best")).schemes == ("made",)


def test_trials_are_exported_as_metrics(cluster: Cluster, tmp_path: Path) -> None:
    from tests.cluster.test_metrics import exported_lines, value

    plan = small_plan(trials=1, scheduler="none")
    run_search(plan, Storage.at(str(tmp_path)), cluster, small_supplies(tolerance=10.0), quiet=True)
    tag = f'search="{tmp_path}"'
    lines = exported_lines("discovery_tune_yield", tag)
    assert value(lines, "discovery_tune_progress", tag, 'trial="1"') == 100
    assert value(lines, "discovery_tune_trials", tag, 'status="finished"') == 1
