"""The yield: a closed form on samples whose kinds are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from discovery.generators.base import SamplingOptions
from discovery.records import Sample
from tests.core.small_search import small_supplies
from tune.scoring import Finds, score


@dataclass(frozen=True)
class Written:
    """A generator that writes a list."""

    formulas: tuple[str | None, ...]
    name: str = "list"

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        return [Sample("", formula, 0.0) for formula in (self.formulas * n)[:n]]


# NaCl: trained on; LiF, CsCl: held out; KF, NaF, RbF: new and valid; Na2Cl: new, invalid; None: unreadable
WRITTEN = Written(("NaCl", "NaCl", "LiF", "LiF", "CsCl", "KF", "NaF", "RbF", "Na2Cl", None))


def test_finds_are_counted_once_and_by_kind() -> None:
    everything = score(WRITTEN, small_supplies(tolerance=10.0), SamplingOptions(), (20, 20), seed=0)
    assert everything["new_valid"] == everything["promising"] == 3
    assert everything["recovered"] == 2
    assert everything["recovery"] == 1.0
    assert everything["yield"] == pytest.approx(1000 * math.sqrt(3 * 2) / 20)
    assert everything["charge_neutral"] == pytest.approx(8 / 10)
    nothing = replace(small_supplies(), judge=replace(small_supplies().judge, tolerance=-10.0))
    found = score(WRITTEN, nothing, SamplingOptions(), (20, 20), seed=0)
    assert (found["promising"], found["yield"], found["recovered"]) == (0, 0.0, 2)


def test_only_the_first_samples_are_judged_by_their_energies() -> None:
    supplies = small_supplies(tolerance=10.0)
    later = Written(("NaCl",) * 10 + ("KF", "LiF") * 5)
    found = score(later, supplies, SamplingOptions(), (20, 10), seed=0)
    assert (found["promising"], found["recovered"], found["samples"], found["judged"]) == (0, 1, 20, 10)
    found = score(later, supplies, SamplingOptions(), (20, 11), seed=0)
    assert found["yield"] == pytest.approx(1000 * math.sqrt(1 / 11 * 1 / 20))


def test_what_the_reference_knows_is_not_new() -> None:
    supplies = small_supplies(tolerance=10.0)
    known = replace(supplies, judge=replace(supplies.judge, known=frozenset({"KF", "NaF"})))
    assert score(WRITTEN, known, SamplingOptions(), (10, 10), seed=0)["promising"] == 1


def test_the_interval_holds_the_yield_and_narrows_with_samples() -> None:
    widths = []
    for times in (1, 25):
        finds = Finds(400 * times, 100 * times, 20 * times, 20 * times)
        low, high = finds.interval(np.random.default_rng(0))
        assert finds.value == pytest.approx(100.0)
        assert low < 100.0 < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(5.0, rel=0.1)  # one over the root of the samples
    assert Finds(100, 100, 0, 50).interval(np.random.default_rng(0)) == (0.0, 0.0)
