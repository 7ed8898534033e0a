import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from discovery.composition import reduced_formula
from discovery.errors import ConfigError
from discovery.surrogates.__main__ import main
from discovery.surrogates.zoo import load_surrogate
from tests.core.tiny_surrogate import compositions


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    energies = {reduced_formula(f): energy for f, energy in compositions().items()}
    table = pd.DataFrame({"reduced_formula": list(energies), "formation_energy_per_atom": list(energies.values())})
    for name, part in (
        ("mp_bartel2020", table[::2]),
        ("matbench_mp_e_form", table),
        ("mp_structures", table[::3]),
        ("oqmd_crabnet", table[::5]),
    ):
        part.to_parquet(tmp_path / f"{name}.parquet")
    potential = table[::4].rename(columns={"reduced_formula": "formula"}).assign(scheme="chgnet-0.3.0")
    potential.to_csv(tmp_path / "potential.csv", index=False)
    predictions = table[::2].assign(Ef_pred_Roost=table.formation_energy_per_atom + 0.05)
    predictions.to_parquet(tmp_path / "bartel2020_predictions.parquet")
    return tmp_path


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def options(tables: Path, out: str, members: int) -> list[str]:
    paths = {"--data": tables, "--potential": tables / "potential.csv", "--out": tables / out}
    sizes = {"--epochs": 1, "--restart-epochs": 0, "--members": members}
    named = {**paths, "--checkpoints": tables / f"{out}-checkpoints", **sizes}
    return [str(word) for pair in named.items() for word in pair]


def test_training_ends_in_a_folder_that_predicts_and_a_card_that_says_how(tables: Path) -> None:
    assert main(["train", *options(tables, "out", 2), "--member", "1"]) == 0
    assert not (tables / "out").exists()
    assert main(["train", *options(tables, "out", 2)]) == 0
    surrogate = load_surrogate(tables / "out")
    assert surrogate.predict(["NaCl"], "mp2019").epistemic_std[0] > 0
    card = json.loads((tables / "out" / "card.json").read_text())
    assert card["members"] == 2
    assert card["command"].startswith("python -m discovery.surrogates train --data")
    test = card["results_on_test"]
    assert test["mp2019"]["n"] > test["mp2019, rows of mp_bartel2020"]["n"] > 10
    assert 0 < test["chgnet-0.3.0"]["mae"] < 5
    assert card["mae_of_others_on_the_test_rows_of_mp_bartel2020"]["Roost"] == pytest.approx(0.05)
    assert set(test["mp2019"]["coverage"]) == {"0.5", "0.8", "0.9", "0.95"}


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--members"):
        main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--members", "0"])


@pytest.mark.parametrize(
    "words", [["--epochs", "0"], ["--start", "ensemble", "--epochs", "0", "--restart-epochs", "0"]]
)
def test_a_training_without_an_epoch_is_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(ConfigError, match="--epochs"):
        main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words])


def test_an_ensemble_that_grows_is_the_one_trained_at_once(tables: Path) -> None:
    main(["train", *options(tables, "two", 2)])
    main(["train", *options(tables, "one", 1)])
    main(["train", *options(tables, "grown", 2), "--keep", str(tables / "one")])
    assert load_surrogate(tables / "grown").version == load_surrogate(tables / "two").version
    with pytest.raises(ConfigError, match="other settings"):
        main(["train", *options(tables, "worse", 2), "--keep", str(tables / "one"), "--seed", "5"])
    with pytest.raises(ConfigError, match="--members 2"):
        main(["train", *options(tables, "worse", 1), "--keep", str(tables / "two")])


def test_members_of_a_trained_ensemble_go_on(tables: Path) -> None:
    main(["train", *options(tables, "first", 2)])
    further = [*options(tables, "further", 2), "--start", str(tables / "first"), "--epochs", "0"]
    assert main([*["train", *further], "--restart-epochs", "2"]) == 0
    first, second = (load_surrogate(tables / name) for name in ("first", "further"))
    assert first.version != second.version
    card = json.loads((tables / "further" / "card.json").read_text())
    assert card["start"] == first.version
    assert card["training_of_the_start"]["epochs"] == 1
    assert card["training"]["epochs"] == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--members", "3"], "--members 2"), (["--together"], "leave these out"), (["--auxiliary"], "leave these out")],
)
def test_a_start_that_cannot_be_one_is_refused(tables: Path, words: list[str], reason: str) -> None:
    main(["train", *options(tables, "first", 2)])
    with pytest.raises(ConfigError, match=reason):
        main(["train", *options(tables, "out", 2), "--start", str(tables / "first"), *words])
