import numpy as np
import pytest

from discovery.surrogates.calibration import (
    SchemeCalibration,
    coverage,
    fit,
    interval_multiplier,
    miscalibration_area,
    negative_log_likelihood,
)


def test_multipliers_are_the_published_quantiles() -> None:
    # t tables: t(0.95, 5) = 2.0150; standard deviation of a t with 5 degrees is sqrt(5/3)
    assert interval_multiplier(0.9, 5.0) == pytest.approx(2.0150 / np.sqrt(5.0 / 3.0), rel=1e-4)
    assert interval_multiplier(0.95, 1e6) == pytest.approx(1.95996, rel=1e-4)  # normal


def test_likelihood_of_a_nearly_normal_distribution_is_the_closed_form() -> None:
    error = np.array([0.0, 0.1, -0.2])
    normal = 0.5 * np.log(2 * np.pi * 0.01) + np.mean(error**2) / 0.02
    assert negative_log_likelihood(error, np.full(3, 0.1), 1e6) == pytest.approx(normal, abs=1e-4)


def test_fit_finds_the_factors_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    epistemic, aleatoric = rng.uniform(0.01, 0.2, 20000), rng.uniform(0.01, 0.2, 20000)
    std = np.hypot(2.0 * epistemic, 0.5 * aleatoric)
    error = std * rng.standard_t(6, 20000) * np.sqrt(4 / 6)  # t of 6 degrees, scaled to std 1
    found = fit(error, epistemic, aleatoric)
    assert found.epistemic_factor == pytest.approx(2.0, rel=0.06)
    assert found.aleatoric_factor == pytest.approx(0.5, rel=0.2)
    assert found.degrees_of_freedom == pytest.approx(6.0, rel=0.2)
    assert found.n == 20000
    calibrated = np.hypot(*found.apply(epistemic, aleatoric))
    shares = coverage(error, calibrated, found.degrees_of_freedom)
    for level, share in shares.items():
        assert share == pytest.approx(level, abs=0.01)
    assert miscalibration_area(error, calibrated, found.degrees_of_freedom) < 0.01


def test_miscalibration_of_far_too_narrow_intervals_is_a_half() -> None:
    error, std = np.full(100, 10.0), np.full(100, 1e-3)
    assert miscalibration_area(error, std, 30.0) == pytest.approx(0.5, abs=0.01)
    assert set(coverage(error, std, 30.0).values()) == {0.0}


def test_parts_stay_apart() -> None:
    epistemic, aleatoric = SchemeCalibration(2.0, 3.0, 5.0, 1).apply(np.array([0.1]), np.array([0.2]))
    assert epistemic[0] == pytest.approx(0.2)
    assert aleatoric[0] == pytest.approx(0.6)
