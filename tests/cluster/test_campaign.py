"""Whole campaigns: with Ray and without, from the same seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from actors.cluster import Cluster
from actors.workers import connect_workers
from discovery.campaign import Campaign, Parts
from discovery.config import CampaignConfig
from discovery.constraints import Constraints
from discovery.events import Observers
from discovery.hull import Hull
from discovery.oracles.loading import load_oracle
from discovery.records import Failure, Measurement, RoundRecord
from discovery.reference.loading import load_reference
from discovery.rounds import run_campaign
from discovery.workers import LocalWorkers, Models

CONFIG = CampaignConfig(
    rounds=2,
    candidates_per_round=60,
    batch_size=6,
    tolerance=0.3,
    oracle="tests.small:formula_oracle",
    constraints=Constraints(allowed=frozenset({"Li", "Na", "K", "Mg", "O", "F", "Cl", "H"}), max_atoms=8),
)


def campaign(run: Path, folder: Path, models: Models, config: CampaignConfig = CONFIG) -> Campaign:
    reference = load_reference(f"snapshot:{folder / 'reference.csv'}")
    hull = Hull(reference.phases, reference.scheme)
    return Campaign.start(run, config, Parts(reference, hull, models.generator, models.surrogate, {"version": "1"}))


def run_locally(started: Campaign) -> None:
    oracle = load_oracle(started.config.oracle, started.reference, started.config.scheme)
    run_campaign(started, LocalWorkers(oracle), Observers())


def run_with_ray(started: Campaign) -> None:
    workers, observers = connect_workers(started)
    try:
        run_campaign(started, workers, Observers(observers))
    finally:
        workers.close()


def plain(record: RoundRecord) -> RoundRecord:
    return dataclasses.replace(record, seconds={}, selected=tuple(sorted(record.selected)))


def rows(done: Campaign) -> list[dict[str, Any]]:
    return [{**row._mapping, "campaign": None} for row in done.ledger.candidates()]  # the name is drawn at random


def answers(done: Campaign) -> dict[str, Measurement | Failure]:
    return {f: dataclasses.replace(answer, seconds=0.0) for f, (_, answer) in done.ledger.answers().items()}


def test_with_ray_and_without_the_records_are_equal(
    cluster: Cluster, tmp_path: Path, folder: Path, models: Models
) -> None:
    local = campaign(tmp_path / "local", folder, models)
    remote = campaign(tmp_path / "remote", folder, models)
    run_locally(local)
    run_with_ray(remote)
    mine, theirs = (
        {number: plain(record) for number, record in done.ledger.records().items()} for done in (local, remote)
    )
    assert sorted(mine) == [1, 2]
    assert mine == theirs
    assert answers(local) == answers(remote)
    assert sorted(local.ledger.calls()) == sorted(remote.ledger.calls())
    assert rows(local) == rows(remote)
