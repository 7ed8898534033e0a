import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError, WeightsError
from discovery.generators.base import SamplingOptions
from discovery.generators.causal import GPT2, training_sequence
from discovery.generators.zoo import build, load_generator
from discovery.validity import judge

CONSTRAINED = SamplingOptions(constrained=True, batch_size=16)
FORMULAS = ["NaCl", "SrTiO3", "LiFePO4", "Fe2O3", "YBa2Cu3O7"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    untrained = GPT2.of_size(layers=2, width=32, heads=2)
    with torch.no_grad():  # sharper than the uniform start, so that errors of the cache show
        for parameter in untrained.network.parameters():
            parameter.mul_(2.0 if parameter.ndim > 1 else 1.0)
    return untrained


@pytest.fixture
def folder(generator, tmp_path):
    generator.save(tmp_path / "model")
    return tmp_path / "model"


def test_log_probability_is_that_of_the_sequence_drawn(generator):
    for drawn in generator.sample(40, np.random.default_rng(0), CONSTRAINED):
        if len(drawn.sequence.split()) == len(training_sequence(drawn.formula)) - 1:  # else written as a multiple
            assert generator.log_probability([drawn.formula])[0] == pytest.approx(drawn.log_probability, abs=1e-3)


def test_probabilities_of_all_first_tokens_sum_to_one(generator):
    total = 0.0
    tokens = torch.tensor([[1]])
    with torch.no_grad():
        total = torch.softmax(generator.network(input_ids=tokens).logits[0, -1].double(), -1).sum().item()
    assert total == pytest.approx(1.0)


def test_log_probability_does_not_depend_on_the_company(generator):
    together = generator.log_probability(FORMULAS)
    alone = [float(generator.log_probability([formula])[0]) for formula in FORMULAS]
    assert list(together) == pytest.approx(alone, abs=1e-4)
    assert generator.log_probability([]).shape == (0,)


def test_too_long_formulas_get_their_mean_times_their_length(generator):
    assert generator.fits("Na20Cl10")
    assert not generator.fits("Na41Cl20")
    value = float(generator.log_probability(["Na41Cl20"])[0])
    tokens = torch.tensor([training_sequence("Na41Cl20")[:33]])
    with torch.no_grad():
        logs = torch.log_softmax(generator.network(input_ids=tokens[:, :-1]).logits[0], -1)
    mean = logs[torch.arange(32), tokens[0, 1:]].mean().item()
    assert value == pytest.approx(mean * 62, rel=1e-4)


def test_seeds_decide_and_batches_are_exact(generator):
    draw = [generator.sample(37, np.random.default_rng(s), CONSTRAINED) for s in (3, 3, 4)]
    assert len(draw[0]) == 37
    assert draw[0] == draw[1] != draw[2]
    assert all(judge(s.formula).accepted for s in draw[0])


def test_fine_tuning_gives_a_new_generator_that_likes_its_lessons(generator):
    before = generator.version, generator.log_probability(FORMULAS)
    tuned = generator.fine_tune(FORMULAS * 8, np.random.default_rng(0), epochs=3, learning_rate=1e-3)
    assert (tuned.log_probability(FORMULAS) > before[1]).all()
    assert tuned.version != before[0]
    assert generator.version == before[0]
    assert list(generator.log_probability(FORMULAS)) == list(before[1]), "the old one is unchanged"
    again = generator.fine_tune(FORMULAS * 8, np.random.default_rng(0), epochs=3, learning_rate=1e-3)
    assert again.version == tuned.version


def test_a_saved_model_loads_the_same(generator, folder):
    loaded = load_generator(str(folder))
    assert loaded.version == generator.version
    assert loaded.name == "gpt2"
    assert list(loaded.log_probability(FORMULAS)) == list(generator.log_probability(FORMULAS))
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "config.json", "model.safetensors"]


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def swap_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_embd": 64}))


def foreign_tokens(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tokens": ["a"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "truncated"),
        (lambda folder: (folder / "model.safetensors").unlink(), "missing"),
        (lambda folder: (folder / "config.json").unlink(), "missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), "no JSON object"),
        (lambda folder: (folder / "model.safetensors").write_text("hello"), "no weight file"),
        (swap_config, "does not fit"),
        (foreign_tokens, "another kind of model"),
        (lambda folder: (folder / "card.json").write_text('{"model": "other"}'), "another kind of model"),
        (shutil.rmtree, "no generator"),
    ],
)
def test_damaged_folders_are_one_line_errors(folder, damage, message):
    damage(folder)
    with pytest.raises((ConfigError, WeightsError), match=message) as error:
        load_generator(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["random", "pseudo-random"])
def test_baselines_honour_constraints_and_seeds(name, tmp_path):
    baseline = load_generator(name)
    limits = Constraints(
        required=frozenset({"O"}), excluded=frozenset({"H"}), max_atoms=9, max_elements=3, allowed=None
    )
    options = SamplingOptions(constraints=limits)
    samples = baseline.sample(200, np.random.default_rng(0), options)
    assert len(samples) == 200
    assert all(limits.violation(amounts(s.formula)) is None for s in samples)
    assert all(len(amounts(s.formula)) >= 2 for s in samples)
    assert samples == baseline.sample(200, np.random.default_rng(0), options)
    assert samples != baseline.sample(200, np.random.default_rng(1), options)
    assert list(baseline.log_probability(["NaCl", "MgO"])) == [0.0, 0.0]
    assert baseline.fine_tune(["NaCl"], np.random.default_rng(0), 1, 1e-3) is baseline
    baseline.save(tmp_path)
    assert load_generator(str(tmp_path)).version == name


def test_pseudo_random_compositions_are_all_valid_and_random_ones_mostly_not():
    options = SamplingOptions()
    balanced = load_generator("pseudo-random").sample(300, np.random.default_rng(0), options)
    assert all(judge(s.formula).accepted for s in balanced)
    assert len({s.formula for s in balanced}) > 280
    arbitrary = load_generator("random").sample(300, np.random.default_rng(0), options)
    assert np.mean([judge(s.formula).accepted for s in arbitrary]) < 0.4


def test_baselines_keep_to_a_chemical_system():
    options = SamplingOptions(constraints=Constraints.from_chemical_system("Li-Fe-O"))
    for name in ("random", "pseudo-random"):
        samples = load_generator(name).sample(30, np.random.default_rng(0), options)
        assert {frozenset(amounts(s.formula)) for s in samples} == {frozenset({"Li", "Fe", "O"})}


def test_impossible_constraints_of_baselines():
    metals = SamplingOptions(constraints=Constraints(allowed=frozenset({"Na", "K"})))
    with pytest.raises(ConstraintError, match="no charge-neutral"):
        load_generator("pseudo-random").sample(1, np.random.default_rng(0), metals)
    one = SamplingOptions(constraints=Constraints(allowed=frozenset({"O"})))
    for generator in (load_generator("random"), build("gpt2", "small")):
        with pytest.raises(ConstraintError, match="only O may occur"):
            generator.sample(1, np.random.default_rng(0), one)


def test_generators_are_immutable(generator):
    with pytest.raises(dataclasses.FrozenInstanceError):
        generator.name = "other"
