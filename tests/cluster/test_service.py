"""The service on Ray Serve: over HTTP, and killed in the middle of a round."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.service import PATIENCE_S, ROOT, RunningService
from tests.serving import ORACLE, SMALL, home
from tests.small import SCHEME, formula_energy

FIVE = {**SMALL, "oracle": ORACLE, "rounds": 5, "seed": 3}
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[RunningService]:
    started = RunningService(home(folder / "home"), folder, ORACLE_SECONDS="0.2", ORACLE_LOG=str(folder / "calls.txt"))
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.kill()


def ended(service: RunningService, place: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (found := service.json("GET", place))["status"] in ("running", "stopping"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    result: dict[str, Any] = found
    return result


def made(service: RunningService, **changes: Any) -> str:
    return f"/v1/campaigns/{service.json('POST', '/v1/campaigns', {**SMALL, **changes})['id']}"


def records(service: RunningService, place: str) -> list[dict[str, Any]]:
    return [{**one, "seconds": None} for one in service.json("GET", f"{place}/rounds")["rounds"]]


def by_command_line(folder: Path, models: Path) -> list[dict[str, Any]]:
    """The records of the same campaign, by `python -m discovery.loop`."""
    from discovery.ledger import Ledger, sqlite_url

    run = folder / "by-command-line"
    options = {
        "--rounds": "5",
        "--seed": "3",
        "--batch-size": "3",
        "--candidates-per-round": "40",
        "--tolerance": "0.3",
        "--elements": "Li,Na,K,Mg,O,F,Cl",
        "--max-atoms": "8",
        "--model": str(models / "models" / "generator"),
        "--surrogate": str(models / "models" / "surrogate"),
        "--reference": f"snapshot:{models / 'uploads' / 'reference.csv'}",
        "--oracle": ORACLE,
        "--run-dir": str(run),
    }
    words = [word for pair in options.items() for word in pair]
    subprocess.run(
        [sys.executable, "-m", "discovery.loop", *words, "--local", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = Ledger.open(sqlite_url(run)).records().values()
    return [json.loads(json.dumps({**dataclasses.asdict(record), "seconds": None})) for record in found]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve, when it is imported
def test_the_shipped_configuration_fits() -> None:
    from ray.serve.schema import ServeDeploySchema

    from serve.app import Arguments

    shipped = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    config = ServeDeploySchema.model_validate(shipped)
    assert config.http_options.host == "127.0.0.1"
    [application] = config.applications
    assert application.import_path == "serve.app:build_app"
    assert Arguments.model_validate(application.args) == Arguments()


def test_a_request_gets_the_same_alone_and_among_others(service: RunningService) -> None:
    bodies = [{"n": 1 + seed % 5, "seed": seed, "elements": ["Li", "O", "F", "Mg"]} for seed in range(24)]
    alone = [service.json("POST", "/v1/generate", body) for body in bodies]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda body: service.json("POST", "/v1/generate", body), bodies))
    assert together == alone


def test_five_rounds_over_http_are_those_of_the_command_line(service: RunningService, folder: Path) -> None:
    place = made(service, **FIVE)
    service.json("POST", f"{place}/run", {"rounds": 5})
    assert ended(service, place)["status"] == "finished"
    assert records(service, place) == by_command_line(folder, folder / "home")


def test_a_killed_campaign_actor_goes_on(service: RunningService, folder: Path) -> None:
    log = folder / "calls.txt"
    place = made(service, **FIVE, local=True, learn=False)
    before = len(log.read_text().splitlines())
    service.json("POST", f"{place}/run", {"rounds": 2})
    kept: list[set[str]] = []
    for _ in range(2):
        calls = len(log.read_text().splitlines())
        _wait(lambda calls=calls: len(log.read_text().splitlines()) > calls + 1)
        _kill(service.processes("ray::HostRole"))
        kept.append(_answered(service, place))
    found = ended(service, place)
    calls = log.read_text().splitlines()[before:]
    assert found["status"] in ("finished", "idle")
    assert found["rounds_finished"] == 2
    assert found["counts"]["asked"] == len(set(calls)) == 6
    assert len(calls) <= 6 + 2  # each kill cuts short one call at most
    assert all(earlier <= _answered(service, place) for earlier in kept)


def test_killed_replicas_are_started_anew(service: RunningService) -> None:
    body = {"n": 4, "seed": 9}
    before = service.json("POST", "/v1/generate", body)
    for name in ("ray::SERVE_REPLICA::discovery#Generate", "ray::SERVE_REPLICA::discovery#Api"):
        _kill(service.processes(name))
        assert service.json("POST", "/v1/generate", body) == before


@pytest.mark.parametrize("ray", [False, True])
def test_a_killed_service_loses_no_label_and_asks_none_twice(tmp_path: Path, ray: bool) -> None:
    place, handed, told = "", [], []
    kept = home(tmp_path / "home")
    for start in range(3):
        service = RunningService(kept, tmp_path, ray=ray)
        try:
            service.wait_until_ready()
            place = place or made(service, rounds=2)
            new = service.json("POST", f"{place}/ask", {"n": 2})["candidates"]
            assert not {one["formula"] for one in new} & {one["formula"] for one in handed}
            handed += new
            label = _label(new[0])
            assert service.json("POST", f"{place}/tell", [label])["results"][0]["status"] == "accepted"
            told.append(label)
            again = service.json("POST", f"{place}/tell", told)["results"]
            assert [one["status"] for one in again] == ["duplicate"] * (start + 1)
            assert _answered(service, place) >= {one["formula"] for one in told}
        finally:
            service.kill()


def test_a_run_goes_on_after_every_kill_and_ends_like_one_that_was_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "calls.txt"
    log.touch()
    kept = home(tmp_path / "home")
    place, answered = "", set[str]()
    for kill in range(5):
        service = RunningService(kept, tmp_path, ray=False, ORACLE_SECONDS="0.3", ORACLE_LOG=str(log))
        try:
            service.wait_until_ready()
            if not place:
                place = made(service, **{**FIVE, "rounds": 3})
                service.json("POST", f"{place}/run", {"rounds": 3})
            before = len(log.read_text().splitlines())
            assert answered <= _answered(service, place)
            if kill == 4:
                assert ended(service, place)["status"] == "finished"
                cut = records(service, place)
                alone = made(service, **{**FIVE, "rounds": 3})
                calls = log.read_text().splitlines()
                service.json("POST", f"{alone}/run", {"rounds": 3})
                assert ended(service, alone)["status"] == "finished"
                assert cut == records(service, alone)
            else:
                _wait(lambda before=before: len(log.read_text().splitlines()) > before)
                answered = _answered(service, place)
        finally:
            service.kill()
    assert len(set(calls)) == 9
    assert len(calls) <= 9 + 4  # each kill cuts short one call at most


def _label(handout: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidate_id": handout["id"],
        "formula": handout["formula"],
        "formation_energy_per_atom": formula_energy(handout["formula"]),
        "scheme": SCHEME,
        "source": "lab",
        "idempotency_key": handout["id"],
    }


def _answered(service: RunningService, place: str) -> set[str]:
    rows = service.json("GET", f"{place}/candidates?limit=1000")["candidates"]
    return {row["formula"] for row in rows if row["status"] in ("validated", "failed")}


def _kill(processes: list[int]) -> None:
    assert processes
    for process in processes:
        os.kill(process, signal.SIGKILL)


def _wait(ready: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
