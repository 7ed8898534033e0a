import numpy as np
import pytest
from scipy.special import ndtr

from discovery.errors import ConfigError
from discovery.fidelity import (
    NOISE,
    Costs,
    Question,
    Rung,
    costs_from,
    expected_gain,
    fused,
    learned_rung,
    total,
    worth_a_look,
)

RUNG = Rung(bias=0.02, noise=0.1)


def test_costs_are_read_and_add_up():
    costs = costs_from("potential=1, dft=1000")
    assert costs == Costs(potential=1.0, dft=1000.0)
    assert costs.rungs == ("potential",)
    assert costs_from("potential=10,unrelaxed=1,dft=1000").rungs == ("unrelaxed", "potential")
    assert total(costs, {"potential": 30, "dft": 2}) == 2030.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("potential", "cannot be read: write potential=1,dft=1000"),
        ("potential=one", "cannot be read"),
        ("vasp=3", "knows no 'vasp'"),
        ("dft=0", "must be positive"),
        ("potential=5,dft=5", "below dft=5"),
        ("potential=-1,dft=5", "from 0 to below"),
    ],
)
def test_bad_costs_are_told_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message):
        costs_from(text)


def test_a_look_and_a_belief_weigh_by_their_precision():
    mean, std = fused(np.array([0.3, 0.3]), np.array([0.1, 0.1]), np.array([0.12, np.nan]), RUNG)
    assert mean == pytest.approx([0.2, 0.3])  # halfway to 0.12 - 0.02
    assert std == pytest.approx([0.1 / np.sqrt(2), 0.1])


def test_a_rung_learns_its_bias_and_noise_from_pairs():
    assert learned_rung("potential", []) == Rung(0.0, pytest.approx(NOISE["potential"]))
    told = learned_rung("potential", np.random.default_rng(0).normal(0.2, 0.03, size=4000))
    assert told.bias == pytest.approx(0.2, abs=0.005)
    assert told.noise == pytest.approx(0.03, abs=0.005)
    few = learned_rung("potential", [0.2])
    assert 0.0 < few.bias < 0.1  # shrunk


def test_the_expected_gain_is_that_of_simulated_looks():
    question = Question(np.array([0.1, -0.05]), np.array([0.15, 0.08]), tolerance=0.0, batch=1)
    edge, inside = np.array([0.4, 0.4]), np.array([False, True])
    rng = np.random.default_rng(0)
    truth = question.above_hull + question.std * rng.standard_normal((200_000, 2))
    looks = truth + RUNG.bias + RUNG.noise * rng.standard_normal(truth.shape)
    mean, std = fused(question.above_hull, question.std, looks, RUNG)
    chance = ndtr(-mean / std)
    simulated = np.maximum(np.where(inside, edge - chance, chance - edge), 0.0).mean(axis=0)
    assert expected_gain(question, RUNG, edge, inside) == pytest.approx(simulated, abs=2e-3)


def test_looks_pay_where_they_can_change_the_batch_and_are_cheap():
    above = np.array([-0.3, 0.0, 0.01, 0.02, 2.0])
    question = Question(above, np.full(5, 0.1), tolerance=0.0, batch=2)
    rows = worth_a_look(question, RUNG, cost=1.0, dear=1000.0)
    assert set(rows.tolist()) >= {1, 2, 3}  # around the edge of the batch
    assert 4 not in rows  # hopeless
    assert len(worth_a_look(question, RUNG, cost=1000.0, dear=1001.0)) == 0
    assert len(worth_a_look(Question(above, np.full(5, 0.1), 0.0, 5), RUNG, 1.0, 1000.0)) == 0  # all are asked anyway
