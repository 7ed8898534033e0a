"""The study of training tasks: what its arms may see, and a small run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.surrogate import tasks
from benchmarks.surrogate.tables import read_labels
from discovery.composition import chemical_system
from tests.core.test_surrogate_benchmark import labels_file


def test_added_outputs_see_training_labels_alone(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "random")
    test = labels.rows("test")
    changed = labels.formation.copy()
    changed[test] -= 7.0
    for arm in (tasks.DECOMPOSITION, tasks.COMPETING):
        one, other = (tasks.dataset(given, arm) for given in (labels, replace(labels, formation=changed)))
        np.testing.assert_array_equal(one.energies[:, 1], other.energies[:, 1])
        assert np.isnan(one.energies[test, 1]).all()
        assert not np.isnan(one.energies[labels.rows("train"), 1]).any()


def test_both_added_outputs_make_up_the_formation_energy(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "random")
    train = labels.rows("train")
    above, hull = (tasks.dataset(labels, arm).energies[train, 1] for arm in (tasks.DECOMPOSITION, tasks.COMPETING))
    assert above + hull == pytest.approx(labels.formation[train], abs=1e-5)


def test_rows_of_a_system_stay_together(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "random")
    systems = np.array([chemical_system(formula) for formula in labels.formulas])
    numbers = np.unique(systems, return_inverse=True)[1]
    rows = labels.rows("train")
    ordered = tasks.by_system(rows, numbers, np.random.default_rng(0))
    assert sorted(ordered) == sorted(rows)
    assert (np.diff(numbers[ordered]) != 0).sum() == len(set(numbers[rows])) - 1


def test_all_arms_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = labels_file(tmp_path)
    assert tasks.main(["--labels", str(path), "--epochs", "2", "--members", "1"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["arm"] for run in runs] == list(tasks.ARMS)
    assert all(run["formation_energy"]["mae"] < 2.0 for run in runs)
    assert [("direct" in run) for run in runs] == [False, True, True, False]
