"""Labels that a potential undercuts: which are doubted, what is counted, by hand."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmarks.doubtful_labels import Comparison, compared, summary
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement

FORMULAS = ("NaCl", "KCl", "LiF", "MgO", "CaO", "NaF", "KF")
LABELS = np.array([1.0, 0.5, -2.0, -3.0, -3.0, -2.5, 0.0])
PREDICTED = np.array([-2.0, -2.0, -2.05, -2.95, -3.5, -2.5, -2.0])
FOUND = {"NaCl": -2.1, "KCl": 0.4, "LiF": -2.0, "MgO": -3.1, "NaF": -2.45}  # eV/atom; KF fails, CaO has no prototype
OPTIONS = argparse.Namespace(above=0.3, seed=0)


class Found:
    name, scheme = "found", "made-up"

    def can_measure(self, formula: str) -> bool:
        return formula != "CaO"

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        if formula not in FOUND:
            return Failure(formula, "found", "not converged", "", 0.0)
        return Measurement(formula, "found", "made-up", FOUND[formula], prototype="Halite")


def test_far_above_the_prediction_is_doubted_and_as_many_near_it_are_the_control() -> None:
    found = compared(FORMULAS, LABELS, PREDICTED, Found(), OPTIONS)
    assert [one.formula for one in found["doubted"]] == ["NaCl", "KCl", "KF"]
    assert sorted(one.formula for one in found["control"]) == ["LiF", "MgO", "NaF"]
    assert found["doubted"][0] == Comparison("NaCl", 1.0, -2.0, -2.1, "Halite")
    assert found["doubted"][2] == Comparison("KF", 0.0, -2.0, None, "not converged")


def test_an_undercut_label_is_counted_and_left_out_of_the_error() -> None:
    found = compared(FORMULAS, LABELS, PREDICTED, Found(), OPTIONS)
    error = np.abs(LABELS - PREDICTED)
    result = summary(FORMULAS, error, found, 0.25)
    none = {"undercut_and_in_the_second": 0, "confirmed_by_the_second": 0}
    assert result["doubted"] == {"asked": 3, "relaxed": 2, "undercut": 1, **none}
    assert result["control"] == {"asked": 3, "relaxed": 3, "undercut": 0, **none}
    assert result["mae"]["all"]["mae"] == pytest.approx(error.mean(), abs=1e-4)
    assert result["mae"]["without the undercut"] == {"n": 6, "mae": pytest.approx(error[1:].mean(), abs=1e-4)}
    assert result["mae"]["undercut"] == {"n": 1, "mae": 3.0}
    assert result["prediction_against_potential_of_the_undercut"] == pytest.approx(0.1)
    assert summary(FORMULAS, error, found, 9.0)["mae"]["undercut"] == {"n": 0, "mae": None}


@pytest.mark.parametrize(("second", "held", "confirmed"), [(-1.9, 1, 1), (0.9, 1, 0), (None, 0, 0)])
def test_another_database_confirms_what_it_has_as_low(second: float | None, held: int, confirmed: int) -> None:
    one = Comparison("NaCl", 1.0, -2.0, -2.1, "Halite").beside(second)
    other = Comparison("KCl", 0.5, -2.0, 0.4, "Halite").beside(-2.0)  # as low, but the potential does not say so
    result = summary(("NaCl", "KCl"), np.ones(2), {"doubted": [one, other], "control": []}, 0.25)["doubted"]
    assert (result["undercut_and_in_the_second"], result["confirmed_by_the_second"]) == (held, confirmed)
