import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.errors import ConstraintError, WeightsError
from discovery.generators.base import SamplingOptions
from discovery.generators.gaps import Limits
from discovery.generators.masked import MaskedGenerator, closed, roberta, unmask
from discovery.generators.masked_network import (
    MAX_ATOMS,
    element_log_probability,
    left_to_right_scores,
    log_length,
    masked_loss,
    untrained,
)
from discovery.templates import Template
from discovery.training import TrainingConfig, pad
from discovery.validity import judge
from discovery.vocabulary import BLANK, END, FIRST_ELEMENT, MASK, SIZE, encode
from tests.core.completions import EACH_TEMPLATE, check_completions, written

FORMULAS = ["NaCl", "SrTiO3", "LiFePO4", "Fe2O3", "YBa2Cu3O7"]
FREE, CONSTRAINED = SamplingOptions(batch_size=16), SamplingOptions(constrained=True, batch_size=16)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    network = untrained(layers=2, width=32, heads=2)
    network.config.length_counts = [0.0, 3.0, 4.0, 3.0, 2.0, 2.0, 1.0, 1.0] + [0.0] * (MAX_ATOMS - 8)
    with torch.no_grad():  # sharper than the uniform start
        for parameter in network.parameters():
            parameter.mul_(3.0 if parameter.ndim > 1 else 1.0)
    return MaskedGenerator("roberta", network)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    start = MaskedGenerator("roberta", untrained(layers=2, width=32, heads=2))
    config = TrainingConfig(epochs=150, peak_learning_rate=5e-3, tokens_per_batch=400)
    return start.fit(FORMULAS * 8, (), config)[0]


def test_presets_have_their_sizes():
    small, paper = (sum(p.numel() for p in roberta(preset).network.parameters()) for preset in ("small", "paper"))
    assert 0.8e6 < small < 1.0e6
    assert 3e6 < paper < 5e6


def test_every_order_gives_a_distribution_over_the_sequences_of_a_length(generator):
    pairs = [list(pair) for pair in itertools.product(range(FIRST_ELEMENT, SIZE), repeat=2)]
    total = np.exp(left_to_right_scores(generator.network, pairs)).sum()
    assert total == pytest.approx(math.exp(log_length(generator.network)[1]), rel=1e-6)
    assert np.exp(log_length(generator.network)).sum() == pytest.approx(1.0)


def test_the_likelihood_is_the_product_of_the_steps(generator):
    atoms = encode(amounts("SrTiO3"))
    total = log_length(generator.network)[4]
    for place in range(5):
        tokens = torch.tensor([[*atoms[:place], *[MASK] * (5 - place), END]])
        with torch.no_grad():
            logits = generator.network(input_ids=tokens).logits[0, place, FIRST_ELEMENT:]
        total += torch.log_softmax(logits.double(), -1)[atoms[place] - FIRST_ELEMENT].item()
    assert generator.log_probability(["SrTiO3"])[0] == pytest.approx(total, abs=1e-5)


def test_log_probability_is_deterministic_and_does_not_depend_on_the_company(generator):
    together = generator.log_probability(FORMULAS)
    assert list(together) == list(generator.log_probability(FORMULAS))
    alone = [float(generator.log_probability([formula])[0]) for formula in FORMULAS]
    assert list(together) == pytest.approx(alone, abs=1e-4)
    assert generator.log_probability([]).shape == (0,)
    assert generator.fits("Na20Cl10")
    assert not generator.fits("Na41Cl20")
    assert np.isfinite(generator.log_probability(["Na41Cl20"])[0])


def test_the_loss_is_the_mean_over_all_orders(generator):
    # two atoms have two orders: -ln p(n) - the mean over both of ln p(first) + ln p(second | first)
    a, b = encode({"Na": 1, "Cl": 1})
    network = generator.network

    def step(canvas, place, token):
        return element_log_probability(network, np.array([canvas]), np.array([place]))[0, token - FIRST_ELEMENT]

    forward = step([MASK, MASK], 0, a) + step([a, MASK], 1, b)
    backward = step([MASK, MASK], 1, b) + step([MASK, b], 0, a)
    expected = -log_length(network)[1] - (forward + backward) / 2
    torch.manual_seed(0)
    with torch.no_grad():
        summed, count = masked_loss(network, torch.tensor([[a, b, END]] * 4000))
    assert count == 4000 * 3
    assert summed.item() / 4000 == pytest.approx(expected, abs=0.02)


def test_pads_do_not_change_the_loss(generator):
    rows = torch.tensor([generator.training_sequence("NaCl")] * 64)
    wide = torch.nn.functional.pad(rows, (0, 5))
    losses = []
    for tokens in (rows, wide):
        values = []
        for seed in range(20):
            torch.manual_seed(seed)
            with torch.no_grad():
                values.append(masked_loss(generator.network, tokens)[0].item() / 64)
        losses.append(np.mean(values))
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_it_learns_to_write_its_lessons(trained):
    samples = trained.sample(200, np.random.default_rng(0), FREE)
    assert np.mean([s.formula in FORMULAS for s in samples]) > 0.5  # a few hundred steps; by chance none would be
    assert {s.formula for s in samples} >= set(FORMULAS[:4])  # 13 atoms in random order take longer to learn
    assert np.exp(trained.log_probability(FORMULAS)).sum() > 0.8
    assert trained.log_probability(["SrTiO3"])[0] > trained.log_probability(["SrZrO3"])[0] + 2


def test_lengths_come_from_the_training_formulas(trained):
    counts = np.array(trained.network.config.length_counts)
    assert {int(n) + 1: counts[n] for n in np.flatnonzero(counts)} == {2: 8, 5: 16, 7: 8, 13: 8}
    lengths = [len(s.sequence.split()) - 1 for s in trained.sample(300, np.random.default_rng(0), FREE)]
    assert np.mean(np.array(lengths) == 5) == pytest.approx(16 / 40, abs=0.08)


def test_what_was_learned_of_lengths_fades_as_more_is_read(trained):
    tuned = trained.fine_tune(["NaCl"] * 20, np.random.default_rng(0), epochs=1, learning_rate=1e-4)
    assert tuned.network.config.length_counts[1] == 28
    assert trained.network.config.length_counts[1] == 8, "the old one is unchanged"
    assert tuned.version != trained.version
    assert trained.fine_tune(["Na41Cl20"], np.random.default_rng(0), 1, 1e-4) is trained


@pytest.mark.parametrize("options", [FREE, CONSTRAINED])
def test_seeds_decide(generator, options):
    first, again, other = (generator.sample(37, np.random.default_rng(seed), options) for seed in (3, 3, 4))
    assert len(first) == 37
    assert first == again != other
    assert generator.sample(0, np.random.default_rng(0), options) == []


def test_free_samples_carry_the_log_probability_of_their_order(generator):
    # one unmasking of a single gap: the value is that of the one step
    atoms = np.array([[*encode(amounts("SrTiO3"))]] * 5)
    atoms[:, 1] = MASK
    limits = Limits.of(Constraints(), MAX_ATOMS, ordered=False)
    filled, values = unmask(generator.network, atoms, (np.random.default_rng(0), 1.0), limits)
    table = element_log_probability(generator.network, atoms, np.full(5, 1))
    assert values == pytest.approx([table[row, filled[row, 1] - FIRST_ELEMENT] for row in range(5)])
    assert (np.delete(filled, 1, axis=1) == np.delete(atoms, 1, axis=1)).all()


def test_constrained_samples_are_valid_and_carry_their_likelihood(generator):
    samples = generator.sample(80, np.random.default_rng(0), CONSTRAINED)
    assert all(judge(s.formula).accepted for s in samples)
    assert len({s.formula for s in samples}) > 30
    for drawn in samples:
        assert written(drawn) == sorted(written(drawn))
        scores = left_to_right_scores(generator.network, [written(drawn)])
        assert drawn.log_probability == pytest.approx(scores[0], abs=1e-4)


def test_constraints_are_honoured_in_either_mode(generator):
    limits = Constraints(required=frozenset({"O"}), excluded=frozenset({"H"}), max_atoms=6, max_elements=3)
    for constrained in (False, True):
        options = SamplingOptions(constrained=constrained, constraints=limits, batch_size=64)
        samples = generator.sample(40, np.random.default_rng(0), options)
        assert all(limits.violation(amounts(s.formula)) is None for s in samples)
        assert all(len(s.sequence.split()) <= 7 for s in samples)
        assert all(judge(s.formula).accepted for s in samples) or not constrained
    small = SamplingOptions(constraints=Constraints(max_atoms=4, max_elements=2))
    for drawn in generator.sample(60, np.random.default_rng(0), small):
        atoms = drawn.sequence.split()[:-1]
        assert len(atoms) <= 4
        assert len(set(atoms)) <= 2
    metals = SamplingOptions(constrained=True, constraints=Constraints(allowed=frozenset({"Na", "K"})))
    with pytest.raises(ConstraintError, match="no charge-neutral"):
        generator.sample(1, np.random.default_rng(0), metals)


def test_a_chemical_system_that_needs_many_atoms(generator):
    system = SamplingOptions(constrained=True, constraints=Constraints.from_chemical_system("Y-Ba-Cu-O"), batch_size=16)
    samples = generator.sample(20, np.random.default_rng(0), system)
    assert {frozenset(amounts(s.formula)) for s in samples} == {frozenset({"Y", "Ba", "Cu", "O"})}
    assert all(judge(s.formula).accepted for s in samples)


@EACH_TEMPLATE
def test_completions_keep_what_is_given(generator, text, constrained):
    check_completions(generator, text, CONSTRAINED if constrained else FREE, left_to_right_scores)


def test_templates_that_cannot_be_completed_are_errors(generator):
    with pytest.raises(ConstraintError, match="0 of 2"):
        generator.fill(Template.parse("K ? Na"), 5, np.random.default_rng(0), CONSTRAINED)
    nothing_between = SamplingOptions(constraints=Constraints(allowed=frozenset({"Li", "O", "Cs"}), max_elements=2))
    samples = generator.fill(Template.parse("Li ? O"), 5, np.random.default_rng(0), nothing_between)
    assert {s.formula for s in samples} <= {"Li2O", "LiO2"}


def test_gaps_are_shared_out():
    rng = np.random.default_rng(0)
    canvas = (BLANK, 20, BLANK, MASK, 30)
    drawn = [closed(canvas, 9, rng) for _ in range(50)]
    assert all(len(row) == 9 and row.count(MASK) == 7 and row[-1] == 30 for row in drawn)
    assert {row.index(20) for row in drawn} == {1, 2, 3, 4, 5}
    assert closed((20, MASK, 30), 3, rng) == [20, MASK, 30]


def test_a_saved_model_loads_the_same_here_and_in_transformers(generator, tmp_path):
    generator.with_card({"made": "for tests"}).save(tmp_path)
    loaded = MaskedGenerator.load(tmp_path)
    assert loaded.version == generator.version
    assert loaded.card["made"] == "for tests"
    assert loaded.sample(20, np.random.default_rng(0), FREE) == generator.sample(20, np.random.default_rng(0), FREE)
    assert list(loaded.log_probability(FORMULAS)) == list(generator.log_probability(FORMULAS))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path)
    tokens = torch.tensor([[*encode(amounts("SrTiO3"))[:2], MASK, MASK, MASK, END]])
    with torch.no_grad():
        assert torch.allclose(theirs(input_ids=tokens).logits, generator.network(input_ids=tokens).logits, atol=1e-5)


def test_foreign_folders_are_turned_down(generator, tmp_path):
    generator.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))
    with pytest.raises(WeightsError, match="another kind"):
        MaskedGenerator.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(WeightsError, match="does not fit"):
        MaskedGenerator.load(tmp_path)


def test_generators_are_immutable(generator):
    with pytest.raises(dataclasses.FrozenInstanceError):
        generator.name = "other"


def test_training_sequences_are_atoms_and_an_end(generator):
    assert generator.training_sequence("SrTiO3") == [*encode({"Sr": 1, "Ti": 1, "O": 3}), END]
    assert pad([generator.training_sequence(f) for f in FORMULAS]).shape == (5, 14)
