"""The same tests over both kinds of workers, and whether they agree."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.cluster import Cluster, connect
from actors.workers import RayWorkers, limits_of, sizes
from discovery.constraints import Constraints
from discovery.errors import ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.hull import Hull
from discovery.learning import Lesson
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement
from discovery.surrogates.base import Labels
from discovery.workers import RANK_CHUNK, LocalWorkers, Models, Workers
from tests.small import SCHEME, FormulaOracle, formula_energy

FORMULAS = ["NaF", "KF", "LiCl", "KCl", "MgF2", "NaH", "Mg2SiO4", "K2MgF4"]
OPTIONS = SamplingOptions(constrained=True, constraints=Constraints(max_atoms=10))


@pytest.fixture(scope="module")
def local() -> LocalWorkers:
    return LocalWorkers(FormulaOracle())


@pytest.fixture(scope="module")
def remote(cluster: Cluster) -> Iterator[RayWorkers]:
    workers = RayWorkers(connect(), FormulaOracle)
    yield workers
    workers.close()


@pytest.fixture(params=["local", "remote"])
def workers(request: pytest.FixtureRequest, models: Models) -> Workers:
    found: Workers = request.getfixturevalue(request.param)
    found.load(models)
    return found


@pytest.fixture
def both(local: LocalWorkers, remote: RayWorkers, models: Models) -> tuple[Workers, Workers]:
    local.load(models)
    remote.load(models)
    return local, remote


def lesson(seed: int = 0) -> Lesson:
    energies = np.array([formula_energy(formula) for formula in FORMULAS])
    new = Labels(tuple(FORMULAS), energies, (SCHEME,) * len(FORMULAS))
    known = ("NaCl", "KBr", "Li2O", "MgO", "CaF2", "Al2O3")
    replay = Labels(known, np.array([formula_energy(formula) for formula in known]), (SCHEME,) * len(known))
    return Lesson(new, replay, ("NaF", "KF"), known, ("TiO2", "ZnS"), np.random.SeedSequence(seed))


def test_as_many_samples_as_asked_for(workers: Workers) -> None:
    for n in (0, 1, 7):
        assert len(workers.generate(n, np.random.SeedSequence(0), OPTIONS)) == n


def test_the_seed_decides_the_samples(workers: Workers) -> None:
    first, again, other = (workers.generate(20, np.random.SeedSequence(seed), OPTIONS) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_an_error_in_sampling_arrives_as_it_was_raised(workers: Workers) -> None:
    impossible = SamplingOptions(constrained=True, constraints=Constraints(allowed=frozenset({"Na", "K"})))
    with pytest.raises(ConstraintError) as caught:
        workers.generate(4, np.random.SeedSequence(0), impossible)
    assert "\n" not in str(caught.value)


def test_estimates_come_in_the_order_of_the_formulas(workers: Workers, models: Models) -> None:
    many = (FORMULAS * 100)[: RANK_CHUNK + 9]
    found = workers.predict(many)
    assert [estimate.model_version for estimate in found] == [models.surrogate.version] * len(many)
    energies = models.surrogate.predict(FORMULAS, SCHEME).mean
    expected = [energies[FORMULAS.index(formula)] for formula in many]
    assert [estimate.formation_energy_per_atom for estimate in found] == pytest.approx(expected, abs=1e-5)


def test_nothing_to_rank_gives_nothing(workers: Workers) -> None:
    assert workers.predict([]) == []
    assert workers.log_probability([]).shape == (0,)
    assert workers.can_measure([]) == []
    assert list(workers.validate([], Budget())) == []


def test_without_a_generator_no_formula_has_a_likelihood(workers: Workers, models: Models) -> None:
    workers.load(dataclasses.replace(models, generator=None))
    assert np.isnan(workers.log_probability(FORMULAS)).all()
    with pytest.raises(RuntimeError, match="nothing to sample"):
        workers.generate(1, np.random.SeedSequence(0), OPTIONS)
    learned = workers.learn(lesson())
    assert learned.generator is None
    assert learned.report.generator_version == ""


def test_every_formula_is_answered_exactly_once(workers: Workers) -> None:
    answers = {answer.formula: answer for answer in workers.validate(FORMULAS, Budget())}
    assert sorted(answers) == sorted(FORMULAS)
    assert answers.pop("NaH") == Failure("NaH", "formula", "no hydrogen")
    for formula, answer in answers.items():
        assert isinstance(answer, Measurement)
        assert answer.formation_energy_per_atom == formula_energy(formula)


def test_what_can_be_measured_is_said_in_order(workers: Workers) -> None:
    assert workers.can_measure(["NaF", "HeO", "KF"] * RANK_CHUNK) == [True, False, True] * RANK_CHUNK


def test_learning_changes_nothing_in_use(workers: Workers, models: Models) -> None:
    before = workers.predict(FORMULAS)
    learned = workers.learn(lesson())
    assert learned.surrogate.version != models.surrogate.version
    assert workers.predict(FORMULAS) == before
    workers.load(Models(learned.generator, learned.surrogate, models.hull))
    assert workers.predict(FORMULAS) != before


def test_a_new_hull_counts_from_the_next_load_on(workers: Workers, models: Models) -> None:
    before = workers.predict(["NaF"])[0].energy_above_hull
    workers.load(dataclasses.replace(models, hull=Hull((), SCHEME)))
    after = workers.predict(["NaF"])[0]
    assert after.energy_above_hull == pytest.approx(after.formation_energy_per_atom)  # the elements alone compete
    assert before is not None


def test_both_kinds_of_workers_agree(both: tuple[Workers, Workers]) -> None:
    for seed in (0, 1):
        samples, remote_samples = (kind.generate(30, np.random.SeedSequence(seed), OPTIONS) for kind in both)
        assert samples == remote_samples
    many = (FORMULAS * 100)[: RANK_CHUNK + 9]
    estimates, remote_estimates = (kind.predict(many) for kind in both)
    assert estimates == remote_estimates
    np.testing.assert_array_equal(*(kind.log_probability(many) for kind in both))
    assert [kind.can_measure(["NaF", "HeO"]) for kind in both] == [[True, False]] * 2
    answers = [sorted(kind.validate(FORMULAS, Budget()), key=lambda answer: answer.formula) for kind in both]
    assert answers[0] == answers[1]


def test_both_kinds_of_workers_learn_the_same(both: tuple[Workers, Workers]) -> None:
    mine, theirs = (kind.learn(lesson(3)) for kind in both)
    assert mine.report == theirs.report
    assert mine.report.metrics
    assert mine.surrogate.version == theirs.surrogate.version
    assert mine.generator is not None
    assert theirs.generator is not None
    assert mine.generator.version == theirs.generator.version
    np.testing.assert_array_equal(
        mine.surrogate.predict(FORMULAS, SCHEME).mean, theirs.surrogate.predict(FORMULAS, SCHEME).mean
    )


def test_what_the_actors_learned_can_learn_further_here(remote: RayWorkers, models: Models) -> None:
    remote.load(models)
    learned = remote.learn(lesson())
    assert learned.generator is not None
    rng = np.random.default_rng(0)
    assert learned.surrogate.refit(lesson().new, lesson().replay, rng).version != learned.surrogate.version
    assert learned.generator.fine_tune(["NaF", "KF"], rng, 1, 1e-3).version != learned.generator.version


def test_a_killed_model_process_is_replaced(remote: RayWorkers, models: Models) -> None:
    remote.load(models)
    estimates, samples = remote.predict(FORMULAS), remote.generate(8, np.random.SeedSequence(0), OPTIONS)
    kill(remote._models._actors[0])
    assert remote.predict(FORMULAS) == estimates
    assert remote.generate(8, np.random.SeedSequence(0), OPTIONS) == samples


def kill(actor: Any) -> None:
    """Kill the process of an actor from outside, as the kernel does when memory runs out."""
    pid = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("gpus", [0, 1, 3])
@pytest.mark.parametrize("validators", [None, 1, 5, 100])
def test_all_actors_fit_at_once(cpus: int, gpus: int, validators: int | None) -> None:
    size = sizes(cpus, gpus, validators)
    assert size.validators == (cpus if validators is None else validators)
    assert 0 < size.validators * size.validator_cpus <= cpus / 2 + 1e-9
    actors = size.models + size.validators
    if gpus == 0:
        assert size.gpus == 0
    else:  # a share lies on one GPU
        assert 0 < size.gpus <= 1
        assert gpus * int(1 / size.gpus + 1e-9) >= actors


def test_a_time_limit_of_the_budget_leaves_its_oracle_time_to_stop() -> None:
    assert limits_of(Budget()).timeout_s is None
    assert (limits_of(Budget(max_seconds=60.0)).timeout_s or 0) > 60.0


def test_closing_borrowed_workers_leaves_the_cluster_running(cluster: Cluster, folder: Path) -> None:
    RayWorkers(connect(), FormulaOracle, validators=1).close()
    assert ray.is_initialized()
