import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from discovery.constraints import Constraints
from discovery.errors import DataError, WeightsError
from discovery.generators.base import SamplingOptions
from discovery.generators.causal import BART, GPT, GPT2, GPTJ, GPTNEO, causal_loss
from discovery.generators.network import own_weights
from discovery.generators.zoo import load_generator
from discovery.training import TrainingConfig
from discovery.validity import judge
from discovery.vocabulary import END, PAD, SIZE, START, TOKENS

FAMILIES = (GPT, GPT2, GPTNEO, GPTJ, BART)
EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
FORMULAS = ["NaCl", "SrTiO3", "LiFePO4", "Fe2O3", "YBa2Cu3O7"]


pytestmark = pytest.mark.usefixtures("one_thread")


def sharp(family):
    """A small model far from the uniform start and with biases, so that errors of cache and positions show."""
    torch.manual_seed(0)
    generator = family.of_size(layers=3, width=32, heads=2)
    with torch.no_grad():
        for parameter in generator.network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return generator


def parameters(layers, width, family):
    """Weights of a network, counted by hand: w = width; every matrix of a block and its biases and norms."""
    w, vocabulary, context = width, SIZE, 32
    block = 12 * w**2 + 13 * w  # attention 4 w^2 + 4 w, feed-forward 8 w^2 + 5 w, two norms 4 w
    return {
        "gpt": (vocabulary + context) * w + layers * block,  # no last norm
        "gpt2": (vocabulary + context) * w + layers * block + 2 * w,
        "gptneo": (vocabulary + context) * w + layers * (block - 3 * w) + 2 * w,  # query, key, value without bias
        "gptj": vocabulary * w + layers * (block - 6 * w) + 2 * w + vocabulary * (w + 1),  # no biases in attention,
        # one norm a block, no positions, an output layer of its own
        "bart": (vocabulary + context + 2) * w + layers * (block + 4 * w**2 + 6 * w) + 2 * w,  # idle cross-attention
    }[family.name]


@EACH
def test_the_presets_have_the_published_sizes(family):
    published = {"gpt": (12, 180), "gpt2": (8, 180), "gptneo": (12, 180), "gptj": (12, 180), "bart": (10, 128)}
    for preset, (layers, width) in (("small", (4, 128)), ("paper", published[family.name])):
        counted = sum(tensor.numel() for tensor in family.build(preset).network.parameters())
        assert counted == parameters(layers, width, family), preset


@EACH
def test_settings_are_ours(family):
    config = family.build("small").network.config
    assert (config.bos_token_id, config.eos_token_id, config.max_position_embeddings) == (START, END, 32)
    dropouts = {name: value for name, value in config.to_dict().items() if "drop" in name and "summary" not in name}
    assert all(value == 0 for name, value in dropouts.items() if "classifier" not in name), dropouts


@EACH
@pytest.mark.parametrize("constrained", [False, True], ids=["free", "constrained"])
def test_what_a_step_reads_gives_the_likelihood_of_the_whole_sequence(family, constrained):
    generator = sharp(family)
    limits = Constraints(max_atoms=12)
    options = SamplingOptions(constrained=constrained, batch_size=16, constraints=limits, temperature=3.0)
    samples = [s for s in generator.sample(24, np.random.default_rng(0), options) if "<pad>" not in s.sequence]
    assert len({len(s.sequence.split()) for s in samples}) > 2, "rows end at different steps"
    for drawn in samples:
        tokens = torch.tensor([[START, *(TOKENS.index(token) for token in drawn.sequence.split())]])
        with torch.no_grad():
            loss, count = causal_loss(generator.network, tokens)
        assert count == len(drawn.sequence.split())
        assert drawn.log_probability == pytest.approx(-loss.item(), abs=1e-3)
    if constrained:
        assert all(judge(s.formula).accepted for s in samples)


@EACH
def test_later_tokens_and_pads_change_nothing_before_them(family):
    generator = sharp(family)
    tokens = torch.tensor([generator.training_sequence("LiFePO4")])
    changed = tokens.clone()
    changed[0, 4:] = PAD
    with torch.no_grad():
        first, second = (generator.network(input_ids=t).logits[0] for t in (tokens, changed))
    assert torch.allclose(first[:4], second[:4], atol=1e-5)
    assert not torch.allclose(first[4:], second[4:], atol=1e-2)


@EACH
def test_transformers_loads_a_saved_folder_and_gives_the_same_logits(family, tmp_path):
    generator = sharp(family)
    generator.save(tmp_path / "model")
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values()), "no weight is missing or left over"
    tokens = torch.tensor([generator.training_sequence("YBa2Cu3O7")])
    with torch.no_grad():
        assert torch.allclose(theirs(input_ids=tokens).logits, generator.network(input_ids=tokens).logits, atol=1e-5)


@EACH
def test_a_saved_folder_loads_the_same(family, tmp_path):
    generator = sharp(family)
    generator.save(tmp_path / "model")
    loaded = load_generator(str(tmp_path / "model"))
    assert (loaded.name, loaded.version) == (family.name, generator.version)
    assert list(loaded.log_probability(FORMULAS)) == list(generator.log_probability(FORMULAS))
    options = SamplingOptions()
    drawn = [model.sample(8, np.random.default_rng(0), options) for model in (generator, loaded)]
    assert drawn[0] == drawn[1], "decoded in the same way"


@EACH
def test_tied_weights_are_stored_once(family):
    network = family.of_size(1, 16, 2).network
    stored = sum(tensor.numel() for tensor in own_weights(network).values())
    assert stored == sum(tensor.numel() for tensor in network.parameters())


def test_a_folder_of_another_family_is_refused(tmp_path):
    GPT2.of_size(1, 16, 2).save(tmp_path / "model")
    with pytest.raises(WeightsError, match="another kind of model"):
        GPTJ.load(tmp_path / "model")


@EACH
def test_fitting_gives_a_new_model_and_trains_every_weight_that_is_used(family):
    before = family.of_size(2, 16, 2)
    version, config = before.version, TrainingConfig(epochs=2, tokens_per_batch=64, peak_learning_rate=5e-3)
    after, history = before.fit(FORMULAS * 6, FORMULAS, config)
    assert before.version == version != after.version
    assert not after.network.training
    assert history[-1].valid_loss < history[0].valid_loss
    assert (after.log_probability(FORMULAS) > before.log_probability(FORMULAS)).all()
    weights = dict(before.network.named_parameters())
    still = [name for name, weight in after.network.named_parameters() if torch.equal(weight, weights[name])]
    assert all("encoder_attn" in name for name in still), still
    embedding = before.network.get_input_embeddings()
    assert embedding.padding_idx in (None, PAD), "a padding index stops the gradient of what is read"
    assert embedding.weight[START].abs().max() > 0


def test_formulas_that_do_not_fit_are_left_out_and_nothing_else_is_an_error():
    generator = GPT2.of_size(1, 16, 2)
    config = TrainingConfig(epochs=1)
    first, second = (generator.fit(formulas, [], config)[0] for formulas in (["NaCl"], ["NaCl", "Na41Cl20"]))
    assert first.version == second.version
    with pytest.raises(DataError, match="none of 1 formulas"):
        generator.fit(["Na41Cl20"], [], config)
    assert generator.fine_tune(["Na41Cl20"], np.random.default_rng(0), 1, 1e-3) is generator


def test_a_model_moves_to_a_device_as_a_copy():
    generator = GPT2.of_size(1, 16, 2)
    assert generator.on("cpu") is generator
    assert (generator.on("meta").device.type, generator.device.type) == ("meta", "cpu")


@EACH
def test_a_model_on_a_gpu_writes_and_learns_as_on_a_cpu(family):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    generator, config = sharp(family), TrainingConfig(epochs=1, device="cuda")
    moved = generator.on("cuda")
    assert moved.log_probability(FORMULAS) == pytest.approx(generator.log_probability(FORMULAS), abs=0.05)
    assert len(moved.sample(8, np.random.default_rng(0), SamplingOptions(batch_size=4))) == 8
    assert moved.fine_tune(FORMULAS, np.random.default_rng(0), 1, 1e-3).device.type == "cuda"
    assert generator.fit(FORMULAS, FORMULAS, config)[0].device.type == "cpu"
