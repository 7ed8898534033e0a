import pandas as pd
import pytest
import torch

from discovery import generate
from discovery.errors import ConfigError, ConstraintError
from discovery.generators.blank_network import BlankConfig, BlankNetwork
from discovery.generators.blanks import BlankGenerator
from discovery.generators.masked import MaskedGenerator
from discovery.generators.masked_network import untrained


@pytest.fixture(autouse=True)
def small_reference(monkeypatch):
    monkeypatch.setattr(generate, "load_builtin", lambda: type("Reference", (), {"known": frozenset({"LiFeO2"})}))


@pytest.fixture(params=["roberta", "blmm"])
def model(request, tmp_path):
    torch.manual_seed(0)
    if request.param == "roberta":
        generator = MaskedGenerator("roberta", untrained(1, 16, 2))
    else:
        generator = BlankGenerator("blmm", BlankNetwork(BlankConfig(1, 16, 2)).eval())
    generator.save(tmp_path / "model")
    return str(tmp_path / "model")


def completed(tmp_path, model, *options):
    path = tmp_path / "samples.csv"
    assert generate.main(["--n", "12", "--model", model, "--out", str(path), "--template", *options]) == 0
    return pd.read_csv(path, keep_default_na=False)


def test_completions_have_the_same_columns_and_keep_the_given_atoms(tmp_path, model):
    table = completed(tmp_path, model, "Li ? O2")
    assert list(table.columns) == list(generate.COLUMNS)
    assert len(table) == 12
    for sequence in table.sequence:
        atoms = sequence.split()[:-1]
        assert atoms[0] == "Li"
        assert atoms[2:] == ["O", "O"]
    again, other = (completed(tmp_path, model, "Li ? O2", "--seed", seed) for seed in ("0", "1"))
    assert list(again.sequence) == list(table.sequence) != list(other.sequence)


def test_constraints_reach_the_gaps(tmp_path, model):
    table = completed(tmp_path, model, "O2 Li ?", "--constrained", "--exclude-elements", "F,N")
    assert table.electronegativity_balanced.all()
    table = completed(tmp_path, model, "Li ? O2", "--constrained", "--elements", "Li,Fe,Co,O")
    assert set(table.formula) <= {"LiFeO2", "LiCoO2", "Li2O2", "LiO3"}
    assert (table.known == (table.formula == "LiFeO2")).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["Li ? Ox"], ConfigError, "no element"),
        (["Li O"], ConfigError, "nothing to fill"),
        (["Li ? O", "--exclude-elements", "Li"], ConstraintError, "forbid"),
    ],
)
def test_wrong_templates_write_nothing(tmp_path, model, options, error, message):
    path = tmp_path / "samples.csv"
    with pytest.raises(error, match=message):
        generate.main(["--n", "5", "--model", model, "--out", str(path), "--template", *options])
    assert not path.exists()


@pytest.mark.parametrize("name", ["gpt2", "random"])
def test_models_that_cannot_fill_name_those_that_can(tmp_path, name):
    path = tmp_path / "samples.csv"
    with pytest.raises(ConfigError, match="--model roberta or blmm"):
        generate.main(["--n", "5", "--model", name, "--out", str(path), "--template", "Li ? O"])
