import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch

from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError, WeightsError
from discovery.generators.base import SamplingOptions
from discovery.generators.blank_likelihood import left_to_right_scores, next_left_to_right
from discovery.generators.blank_network import (
    SIDES,
    BlankConfig,
    BlankNetwork,
    action_losses,
    blank_loss,
    read_partly,
    writing_ranks,
)
from discovery.generators.blanks import BlankGenerator, blmm, insert
from discovery.templates import Template
from discovery.training import TrainingConfig
from discovery.validity import judge
from discovery.vocabulary import BLANK, FIRST_ELEMENT, MASK, PAD, SIZE, encode
from tests.core.completions import EACH_TEMPLATE, check_completions, written

FORMULAS = ["NaCl", "SrTiO3", "LiFePO4", "Fe2O3", "YBa2Cu3O7"]
LESSONS = FORMULAS[:4]
FREE, CONSTRAINED = SamplingOptions(batch_size=16), SamplingOptions(constrained=True, batch_size=16)
TINY = BlankConfig(layers=2, width=32, heads=2)


def sharp(config):
    """An untrained network with choices that differ, so that errors show."""
    torch.manual_seed(0)
    network = BlankNetwork(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
        network.sides.bias.copy_(torch.tensor([1.0, 0.3, 0.0, -0.5]))  # short sequences
    return network


@pytest.fixture(scope="module")
def generator():
    return BlankGenerator("blmm", sharp(TINY))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    start = BlankGenerator("blmm", BlankNetwork(TINY).eval())
    config = TrainingConfig(epochs=150, peak_learning_rate=5e-3, tokens_per_batch=350)
    return start.fit(LESSONS * 32, (), config)[0]


def test_presets_have_their_sizes():
    small, paper = (sum(p.numel() for p in blmm(preset).network.parameters()) for preset in ("small", "paper"))
    assert 0.8e6 < small < 1.0e6
    assert 18e6 < paper < 21e6
    with pytest.raises(ConfigError, match="divide"):
        BlankConfig(2, 30, 4)
    with pytest.raises(ConfigError, match="share"):
        BlankConfig(2, 32, 4, left_to_right=1.5)


def test_canvases_join_runs_of_unwritten_atoms():
    tokens = torch.tensor([[10, 11, 12, 13, 14], [20, 21, 22, PAD, PAD]])
    hidden = torch.tensor([[True, True, False, True, False], [True, True, True, False, False]])
    reading = read_partly(tokens, hidden)
    assert reading.canvas.tolist() == [[BLANK, 12, BLANK, 14], [BLANK, PAD, PAD, PAD]]
    assert reading.place[0].tolist() == [0, 0, 1, 2, 3]
    assert reading.place[1, :3].tolist() == [0, 0, 0]
    assert reading.sides[hidden].tolist() == [1, 2, 0, 1, 3, 2]


@pytest.mark.parametrize("seed", range(5))
def test_the_actions_of_the_loss_rebuild_the_sequence(seed):
    # following the actions that the loss scores, in any order, writes the sequence: canvas and sides fit together
    torch.manual_seed(seed)
    tokens = torch.tensor([encode(amounts("YBa2Cu3O7"))])
    rank = writing_ranks(tokens, torch.tensor([seed == 0]))
    assert sorted(rank[0].tolist()) == list(range(13))
    assert seed or rank[0].tolist() == list(range(13))
    canvas = np.array([[BLANK]])
    for step in range(13):
        hidden = rank >= step
        reading = read_partly(tokens, hidden)
        assert reading.canvas.tolist() == canvas.tolist()
        at = int(rank[0].argmin()) if step == 0 else int((rank[0] == step).nonzero())
        choice = [np.array([int(x[0, at])]) for x in (reading.place, tokens, reading.sides)]
        canvas = insert(canvas, *choice)
    assert canvas.tolist() == tokens.tolist()


def test_pads_never_come_before_atoms():
    tokens = torch.tensor([[10, 11, 12, PAD, PAD]] * 50)
    rank = writing_ranks(tokens, torch.arange(50) % 2 == 0)
    assert (rank[:, 3:] >= 3).all()
    assert (rank[::2, :3] == torch.arange(3)).all()
    assert len({tuple(row) for row in rank[1::2, :3].tolist()}) == 6


def any_order_log_probability(network, atoms):
    """Sum over all orders, by the three parts of every action: exact."""
    tokens, straight = torch.tensor([atoms]), torch.tensor([False])
    totals = []
    for order in itertools.permutations(range(len(atoms))):
        total = 0.0
        for step, at in enumerate(order):
            hidden = torch.ones_like(tokens, dtype=torch.bool)
            hidden[0, list(order[:step])] = False
            scored = torch.zeros_like(hidden)
            scored[0, at] = True
            with torch.no_grad():
                total -= float(action_losses(network, tokens, (hidden, scored), straight).sum())
        totals.append(total)
    return totals


def test_the_loss_is_the_mean_over_orders_less_their_number(generator):
    network = sharp(dataclasses.replace(TINY, left_to_right=0.0))
    atoms = encode(amounts("Fe2O"))
    expected = -np.mean(any_order_log_probability(network, atoms)) - math.log(math.factorial(3))
    torch.manual_seed(0)
    with torch.no_grad():
        summed, count = blank_loss(network, torch.tensor([atoms] * 6000))
    assert count == 6000 * 4
    assert summed.item() / 6000 == pytest.approx(expected, rel=0.01)
    assert expected >= -np.logaddexp.reduce(any_order_log_probability(network, atoms)), "a bound"


def test_written_from_left_to_right_the_loss_is_the_likelihood():
    network = sharp(dataclasses.replace(TINY, left_to_right=1.0))
    atoms = encode(amounts("Fe2O"))
    tokens, hidden = torch.tensor([atoms]), torch.ones(1, 3, dtype=torch.bool)
    exact = 0.0
    for step in range(3):
        scored = torch.zeros_like(hidden)
        scored[0, step] = True
        with torch.no_grad():
            exact += float(action_losses(network, tokens, (hidden, scored), torch.tensor([True])).sum())
        hidden = hidden.clone()
        hidden[0, step] = False
    torch.manual_seed(0)
    with torch.no_grad():
        summed, _ = blank_loss(network, torch.tensor([atoms] * 3000))
    assert summed.item() / 3000 == pytest.approx(exact, rel=1e-3)
    # conditioned on no blank on the left, it can only be more probable
    assert left_to_right_scores(network, [atoms])[0] > -exact


def test_pads_do_not_change_the_loss(generator):
    rows = torch.tensor([encode(amounts("SrTiO3"))] * 3000)
    wide = torch.nn.functional.pad(rows, (0, 4))
    values = []
    for tokens in (rows, wide):
        torch.manual_seed(0)
        with torch.no_grad():
            values.append(blank_loss(generator.network, tokens)[0].item() / 3000)
    assert values[0] == pytest.approx(values[1], rel=0.02)


def test_probabilities_of_all_sequences_sum_to_one(generator):
    # those of one and two atoms, and the mass that goes on to a third
    network = generator.network
    words = range(FIRST_ELEMENT, SIZE)
    ended = np.exp(left_to_right_scores(network, [[word] for word in words])).sum()
    pairs = [list(pair) for pair in itertools.product(words, repeat=2)]
    ended += np.exp(left_to_right_scores(network, pairs)).sum()
    going_on = 0.0
    first_words, first_next = (table[0] for table in next_left_to_right(network, np.zeros((1, 0), dtype=np.int64)))
    second_words, second_next = next_left_to_right(network, np.array([[word] for word in words]))
    second = np.exp(second_words + second_next[:, :, 1]).sum(axis=1)
    going_on = (np.exp(first_words + first_next[:, 1]) * second).sum()
    assert 0.05 < going_on < 0.95
    assert ended + going_on == pytest.approx(1.0, abs=1e-6)


def test_log_probability_is_deterministic_and_does_not_depend_on_the_company(generator):
    together = generator.log_probability(FORMULAS)
    assert list(together) == list(generator.log_probability(FORMULAS))
    alone = [float(generator.log_probability([formula])[0]) for formula in FORMULAS]
    assert list(together) == pytest.approx(alone, abs=1e-4)
    assert generator.log_probability([]).shape == (0,)
    assert generator.fits("Na20Cl10")
    assert not generator.fits("Na21Cl10")
    assert np.isfinite(generator.log_probability(["Na41Cl20"])[0])


def test_it_learns_to_write_its_lessons(trained):
    samples = trained.sample(200, np.random.default_rng(0), FREE)
    # in any order it is hard to know how many atoms are still to come: near misses such as Fe2O4 remain
    assert np.mean([s.formula in LESSONS for s in samples]) > 0.35
    assert {s.formula for s in samples} >= set(LESSONS)
    assert np.exp(trained.log_probability(LESSONS)).sum() > 0.8
    assert trained.log_probability(LESSONS) == pytest.approx(np.full(4, np.log(0.25)), abs=0.8), "no length is favoured"
    filled = trained.fill(Template.parse("Li ? P O4"), 40, np.random.default_rng(0), FREE)
    assert np.mean([s.formula == "LiFePO4" for s in filled]) > 0.9
    longer = trained.fill(Template.parse("Sr *"), 40, np.random.default_rng(0), FREE)
    assert np.mean([s.formula == "SrTiO3" for s in longer]) > 0.5


def test_fine_tuning_gives_a_new_generator(generator):
    before = generator.log_probability(FORMULAS)
    tuned = generator.fine_tune(FORMULAS * 8, np.random.default_rng(0), epochs=3, learning_rate=1e-3)
    assert tuned.log_probability(FORMULAS).sum() > before.sum()
    assert list(generator.log_probability(FORMULAS)) == list(before), "the old one is unchanged"
    assert tuned.version != generator.version


@pytest.mark.parametrize("options", [FREE, CONSTRAINED])
def test_seeds_decide_and_samples_carry_their_likelihood(generator, options):
    first, again, other = (generator.sample(37, np.random.default_rng(seed), options) for seed in (3, 3, 4))
    assert len(first) == 37
    assert first == again != other
    scores = left_to_right_scores(generator.network, [written(drawn) for drawn in first])
    assert [drawn.log_probability for drawn in first] == pytest.approx(list(scores), abs=1e-3)
    assert generator.sample(0, np.random.default_rng(0), options) == []


def test_free_samples_follow_the_model(generator):
    # share of sequences of one atom against their exact probability: one action that leaves no blank
    network = generator.network
    states = network(torch.tensor([[BLANK]]), torch.tensor([False]))[:, 0]
    with torch.no_grad():
        p = (network.log_what(states)[0].exp() * network.log_sides_of_all(states)[0, :, 0].exp()).sum().item()
    samples = generator.sample(1500, np.random.default_rng(0), SamplingOptions())
    share = np.mean([len(written(drawn)) == 1 for drawn in samples])
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 1500))
    assert max(len(written(drawn)) for drawn in samples) <= 30


def test_constrained_samples_are_valid(generator):
    samples = generator.sample(120, np.random.default_rng(0), CONSTRAINED)
    assert all(judge(s.formula).accepted for s in samples)
    assert all(written(s) == sorted(written(s)) for s in samples)
    assert len({s.formula for s in samples}) > 30


def test_constraints_are_honoured_in_either_mode(generator):
    limits = Constraints(required=frozenset({"O"}), excluded=frozenset({"H"}), max_atoms=6, max_elements=3)
    for constrained in (False, True):
        options = SamplingOptions(constrained=constrained, constraints=limits, batch_size=16)
        samples = generator.sample(40, np.random.default_rng(0), options)
        assert all(limits.violation(amounts(s.formula)) is None for s in samples)
        assert all(judge(s.formula).accepted for s in samples) or not constrained
    small = SamplingOptions(constraints=Constraints(max_atoms=4, max_elements=2))
    for drawn in generator.sample(60, np.random.default_rng(0), small):
        assert len(written(drawn)) <= 4
        assert len(set(written(drawn))) <= 2


@EACH_TEMPLATE
def test_completions_keep_what_is_given(generator, text, constrained):
    check_completions(generator, text, CONSTRAINED if constrained else FREE, left_to_right_scores)


def test_templates_that_cannot_be_completed_are_errors(generator):
    with pytest.raises(ConstraintError, match="0 of 2"):
        generator.fill(Template.parse("K ? Na"), 5, np.random.default_rng(0), CONSTRAINED)


def test_insertion():
    canvas = np.array([[BLANK, 10, MASK], [20, BLANK, PAD]])
    filled = insert(canvas, np.array([0, 1]), np.array([30, 31]), np.array([1, SIDES - 1]))
    assert filled.tolist() == [[30, BLANK, 10, MASK], [20, BLANK, 31, BLANK]]


def test_a_saved_model_loads_the_same(generator, tmp_path):
    generator.with_card({"made": "for tests"}).save(tmp_path)
    loaded = BlankGenerator.load(tmp_path)
    assert loaded.version == generator.version
    assert loaded.card["made"] == "for tests"
    assert loaded.network.config == generator.network.config
    assert loaded.sample(20, np.random.default_rng(0), FREE) == generator.sample(20, np.random.default_rng(0), FREE)
    assert list(loaded.log_probability(FORMULAS)) == list(generator.log_probability(FORMULAS))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))
    with pytest.raises(WeightsError, match="another kind"):
        BlankGenerator.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"width": 64}))
    with pytest.raises(WeightsError, match="does not fit"):
        BlankGenerator.load(tmp_path)
