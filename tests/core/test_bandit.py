import numpy as np

from discovery.bandit import Credit, interleaved

VALUES = {"a": np.array([3.0, 2.0, 1.0, 0.0]), "b": np.array([0.0, 1.0, 2.0, 3.0])}


def test_one_acquisition_asks_in_its_own_order():
    picks = interleaved({"a": VALUES["a"]}, {"a": Credit()}, 3, np.random.default_rng(0))
    assert picks == [(0, "a"), (1, "a"), (2, "a")]


def test_every_row_is_picked_once_by_whoever_was_drawn():
    picks = interleaved(VALUES, {"a": Credit(), "b": Credit()}, 9, np.random.default_rng(1))
    assert sorted(row for row, _ in picks) == [0, 1, 2, 3]
    first = {name: next(row for row, who in picks if who == name) for name in {who for _, who in picks}}
    assert all(row == {"a": 0, "b": 3}[name] for name, row in first.items())


def test_the_one_that_found_more_is_asked_more():
    """Thompson sampling of Beta(41, 11) against Beta(11, 41): next to always the first."""
    earned = {"a": Credit(40, 10), "b": Credit(10, 40)}
    picks = [interleaved(VALUES, earned, 1, np.random.default_rng(seed))[0][1] for seed in range(200)]
    assert picks.count("a") > 195


def test_credit_counts():
    assert Credit().after(True).after(False).after(False) == Credit(1, 2)
