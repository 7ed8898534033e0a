"""A language model that answers with energies travels to the actors, and learns there as here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from actors.cluster import Cluster, connect
from actors.workers import RayWorkers
from discovery.learning import Lesson
from discovery.surrogates.base import Labels
from discovery.workers import LocalWorkers, Models, Workers
from tests.core.tiny_lift import untaught_surrogate
from tests.small import KNOWN, SCHEME, FormulaOracle, formula_energy

FORMULAS = ["NaF", "KF", "LiCl", "KCl", "MgF2"]


@pytest.fixture
def both(cluster: Cluster, models: Models) -> Iterator[tuple[Workers, Workers]]:
    remote = RayWorkers(connect(), FormulaOracle)
    local = LocalWorkers(FormulaOracle())
    for workers in (local, remote):
        workers.load(dataclasses.replace(models, surrogate=untaught_surrogate(SCHEME)))
    yield local, remote
    remote.close()


def labels(formulas: list[str]) -> Labels:
    energies = np.array([formula_energy(formula) for formula in formulas])
    return Labels(tuple(formulas), energies, (SCHEME,) * len(formulas))


def test_predictions_and_lessons_are_the_same_there_and_here(both: tuple[Workers, Workers]) -> None:
    estimates, remote_estimates = (workers.predict(FORMULAS) for workers in both)
    assert estimates == remote_estimates
    assert all(estimate.std > 0 for estimate in estimates)
    known = tuple(KNOWN)
    lessons = [
        Lesson(labels(FORMULAS), labels(list(known)), (), known, (), np.random.SeedSequence(0)) for _ in both
    ]  # one each: spawning changes a seed sequence
    mine, theirs = (workers.learn(lesson) for workers, lesson in zip(both, lessons, strict=True))
    assert mine.surrogate.version == theirs.surrogate.version
    assert mine.report == theirs.report
    assert mine.report.metrics["unreadable_answers"] == 0
