import math

import numpy as np
import pytest

from benchmarks.replay.metrics import (
    acceleration,
    audc,
    bootstrap,
    calls_needed,
    curve_interval,
    discovery_acceleration,
    enrichment,
    found,
    largest_daf,
    mean_interval,
    random_calls_needed,
)

NAN = float("nan")
RUN = np.array([0.3, -0.1, NAN, 0.05, 0.0])


def test_found_counts_within_the_tolerance_and_a_failure_is_a_call():
    assert found(RUN, 0.0).tolist() == [0, 1, 1, 1, 2]
    assert found(RUN, 0.1).tolist() == [0, 1, 1, 2, 3]


def test_calls_needed_is_the_first_call_that_reaches_k():
    assert [calls_needed(RUN, 0.0, k) for k in (1, 2, 3)] == [2, 5, math.inf]


def test_random_picking_agrees_with_its_closed_form():
    rng = np.random.default_rng(0)
    pool, stable, k = 60, 9, 4
    draws = [np.flatnonzero(rng.permutation(pool) < stable)[k - 1] + 1 for _ in range(20_000)]
    assert np.mean(draws) == pytest.approx(random_calls_needed(k, stable, pool), rel=0.01)
    assert random_calls_needed(10, 9, 60) == math.inf


def test_acceleration_and_enrichment_by_hand():
    assert acceleration([5, 10, 20], [50, 60, 70]) == 6.0
    assert acceleration([5, 10, math.inf], [50, math.inf, math.inf]) == math.inf
    assert math.isnan(acceleration([math.inf, math.inf, 3], [50, 60, 70]))
    assert enrichment([8, 12], [2, 3]) == 4.0
    assert enrichment([1], [0]) == math.inf
    assert math.isnan(enrichment([0], [0]))


def test_daf_is_one_for_chance_and_at_most_the_largest():
    energies = np.array([-1.0, 1.0, -1.0, 1.0])
    assert discovery_acceleration(energies, 0.0, prevalence=0.5) == 1.0
    assert discovery_acceleration(energies, 0.0, prevalence=0.1) == pytest.approx(5.0)
    assert largest_daf(stable=30, pool=100, calls=20) == pytest.approx(1 / 0.3)
    assert largest_daf(stable=10, pool=100, calls=20) == pytest.approx(0.5 / 0.1)


def test_audc_is_one_for_a_perfect_run_and_zero_for_an_empty_one():
    perfect = np.array([-1.0, -1.0, 1.0, 1.0])
    assert audc(perfect, 0.0, stable=2) == 1.0
    assert audc(perfect[::-1], 0.0, stable=2) == pytest.approx((1 + 2) / (1 + 2 + 2 + 2))
    assert audc(np.ones(4), 0.0, stable=2) == 0.0
    assert math.isnan(audc(np.ones(4), 0.0, stable=0))


def test_the_interval_of_a_mean_covers_it_as_often_as_promised():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        interval = mean_interval(rng.normal(3.0, 1.0, size=40), rng)
        inside += interval.low <= 3.0 <= interval.high
    assert 87 <= inside <= 100


def test_a_ratio_that_no_resample_has_gets_no_interval():
    interval = bootstrap([[0.0, 0.0], [0.0, 0.0]], enrichment, np.random.default_rng(0))
    assert all(math.isnan(value) for value in (interval.value, interval.low, interval.high))


def test_equal_seeds_give_equal_intervals_and_curves():
    runs = np.random.default_rng(0).random((5, 7)).cumsum(axis=1)
    one, same, other = (curve_interval(runs, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one[0], runs.mean(axis=0))
    assert (one[1] <= one[0]).all()
    assert (one[0] <= one[2]).all()
