"""kill -9 at random moments: nothing is lost, no finished oracle call is repeated, the result is the same."""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small import model_options, small_models

KILLS = 10
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models"))


def command(models: Path, run: Path) -> list[str]:
    options = {
        "--rounds": "3",
        "--batch-size": "5",
        "--candidates-per-round": "60",
        "--elements": "Li,Na,K,Mg,O,F,Cl",
        "--max-atoms": "8",
        "--tolerance": "0.3",
        "--run-dir": str(run),
        **model_options(models),
    }
    flat = [word for pair in options.items() for word in pair]
    return [sys.executable, "-m", "discovery.loop", *flat, "--local", "--json", "--resume"]


def environment(log: Path) -> dict[str, str]:
    return {**os.environ, "ORACLE_SECONDS": "0.3", "ORACLE_LOG": str(log), "PYTHONPATH": str(ROOT)}


def committed(run: Path) -> set[str]:
    if not (run / "campaign.db").exists():
        return set()
    connection = sqlite3.connect(run / "campaign.db")
    try:
        return {row[0] for row in connection.execute("SELECT formula FROM answers")}
    finally:
        connection.close()


def state(*paths: Path) -> tuple[float, ...]:
    """Changes whenever one of these files does."""
    return tuple(path.stat().st_mtime if path.exists() else 0.0 for path in paths)


def finish(models: Path, run: Path, log: Path) -> dict[str, object]:
    done = subprocess.run(
        command(models, run), env=environment(log), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@pytest.mark.timeout(900)
def test_ten_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, models: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log.txt"
    log.touch()
    rng = random.Random(0)
    kept: list[tuple[set[str], int]] = []  # after each kill: committed answers, length of the oracle's log
    for kill in range(KILLS):
        # Every second kill waits for an oracle call, so that the campaign gets on; the others hit any stage.
        watched = [log] if kill % 2 else [log, run / "campaign.db", run / "campaign.db-wal"]
        before = state(*watched)
        process = subprocess.Popen(command(models, run), env=environment(log), cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None and state(*watched) == before:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 2.0))
        process.kill()
        process.wait()
        kept.append((committed(run), len(log.read_text().splitlines())))

    result = finish(models, run, log)
    calls = log.read_text().splitlines()
    for answers, length in kept:
        assert not answers & set(calls[length:])  # no finished call is repeated
    for (earlier, _), (later, _) in itertools.pairwise(kept):
        assert earlier <= later  # nothing is lost
    assert len(calls) <= len(set(calls)) + KILLS  # each kill cuts short one call at most
    assert kept[-1][0]  # the kills did hit a campaign at work

    whole = finish(models, tmp_path / "whole", tmp_path / "log-whole.txt")
    same = ("rounds", "generated", "valid", "novel", "validated", "failed", "stable", "best", "calls")
    assert {key: result[key] for key in same} == {key: whole[key] for key in same}
    assert finish(models, run, log) == result  # a finished campaign prints the same again
    assert len(log.read_text().splitlines()) == len(calls)
