import numpy as np
import pytest
from scipy import stats

from discovery.surrogates.drift import ALPHA, PRIOR_WIDTH, SCALES, Watch, report


def errors(rng: np.random.Generator, n: int, freedom: float, scale: float = 1.0) -> np.ndarray:
    """Errors over their promised standard deviation, `scale` times as wide as promised."""
    return scale * rng.standard_t(freedom, n) * np.sqrt((freedom - 2.0) / freedom)


def test_without_labels_there_is_no_evidence() -> None:
    assert Watch().evidence == pytest.approx(1.0)
    assert Watch().scale == pytest.approx(1.0, abs=0.01)
    assert not Watch().drifted
    assert report([]) == {}


def test_evidence_is_the_integral_over_the_prior() -> None:
    z = np.array([0.3, -2.0, 4.0])  # nearly normal: the likelihood ratio of width s is s^-n exp((1 - s^-2) z.z / 2)
    log_s = np.linspace(np.log(SCALES[0]), np.log(SCALES[-1]), 20001)
    ratio = np.exp(-len(z) * log_s + 0.5 * (1 - np.exp(-2 * log_s)) * (z @ z))
    expected = np.trapezoid(ratio * stats.norm.pdf(log_s, scale=PRIOR_WIDTH), log_s)
    assert Watch().after(z, 1e7).evidence == pytest.approx(expected, rel=2e-3)  # the ends are cut off


def test_evidence_adds_up_over_rounds() -> None:
    z = errors(np.random.default_rng(0), 40, 4.0, 1.5)
    parts = Watch()
    for part in np.split(z, 5):
        parts = parts.after(part, 4.0)
    whole = Watch().after(z, 4.0)
    assert parts.n == whole.n == 40
    assert parts.log_ratios == pytest.approx(whole.log_ratios)


def test_false_alarms_are_rare_however_often_one_looks() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        watch = Watch()
        for _ in range(10):
            watch = watch.after(errors(rng, 16, 4.0), 4.0)
            if watch.drifted:
                alarms += 1
                break
    assert alarms / 300 <= ALPHA


@pytest.mark.parametrize("scale", [0.4, 2.0, 3.0])
def test_drift_is_seen_within_a_few_rounds_and_measured(scale: float) -> None:
    rng = np.random.default_rng(2)
    watch, rounds = Watch(), 0
    while not watch.drifted:
        watch, rounds = watch.after(errors(rng, 16, 4.0, scale), 4.0), rounds + 1
    assert rounds <= 5
    for _ in range(20):
        watch = watch.after(errors(rng, 16, 4.0, scale), 4.0)
    assert watch.scale == pytest.approx(scale, rel=0.15)


def test_report_shows_the_scheme_with_the_strongest_evidence() -> None:
    calm, wide = Watch().after(np.full(8, 0.5), 5.0), Watch().after(np.full(8, 6.0), 5.0)
    assert report([calm])["calibration_factor"] == 1.0
    seen = report([calm, wide])
    assert seen["calibration_labels"] == 8
    assert seen["calibration_evidence"] == pytest.approx(wide.evidence)
    assert seen["calibration_factor"] == pytest.approx(wide.scale)
    assert wide.scale > 3
