"""The metrics of a campaign, as Ray's node exports them to Prometheus."""

from __future__ import annotations

import re
import time
import urllib.request

import ray

from actors.cluster import Cluster
from actors.metrics import MetricsObserver
from discovery.records import Failure, LearningReport, Measurement, Proposal, RoundRecord

EXPORT_SECONDS = 90.0  # Ray exports every few seconds; a busy machine takes longer
TRIAL = 'campaign="trial"'  # tag of this test's campaign


def test_a_round_appears_in_the_exported_metrics(cluster: Cluster) -> None:
    observer = MetricsObserver("trial", tolerance=0.1)
    play_a_round(observer)
    found = exported("discovery_best_energy_above_hull")
    assert value(found, "discovery_round", TRIAL) == 3
    assert value(found, "discovery_stage_done", TRIAL, 'stage="validate"') == 2
    assert value(found, "discovery_stage_total", TRIAL, 'stage="validate"') == 4
    assert value(found, "discovery_stage_seconds_total", TRIAL, 'stage="generate"') == 12.5
    for reached, count in {
        "generated": 100,
        "valid": 90,
        "novel": 80,
        "selected": 4,
        "validated": 3,
        "stable": 2,
    }.items():
        assert value(found, "discovery_candidates_total", TRIAL, f'reached="{reached}"') == count
    assert value(found, "discovery_rejects_total", TRIAL, 'reason="known"') == 7
    assert value(found, "discovery_oracle_failures_total", TRIAL, 'reason="timeout"') == 1
    assert value(found, "discovery_oracle_seconds_count", TRIAL, 'oracle="chgnet"') == 4
    assert abs(value(found, "discovery_stable_share", TRIAL) - 2 / 3) < 1e-9
    assert value(found, "discovery_best_energy_above_hull", TRIAL) == -0.02


def play_a_round(observer: MetricsObserver) -> None:
    observer.stage_started(3, "generate", 100)
    observer.stage_finished(3, "generate", 12.5)
    observer.proposed(Proposal(3, 100, 90, 80, {"known": 7, "duplicate": 0}, (), ("A", "B", "C", "D")))
    observer.stage_started(3, "validate", 4)
    for energy in (0.1, -0.02, 0.11):
        observer.answered(Measurement("NaF", "chgnet", "chgnet-0.3.0", -2.0, energy, seconds=3.0))
    observer.answered(Failure("KF", "chgnet", "timeout", seconds=60.0))
    observer.stage_advanced("validate", 2)
    learning = LearningReport("surrogate", "generator", {})
    observer.round_finished(RoundRecord(3, 100, 90, 80, ("A", "B", "C", "D"), 3, 1, 2, {}, {}, learning, {}))


def exported(last: str) -> list[str]:
    """The lines that a node exports, once `last` is among them."""
    return exported_lines(last, TRIAL)


def exported_lines(last: str, tag: str) -> list[str]:
    """The lines that a node exports, once `last` with that tag is among them."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + EXPORT_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines: list[str] = answer.read().decode().splitlines()
        if any(line.startswith(f"ray_{last}") and tag in line for line in lines):  # others export theirs too
            return lines
        time.sleep(0.5)
    raise AssertionError(f"no {last} at {url} within {EXPORT_SECONDS} s")


def value(lines: list[str], name: str, *tags: str) -> float:
    """The value of the one line with this name and these tags."""
    found = [line for line in lines if re.match(rf"ray_{name}[{{ ]", line) and all(tag in line for tag in tags)]
    assert len(found) == 1, f"{name} {tags}: {found} in {[line for line in lines if 'discovery' in line]}"
    return float(found[0].rpartition(" ")[2])
