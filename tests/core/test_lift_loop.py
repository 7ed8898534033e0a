"""A language model that answers with energies, in the loop, in predictions and from its command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from discovery import predict
from discovery.errors import ConfigError, WeightsError
from discovery.loop import main as loop
from discovery.model_files import read_json
from discovery.surrogates import zoo
from discovery.surrogates.__main__ import main as train
from discovery.surrogates.lift.surrogate import LiftSurrogate
from discovery.surrogates.zoo import load_surrogate
from tests.core.tiny_lift import made_up_labels, untaught_surrogate
from tests.small import SCHEME, model_options, small_generator, small_models

pytestmark = pytest.mark.usefixtures("one_thread")


def labels_file(folder: Path) -> Path:
    """The made-up energies as a table of own labels in the scheme of the small reference."""
    labels = made_up_labels()
    rows = zip(labels.formulas, labels.formation_energy_per_atom, strict=True)
    text = "\n".join(f"{formula},{energy:.4f},{SCHEME}" for formula, energy in rows)
    (folder / "labels.csv").write_text(f"formula,formation_energy_per_atom,scheme\n{text}\n")
    return folder / "labels.csv"


def test_two_rounds_of_the_loop_with_a_language_model_as_surrogate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = small_models(tmp_path / "models")
    untaught_surrogate(SCHEME).save(models / "lift")
    options = {
        **model_options(models),
        "--surrogate": str(models / "lift"),
        "--rounds": "2",
        "--batch-size": "3",
        "--candidates-per-round": "20",
        "--elements": "Li,Na,K,O,F,Cl",
        "--max-atoms": "6",
        "--run-dir": str(tmp_path / "run"),
    }
    assert loop([*(word for pair in options.items() for word in pair), "--local", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert result["rounds"] == 2
    assert result["validated"] == 6
    learned = load_surrogate(next((tmp_path / "run" / "models").glob("round-0002")) / "surrogate")
    assert isinstance(learned, LiftSurrogate)
    assert learned.version != untaught_surrogate(SCHEME).version
    assert learned.card["refitted_from"]


def test_the_command_makes_a_folder_that_predicts(tmp_path: Path) -> None:
    small_generator(tmp_path / "generator")
    words = ["--data", labels_file(tmp_path), "--out", tmp_path / "lift", "--checkpoints", tmp_path / "checkpoints"]
    sizes = ["--epochs", "1", "--pretext", "60", "--limit", "150", "--batch-tokens", "500"]
    assert train(["lift", *map(str, words), "--start", str(tmp_path / "generator"), *sizes]) == 0
    card = read_json(tmp_path / "lift" / "card.json")
    assert card["command"].startswith("python -m discovery.surrogates lift --data")
    assert (card["labels"], card["training"]["pretext"]) == (150, 60)
    assert card["results_on_test"][SCHEME]["n"] > 30
    (tmp_path / "formulas.csv").write_text("formula\nNaCl\nSrTiO3\n")
    files = ["--formulas", str(tmp_path / "formulas.csv"), "--out", str(tmp_path / "out.csv")]
    reference = ["--reference", f"snapshot:{labels_file(tmp_path)}"]
    assert predict.main([*files, *reference, "--surrogate", str(tmp_path / "lift")]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["formula"] for row in rows] == ["NaCl", "SrTiO3"]
    assert all(float(row["formation_energy_std"]) > 0 for row in rows)
    control = [*map(str, words), "--start", str(tmp_path / "generator"), *sizes, "--from-scratch"]
    control[control.index(str(tmp_path / "lift"))] = str(tmp_path / "control")
    control[control.index(str(tmp_path / "checkpoints"))] = str(tmp_path / "control-checkpoints")
    assert train(["lift", *control]) == 0
    assert load_surrogate(tmp_path / "control").version != load_surrogate(tmp_path / "lift").version
    with pytest.raises(ConfigError, match="no labels of"):
        train(["lift", *map(str, words), "--schemes", "mp2020"])


def test_a_name_without_weights_says_how_to_make_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(zoo.SHIPPED, "lift", tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"discovery\.surrogates lift"):
        load_surrogate("lift")


@pytest.mark.skipif(not zoo.SHIPPED["lift"].is_dir(), reason="no weights of lift are shipped")
def test_the_shipped_weights_are_what_their_card_says() -> None:
    surrogate = load_surrogate("lift")
    assert isinstance(surrogate, LiftSurrogate)
    assert "chgnet-0.3.0" in surrogate.schemes  # the builtin reference's
    prediction = surrogate.predict(["NaCl", "SrTiO3", "GaAs"], "mp2019")
    assert abs(prediction.mean - [-2.105, -3.569, -0.347]).max() < 1.0  # DFT of the Materials Project, 2019
    assert prediction.mean[1] < prediction.mean[0] < prediction.mean[2]
    for found in surrogate.card["results_on_test"].values():  # type: ignore[attr-defined]
        assert found["mae"] < 0.5 * found["mae_of_the_training_mean"]
        assert found["coverage"]["0.9"] == pytest.approx(0.9, abs=0.04)
