import csv
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from discovery import generate as generate_command
from discovery import train as training_command
from discovery.constraints import Constraints
from discovery.errors import ConfigError, WeightsError
from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import FAMILIES, PRESETS, PRETRAINED, Family, build, load_generator, names
from discovery.training import TrainingConfig
from discovery.validity import judge

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding_a_model.md"
LLAMA, LLAMA_LINE, BIGRAM, BIGRAM_LINE = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
METALS = ("Li", "Na", "K", "Rb", "Cs", "Mg")
FORMULAS = [f"{metal}{n}{anion}" for metal in METALS for n in (1, 2, 3) for anion in ("F", "Cl", "Br", "O2")]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[("llama", LLAMA, LLAMA_LINE), ("bigram", BIGRAM, BIGRAM_LINE)], ids=["llama", "bigram"])
def eighth(request, tmp_path, monkeypatch):
    """A family that is added as the documentation says: by a file and a line."""
    name, file, line = request.param
    (tmp_path / f"{name}.py").write_text(file)
    monkeypatch.syspath_prepend(tmp_path)
    exec(line, {"FAMILIES": FAMILIES, "Family": Family, **vars(importlib.import_module(name))})
    yield name
    del FAMILIES[name], sys.modules[name]


def test_an_eighth_model_trains_loads_and_writes_by_every_command(eighth, tmp_path):
    data, folder, table = tmp_path / "formulas.txt", tmp_path / "model", tmp_path / "samples.csv"
    data.write_text("\n".join(FORMULAS * 2))
    options = ["--epochs", "2", "--threads", "1", "--learning-rate", "0.02"]
    assert training_command.main(["--model", eighth, "--data", str(data), "--out", str(folder), *options]) == 0
    trained = load_generator(str(folder))
    assert trained.name == eighth
    torch.manual_seed(0)
    assert trained.log_probability(["NaCl"])[0] > build(eighth, "small").log_probability(["NaCl"])[0]
    assert generate_command.main(["--model", str(folder), "--n", "20", "--out", str(table)]) == 0
    with table.open(encoding="utf-8") as rows:
        assert len(list(csv.DictReader(rows))) == 20


def test_an_eighth_model_is_a_language_model_as_any_other(eighth, tmp_path):
    torch.manual_seed(0)
    start = build(eighth, "small")
    config = TrainingConfig(epochs=4, peak_learning_rate=0.02, tokens_per_batch=128)
    trained, history = start.fit(FORMULAS, FORMULAS[::5], config)
    assert history[-1].valid_loss < history[0].valid_loss
    assert (trained.log_probability(FORMULAS) > start.log_probability(FORMULAS)).all()
    options = SamplingOptions(constrained=True, constraints=Constraints(max_atoms=12))
    samples = trained.sample(30, np.random.default_rng(0), options)
    assert all(judge(s.formula).accepted for s in samples)
    canonical = [s for s in samples if len(s.sequence.split()) == len(trained.training_sequence(s.formula)) - 1]
    assert len(canonical) > 5, "the others are written as multiples"
    expected = [s.log_probability for s in canonical]
    assert trained.log_probability([s.formula for s in canonical]) == pytest.approx(expected, abs=1e-3)
    trained.save(tmp_path / "model")
    loaded = load_generator(str(tmp_path / "model"))
    assert loaded.version == trained.version != start.version
    assert loaded.sample(30, np.random.default_rng(0), options) == samples
    tuned = trained.fine_tune(["NaCl"] * 50, np.random.default_rng(0), epochs=2, learning_rate=1e-2)
    assert tuned.log_probability(["NaCl"])[0] > trained.log_probability(["NaCl"])[0]


@pytest.mark.parametrize("eighth", [("llama", LLAMA, LLAMA_LINE)], indirect=True, ids=["llama"])
def test_an_eighth_model_of_transformers_loads_there(eighth, tmp_path):
    generator = build(eighth, "small")
    generator.save(tmp_path / "model")
    tokens = torch.tensor([generator.training_sequence("SrTiO3")])
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")(input_ids=tokens).logits
        assert torch.allclose(theirs, generator.network(input_ids=tokens).logits, atol=1e-5)


def test_both_presets_of_every_family_can_be_built():
    for name in FAMILIES:
        sizes = {p: sum(t.numel() for t in build(name, p).network.parameters()) for p in PRESETS}
        assert 0.5e6 < sizes["small"] < 1.6e6, name
        assert sizes["paper"] > 2 * sizes["small"], name


def test_names_without_shipped_weights_say_how_to_make_them():
    for name in FAMILIES:
        if (PRETRAINED / f"{name}-small").is_dir():
            assert load_generator(name).name == name
        else:
            with pytest.raises(WeightsError, match=rf"python -m discovery.train --model {name} "):
                load_generator(name)
    assert set(names()) >= {"gpt", "gpt2", "gptneo", "gptj", "bart", "random", "pseudo-random"}


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="gptneo"):
        build("gpt5", "small")
    with pytest.raises(ConfigError, match="paper"):
        build("gpt2", "huge")
