import json

import numpy as np
import pytest
import torch

from benchmarks.likelihood_ranking import trained_without
from discovery import datasets
from discovery import train as command
from discovery.errors import ConfigError, DataError, WeightsError
from discovery.generators.zoo import FAMILIES, build, load_generator
from discovery.validity import judge
from tests.small import small_generator

ELEMENTS = ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn")
FORMULAS = [f"{a}{n}{x}" for a in ELEMENTS for n in (1, 2, 3) for x in ("F", "Cl", "Br", "I", "O2")]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def options(tmp_path):
    data = tmp_path / "formulas.txt"
    data.write_text("\n".join(FORMULAS))
    return ["--data", str(data), "--out", str(tmp_path / "model"), "--threads", "1"]


def card(tmp_path):
    return json.loads((tmp_path / "model" / "card.json").read_text())


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_trains_and_loads(name, options, tmp_path, capsys):
    assert command.main(["--model", name, "--epochs", "1", *options]) == 0
    trained = load_generator(str(tmp_path / "model"))
    assert trained.name == name
    assert trained.version == card(tmp_path)["version"]
    assert card(tmp_path)["preset"] == "small"
    assert "epoch 1/1" in capsys.readouterr().out


def test_the_card_says_how_the_model_was_made(options, tmp_path):
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    data = card(tmp_path)["data"]
    assert data["rows"] == data["train"] + data["valid"] + data["test"] == 150
    assert "--epochs 1" in card(tmp_path)["command"]
    assert card(tmp_path)["training"]["best_epoch"] == 1


def test_a_folder_of_datasets_is_taken_as_it_is(options, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    for part, formulas in (("train", FORMULAS[:100]), ("valid", FORMULAS[100:120]), ("test", FORMULAS[120:])):
        (made / f"{part}.csv").write_text("\n".join(["formula", *formulas]))
    options[1] = str(made)
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    data = card(tmp_path)["data"]
    assert (data["rows"], data["train"], data["valid"]) == (120, 100, 20)
    (made / "valid.csv").unlink()
    options[3] = str(tmp_path / "other")
    with pytest.raises(DataError, match=r"valid\.csv"):
        command.main(["--model", "gpt2", "--epochs", "1", *options])


def test_a_second_training_needs_resume_and_goes_on(options, tmp_path, capsys):
    start = ["--model", "gpt2", "--epochs", "1", *options]
    assert command.main([*start, "--resume"]) == 0
    assert "training starts anew" in capsys.readouterr().out, "there was nothing to resume"
    with pytest.raises(ConfigError, match="--resume"):
        command.main(start)
    assert command.main(["--model", "gpt2", "--epochs", "2", *options, "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "epoch 2/2" in shown
    assert "epoch 1/" not in shown
    assert "anew" not in shown
    assert card(tmp_path)["training"]["epochs_of_schedule"] == [1, 2]


def test_a_checkpoint_of_another_family_is_refused(options):
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    with pytest.raises(WeightsError, match="another model"):
        command.main(["--model", "gpt", "--epochs", "2", *options, "--resume"])


def test_too_few_formulas_and_a_missing_gpu_are_errors(tmp_path):
    data = tmp_path / "few.txt"
    data.write_text("NaCl\n")
    out = ["--data", str(data), "--out", str(tmp_path / "model")]
    with pytest.raises(DataError, match="too few"):
        command.main(["--model", "gpt2", *out])
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="no GPU"):
        command.main(["--model", "gpt2", *out, "--device", "cuda"])


def test_equal_seeds_give_equal_models_whatever_came_before(tmp_path):
    data, versions = tmp_path / "formulas.txt", []
    data.write_text("\n".join(FORMULAS))
    for run, seed in enumerate(("0", "0", "1")):
        torch.manual_seed(run)
        out = tmp_path / str(run)
        options = ["--epochs", "1", "--threads", "1", "--seed", seed, "--learning-rate", "1e-5"]
        command.main(["--model", "gpt2", "--data", str(data), "--out", str(out), *options])
        versions.append(load_generator(str(out)).version)
    assert versions[0] == versions[1] != versions[2]


def test_training_goes_on_from_a_model_with_samples_of_its_own(options, tmp_path):
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    first = load_generator(str(tmp_path / "model"))
    onward = ["--model", "gpt2", "--epochs", "1", "--start", str(tmp_path / "model"), "--learning-rate", "1e-7"]
    again = [*options[:2], "--out", str(tmp_path / "onward"), "--threads", "1"]
    command.main([*onward, "--own-samples", "40", *again])
    made = json.loads((tmp_path / "onward" / "card.json").read_text())
    assert (made["start"]["version"], made["data"]["own_samples"]) == (first.version, 40)
    second = load_generator(str(tmp_path / "onward"))
    assert made["version"] == second.version != first.version
    near, far = (model.log_probability(["NaCl"])[0] for model in (second, build("gpt2", "small")))
    assert near == pytest.approx(first.log_probability(["NaCl"])[0], abs=0.01), "a tiny rate moves the weights little"
    assert abs(far - near) > 0.1
    written = command.own_samples(first, 30, seed=0)
    assert len(written) == 30
    assert all(judge(formula).electronegativity_balanced for formula in written)


def test_own_samples_can_be_sharpened_and_leave_known_compounds_out():
    model = build("gpt2", "small")
    plain = command.own_samples(model, 400, seed=0)
    known = frozenset(plain[:200])
    new = command.own_samples(model, 400, seed=0, sharpen=1.0, known=known)
    assert set(new) <= set(plain) - known
    assert len(new) == 400
    sharp = command.own_samples(model, 400, seed=0, sharpen=1.2)
    assert set(sharp) < set(plain)
    # drawn again by p^0.2, the mean of ln p is sum(p^0.2 ln p) / sum(p^0.2) over the samples
    logarithms = model.log_probability(plain)
    weights = np.exp(0.2 * (logarithms - logarithms.max()))
    expected = (weights * logarithms).sum() / weights.sum()
    spread = np.sqrt((weights * (logarithms - expected) ** 2).sum() / weights.sum() / 400)
    assert model.log_probability(sharp).mean() == pytest.approx(expected, abs=4 * spread)
    assert expected > logarithms.mean() + 4 * spread, "the test can tell sharpened samples from plain ones"
    with pytest.raises(DataError, match="no --only-new"):
        command.own_samples(model, 400, seed=0, known=frozenset(plain))


def test_training_on_new_samples_alone_leaves_the_real_ones_out(options, tmp_path):
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    onward = ["--model", "gpt2", "--epochs", "1", "--start", str(tmp_path / "model"), "--own-samples", "40"]
    again = [*options[:2], "--out", str(tmp_path / "onward"), "--threads", "1", "--only-new", "--sharpen", "1.2"]
    command.main([*onward, *again])
    made = json.loads((tmp_path / "onward" / "card.json").read_text())["data"]
    assert (made["own_samples"], made["only_new"], made["sharpen"]) == (40, True, 1.2)


def test_starts_that_make_no_sense_are_refused(options, tmp_path):
    for word in (["--only-new"], ["--sharpen", "1.2"]):
        with pytest.raises(ConfigError, match="give --own-samples N"):
            command.main(["--model", "gpt2", *word, *options])
    with pytest.raises(ConfigError, match=r"from 0\.5 to 2"):
        command.main(["--model", "gpt2", "--start", "gpt2", "--own-samples", "9", "--sharpen", "3", *options])
    with pytest.raises(ConfigError, match="--start"):
        command.main(["--model", "gpt2", "--own-samples", "5", *options])
    with pytest.raises(ConfigError, match="causal"):
        command.main(["--model", "blmm", "--balance", "1", *options])
    small_generator(tmp_path / "trained")
    with pytest.raises(WeightsError, match="another kind of model"):
        command.main(["--model", "gptj", "--start", str(tmp_path / "trained"), *options])


def test_the_card_names_the_data_set_and_what_was_withheld(options, tmp_path):
    made = tmp_path / "made"
    listed = tmp_path / "formulas.txt"
    datasets.main(["--formulas", str(listed), "--variant", "pure", "--withhold", "K,Cl", "--out", str(made)])
    options[1] = str(made)
    command.main(["--model", "gpt2", "--epochs", "1", *options])
    data = card(tmp_path)["data"]
    assert data["variant"] == "pure"
    assert data["withheld"] == {"Cl-K": 1}
    trained = load_generator(str(tmp_path / "model"))
    assert trained_without(trained, frozenset({"K", "Cl"})) is True
    assert trained_without(trained, frozenset({"Na", "Cl"})) is None


def test_a_searched_model_is_trained_anew_by_its_card(options, tmp_path):
    best = tmp_path / "best"
    best.mkdir()
    size = {"layers": 2, "heads": 2, "head_width": 8, "dropout": 0.1}
    training = {"tokens_per_batch": 512, "peak_learning_rate": 5e-3, "warmup_share": 0.2, "weight_decay": 0.01}
    (best / "card.json").write_text(json.dumps({"model": "gpt2", "size": size, "training": training}))
    words = ["--model", "gpt2", "--epochs", "3", "--like", str(best), *options]
    config = command.configured(command.parser().parse_args([*words, "--learning-rate", "1e-3"]))
    assert (config.tokens_per_batch, config.peak_learning_rate, config.epochs) == (512, 1e-3, 3)
    assert (config.warmup_share, config.weight_decay) == (0.2, 0.01)
    assert command.main([*words, "--epochs", "1"]) == 0
    network = load_generator(str(tmp_path / "model")).network
    assert (network.config.n_layer, network.config.n_embd, network.config.resid_pdrop) == (2, 16, 0.1)
    with pytest.raises(ConfigError, match="holds a gpt2, not a bart"):
        command.main(["--model", "bart", "--like", str(best), *options, "--resume"])
    with pytest.raises(ConfigError, match="brings its own size"):
        command.main([*words, "--start", str(best), "--resume"])
    (best / "card.json").write_text("{}")
    with pytest.raises(ConfigError, match="was not found by a search"):
        command.main([*words, "--resume"])
