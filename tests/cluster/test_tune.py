"""Searches on a small Ray: from the command to the best model; a killed worker, a killed driver, a trial that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from discovery.generators.zoo import load_generator
from discovery.model_files import read_json
from tests.small import small_models

ROOT = Path(__file__).parents[2]
WAIT_S = 240.0
ELEMENTS = ("Li", "Na", "K", "Rb", "Cs"), ("F", "Cl", "Br", "I"), ("Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), ("O", "S", "Se")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_models(tmp_path_factory.mktemp("models"))
    (folder / "formulas.txt").write_text("\n".join(compounds()))
    return folder


def compounds() -> list[str]:
    """Some hundred balanced formulas."""
    ones, halogens, twos, chalcogens = ELEMENTS
    simple = [f"{a}{x}" for a in ones for x in halogens] + [f"{a}{x}2" for a in twos for x in halogens]
    simple += [f"{a}2{x}" for a in ones for x in chalcogens] + [f"{a}{x}" for a in twos for x in chalcogens]
    mixed = [f"{a}{b}{x}3" for a in ones for b in twos for x in halogens]
    return simple + mixed + [f"{a}2{b}{x}2" for a in ones for b in twos for x in chalcogens]


def command(models: Path, storage: str, **changes: str) -> list[str]:
    options = {
        "--trials": "4",
        "--data": str(models / "formulas.txt"),
        "--surrogate": str(models / "surrogate"),
        "--reference": f"snapshot:{models / 'reference.csv'}",
        "--petaflop": "0.00002",
        "--samples": "200",
        "--judged": "100",
        "--confirm": "100",
        "--tolerance": "10",
        "--scheduler": "none",
        "--storage": storage,
    }
    options |= {"--" + name.replace("_", "-"): value for name, value in changes.items()}
    return [sys.executable, "-m", "tune.search", *(word for pair in options.items() for word in pair), "--json"]


def environment() -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "TUNE_GLOBAL_CHECKPOINT_S": "1", "RAY_worker_niceness": "0"}
    return {**os.environ, **own, "RAY_ADDRESS": ""}


def finish(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.strip().splitlines()) == 1, done.stdout  # nothing but the one JSON object
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def records(storage: Path) -> list[dict[str, Any]]:
    path = storage / "trials.json"
    return json.loads(path.read_text())["trials"] if path.exists() else []


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert process.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes that train a trial."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            found += [child] if "ImplicitFunc" in " ".join(child.cmdline()) else []
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.timeout(900)
def test_a_search_leaves_its_best_model_its_page_and_its_logs(models: Path, tmp_path: Path) -> None:
    storage = tmp_path / "search"
    result = finish(command(models, str(storage), mlflow=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert result["trials"] == {"finished": 4}
    best = load_generator(str(storage / "best"))
    assert best.name == "gpt2"
    card = read_json(storage / "best" / "card.json")
    assert card["search"]["trial"] == result["trial"]
    assert card["search"]["plan"]["trials"] == 4
    assert card["sampling"]["temperature"] == pytest.approx(result["config"]["temperature"])
    kept = records(storage)
    assert result["results"]["yield"] == max(record["results"]["yield"] for record in kept)
    assert all(len(record["curve"]) >= 8 for record in kept)
    page = (storage / "search.html").read_text()
    assert "Learning curves" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "fresh samples" in page
    assert len(list(storage.glob("trials/*/events.out.tfevents*"))) == 4  # TensorBoard
    assert (tmp_path / "mlflow.db").exists()
    refused = subprocess.run(command(models, str(storage)), env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "go on with --resume" in refused.stderr
    again = finish([*command(models, str(storage), mlflow=f"sqlite:///{tmp_path / 'mlflow.db'}"), "--resume"])
    assert (again["trial"], again["results"]) == (result["trial"], result["results"])


@pytest.mark.timeout(900)
def test_a_killed_worker_and_a_killed_driver_cost_no_finished_trial(models: Path, tmp_path: Path) -> None:
    storage = tmp_path / "search"
    arguments = command(models, str(storage), petaflop="0.0001")
    process = subprocess.Popen(arguments, env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(0 < len(r["curve"]) < 6 for r in records(storage)), process)
        for worker in workers_of(process):
            worker.kill()
        wait_until(lambda: any(r["causes"] for r in records(storage)), process)
        wait_until(lambda: any(r["status"] == "finished" for r in records(storage)), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = {r["trial"]: r for r in records(storage) if r["status"] == "finished"}
    died = {r["trial"]: r for r in records(storage) if r["causes"]}

    result = finish([*arguments, "--resume"])
    kept = {r["trial"]: r for r in records(storage)}
    assert result["trials"]["finished"] >= 4
    for trial, record in done.items():
        assert kept[trial]["results"] == record["results"]  # not trained again
    for trial, record in died.items():
        assert "worker" in record["causes"][0] or "actor" in record["causes"][0].lower(), record["causes"]
        assert kept[trial]["causes"][: len(record["causes"])] == record["causes"]
    assert result["failures"]
    assert load_generator(str(storage / "best")).name == "gpt2"
