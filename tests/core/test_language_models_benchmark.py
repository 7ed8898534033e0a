import json

import numpy as np
import pytest
import torch

from benchmarks import bias, generation, heat_map, language_models, language_zoo, masked_noise, streams, tailored
from discovery import datasets, train
from discovery.composition import amounts
from discovery.errors import ConfigError
from discovery.generators.causal import GPT2
from discovery.vocabulary import ELEMENTS, END, MASK, PAD, START

pytestmark = pytest.mark.usefixtures("one_thread")

METALS = ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn", "Al", "Y")
FORMULAS = [f"{metal}{n}{x}" for metal in METALS for n in (1, 2, 3) for x in ("F", "Cl", "Br", "I", "O", "O2", "S")]
FORMULAS += ["KZnF3", "K2ZnF4", "KMgF3", "K2MgF4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set with a withheld family, and a model trained on it for one epoch."""
    folder = tmp_path_factory.mktemp("language_models")
    listed = folder / "formulas.txt"
    listed.write_text("\n".join(FORMULAS))
    data = ["--formulas", str(listed), "--variant", "pure", "--withhold", "K,F", "--out", str(folder / "data" / "pure")]
    assert datasets.main(data) == 0
    options = ["--data", str(folder / "data" / "pure"), "--epochs", "1", "--threads", "1"]
    assert train.main(["--model", "gpt2", "--out", str(folder / "models" / "gpt2-pure"), *options]) == 0
    assert masked_noise.main(["--model", "gpt2", "--out", str(folder / "models" / "gpt2-noise"), *options]) == 0
    return folder


def test_one_command_makes_the_table_and_goes_on_where_it_was(made, capsys):
    options = ["--models", str(made / "models"), "--data", str(made / "data"), "--out", str(made / "table")]
    options += ["--ranked", "pure"]
    assert language_models.main([*options, "--n", "60", "--seeds", "0"]) == 0
    tables = capsys.readouterr().out
    assert tables == (made / "table" / "tables.md").read_text() + "\n"
    for row in ("gpt2-pure", "gpt2-noise", "random", "pseudo-random", "ion-exchange", "control: fewest atoms first"):
        assert f"| {row} |" in tables
    assert "likelihood, family F-K" in tables
    marked = next((made / "table").glob("gpt2-pure-*/free-60-0.json"))
    found = json.loads(marked.read_text())
    found["raw"]["icsd24"]["charge_neutral"]["share"] = 0.1234
    marked.write_text(json.dumps(found))
    language_models.main([*options, "--n", "60", "--seeds", "0"])
    assert "0.1234" in capsys.readouterr().out, "what is on file is read, not measured again"


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no trained model"):
        language_models.main(["--models", str(tmp_path), "--data", str(tmp_path), "--out", str(tmp_path)])


def test_one_command_trains_and_measures_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    own = "--epochs 2 --own-samples 60 --only-new --sharpen 1.1 --balance 1 --start gpt2-pure"
    monkeypatch.setattr(language_zoo, "RECIPES", {"gpt2-pure": "--epochs 1", "gpt2-pure-new": own})
    monkeypatch.setattr(language_zoo, "WITHHELD", ("K,F",))
    listed = tmp_path / "formulas.txt"
    listed.write_text("\n".join(FORMULAS))
    words = ["--formulas", str(listed), "--out", str(tmp_path / "out"), "--n", "40", "--seeds", "0"]
    assert language_zoo.main(words) == 0
    cards = {path.parent.name: path for path in (tmp_path / "out" / "models").glob("*/card.json")}
    first, second = (json.loads(cards[name].read_text()) for name in ("gpt2-pure", "gpt2-pure-new"))
    assert second["start"]["version"] == first["version"]
    results = json.loads((tmp_path / "out" / "table" / "results.json").read_text())["models"]
    costs = {row["name"]: row["cost"] for row in results}
    compounds = (tmp_path / "out" / "data" / "pure" / "train.csv").read_text().split()[1:]
    tokens = sum(sum(amounts(formula).values()) + 1 for formula in compounds)
    assert costs["gpt2-pure"]["tokens"] == tokens
    assert costs["gpt2-pure-new"]["tokens"] == pytest.approx(tokens + 2 * 60 * tokens / len(compounds))
    made = {name: path.stat().st_mtime_ns for name, path in cards.items()}
    cards["gpt2-pure-new"].unlink()  # as if interrupted: the checkpoint is still there
    capsys.readouterr()
    language_zoo.main(words)
    assert "epoch" not in capsys.readouterr().out.split("|")[0], "all epochs of the checkpoint are kept"
    assert cards["gpt2-pure"].stat().st_mtime_ns == made["gpt2-pure"]
    with pytest.raises(ConfigError, match="there are gpt2-pure, gpt2-pure-new"):
        language_zoo.main([*words, "--only", "gpt5"])


def test_masked_noise_is_the_published_one():
    torch.manual_seed(0)
    tokens = torch.full((400, 100), 60)
    tokens[:, 0], tokens[:, 90], tokens[:, 91:] = START, END, PAD
    read, drawn = masked_noise.noised(tokens)
    assert not drawn[:, 0].any()
    assert not drawn[:, 91:].any()
    assert drawn[:, 1:91].float().mean() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(read[~drawn], tokens[~drawn])
    assert (read[drawn] == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (read[drawn] == tokens[drawn]).float().mean() == pytest.approx(0.1, abs=0.03)
    network = GPT2.of_size(1, 16, 2).network
    assert masked_noise.masked_noise_loss(network, tokens[:, :32])[1] < 0.12 * 400 * 31


def test_distances_and_rare_compounds():
    compounds = bias.Compounds(("Cl1Na1",) * 99 + ("O1Sc2",), ("Cl1Na1", "O1Sc2"), frozenset({"Sc"}))
    same, none = ["Cl1Na1"] * 99 + ["O1Sc2"], ["F1K1"]
    assert bias.distances(same, compounds)["elements_to_training"] == pytest.approx(0.0, abs=1e-6)
    assert bias.distances(none, compounds)["elements_to_held_out"] == pytest.approx(1.0)
    assert bias.distances(none, compounds)["stoichiometry_to_training"] < 0.2
    with_it, without = (bias.Arm(0.0, False, ((key,),)) for key in ("O1Sc2", "Cl1Na1"))
    assert bias.found_shares(with_it, compounds).tolist() == [1.0]
    assert bias.rare_gain(with_it, without, compounds) == (1.0, 1.0)


def test_the_bias_benchmark_draws_and_counts(made, capsys):
    options = ["--model", str(made / "models" / "gpt2-pure"), "--data", str(made / "data" / "pure")]
    out = made / "bias"
    bias.main(
        [*options, "--out", str(out), "--n", "40", "--seeds", "0", "--strengths", "0", "0.5", "--rare-below", "0.1"]
    )
    assert "| constrained 0.5 | 1.0000 | 1.0000 |" in capsys.readouterr().out
    assert (out / "elements-free-0.5.svg").read_text().startswith("<svg")


def test_a_heat_map_says_doublings():
    samples, real = np.zeros(len(ELEMENTS)), np.zeros(len(ELEMENTS))
    samples[ELEMENTS.index("Na")], real[ELEMENTS.index("Na")] = 0.4, 0.1
    real[ELEMENTS.index("Cl")] = 0.2
    drawing = heat_map.heat_map(samples, real, "title")
    assert "+2.0" in drawing
    assert drawing.count("<rect") == 2
    assert ">none<" in drawing


def test_streams_are_cut_into_formulas():
    assert streams.cut([7, 8, END, 9, END, 10]) == [[7, 8], [9]]
    windows = streams.windows(["NaCl"] * 200, np.random.default_rng(0))
    assert windows.shape == (2, streams.POSITIONS + 1)
    assert (windows != PAD).all()


def test_generation_counts_what_is_new_and_valid():
    row = {"name": "x", "formulas": ["NaCl", "NaCl", "KCl", "NaCl2", None], "seconds": 2.0, "flop": 4.0}
    found = generation.judged(row, {"Cl1Na1"}, rate=10.0)
    assert (found["sequences"], found["balanced"], found["distinct"], found["new"]) == (5, 3, 2, 1)
    assert (found["new_per_second"], found["share_of_matrix_rate"]) == (0.5, 0.2)
    generator = GPT2.of_size(1, 16, 2)
    assert generation.weights(generator) == 12 * 16**2 + len(ELEMENTS) * 16 + 5 * 16
    written = generation.batched_generate(generator, 5, 2)
    assert len(written) == 5
    with generation.counted(generator.network) as reads:
        generator.network(input_ids=torch.zeros((2, 3), dtype=torch.long))
    assert reads.tokens == 6


def test_tailoring_cuts_halves_that_share_nothing(tmp_path, made):
    table = tmp_path / "gaps.csv"
    rows = [f"{formula},{3.0 if 'F' in formula else 0.5}" for formula in dict.fromkeys(FORMULAS)]
    table.write_text("\n".join(["formula,band_gap", *rows]))
    halves = tailored.Halves.read(table, "band_gap")
    assert not halves.generator.keys() & halves.predictor.keys()
    assert abs(len(halves.generator) - len(halves.predictor)) < 0.5 * len(halves.generator)
    forest = tailored.Forest(halves.predictor, 1000, seed=0)
    fluorides, others = forest.predict(["F1Na1", "F2Mg1"]), forest.predict(["Cl1Na1", "Cl2Mg1"])
    assert fluorides.min() > others.max()
