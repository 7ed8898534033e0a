import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from discovery.composition import SYMBOLS
from discovery.errors import CompositionError, ConfigError, SchemeError, WeightsError
from discovery.surrogates import ensemble as module
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.evaluation import evaluate
from discovery.surrogates.zoo import load_surrogate
from tests.core.tiny_surrogate import ELEMENTS, dataset, energy, tiny_ensemble

UNITS = [(1, 1, 2), (2, 1, 4), (1, 2, 4), (3, 1, 5), (2, 3, 12)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surrogate")
    tiny_ensemble(folder).save(folder / "ensemble")
    return folder / "ensemble"


@pytest.fixture(scope="module")
def surrogate(saved: Path) -> EnsembleSurrogate:
    return EnsembleSurrogate.load(saved)


def test_it_learned_the_energies_and_their_schemes(surrogate: EnsembleSurrogate) -> None:
    results = evaluate(surrogate, dataset(), "test")
    assert results["mp2019"]["mae"] < 0.06  # type: ignore[operator]
    formulas = ["NaCl", "MgO", "LiFeO2"]
    shift = surrogate.predict(formulas, "chgnet-0.3.0").mean - surrogate.predict(formulas, "mp2019").mean
    np.testing.assert_allclose(shift, -0.1, atol=0.06)


def test_order_of_elements_and_multiples_are_irrelevant(surrogate: EnsembleSurrogate) -> None:
    prediction = surrogate.predict(["Fe2O3", "Fe4O6", "O3Fe2", "NaCl"], "mp2019")
    for values in (prediction.mean, prediction.epistemic_std, prediction.aleatoric_std):
        np.testing.assert_allclose(values[:3], values[0], atol=1e-6)


def test_neighbours_and_chunks_are_irrelevant(surrogate: EnsembleSurrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    formulas = [f"Li{n}Fe{m}O2" for n in (1, 3, 5) for m in (1, 2)] + ["NaCl", "MgO"]
    together = surrogate.predict(formulas, "mp2019")
    alone = [surrogate.predict([formula], "mp2019").mean[0] for formula in formulas]
    np.testing.assert_allclose(together.mean, alone, atol=1e-5)
    monkeypatch.setattr(module, "CHUNK", 3)
    np.testing.assert_allclose(surrogate.predict(formulas, "mp2019").mean, together.mean, atol=1e-5)


def test_parts_of_the_uncertainty_are_apart_and_add_up(surrogate: EnsembleSurrogate) -> None:
    prediction = surrogate.predict(["NaCl", "MgO"], "mp2019")
    assert (prediction.epistemic_std > 0).all()
    assert (prediction.aleatoric_std > 0).all()
    np.testing.assert_allclose(prediction.std**2, prediction.epistemic_std**2 + prediction.aleatoric_std**2)


def test_every_element_is_predicted_and_unseen_ones_are_flagged(surrogate: EnsembleSurrogate) -> None:
    prediction = surrogate.predict([f"{symbol}2O" for symbol in SYMBOLS if symbol != "O"], "mp2019")
    assert np.isfinite(prediction.mean).all()
    symbols = [symbol for symbol in SYMBOLS if symbol != "O"]
    unseen = np.array([symbol not in ELEMENTS for symbol in symbols])
    assert prediction.epistemic_std[unseen].min() > 0.6  # 1 eV per unseen atom, two thirds of the atoms
    assert prediction.epistemic_std[~unseen].max() < 0.6


def test_what_it_cannot_predict_is_an_error(surrogate: EnsembleSurrogate) -> None:
    with pytest.raises(SchemeError, match=r"'lab'.*mp2019"):
        surrogate.predict(["NaCl"], "lab")
    with pytest.raises(CompositionError, match="Xx"):
        surrogate.predict(["NaCl", "Xx2O"], "mp2019")
    assert surrogate.predict([], "mp2019").mean.shape == (0,)


def test_saved_and_loaded_is_the_same(surrogate: EnsembleSurrogate, tmp_path: Path) -> None:
    surrogate.save(tmp_path)
    again = EnsembleSurrogate.load(tmp_path)
    assert again.version == surrogate.version
    assert again.card == surrogate.card
    formulas = ["NaCl", "LiFeO2"]
    assert (again.predict(formulas, "mp2019").mean == surrogate.predict(formulas, "mp2019").mean).all()
    assert energy({"Na": 1, "Cl": 1}) == pytest.approx(again.predict(["NaCl"], "mp2019").mean[0], abs=0.3)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "card.json"])
def test_missing_and_truncated_files_are_named(saved: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match=name):
        load_surrogate(tmp_path / "copy")
    path.unlink()
    with pytest.raises(WeightsError, match=name):
        load_surrogate(tmp_path / "copy")


def test_weights_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    config = json.loads((saved / "config.json").read_text())
    for change in ({"kind": "gpt2"}, {"version": "ensemble-00000000"}, {"members": 3}):
        (tmp_path / "copy" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(WeightsError, match="copy"):
            load_surrogate(tmp_path / "copy")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="ensemble"):
        load_surrogate("no-such-surrogate")


def test_the_shipped_surrogate_knows_common_compounds() -> None:
    shipped = load_surrogate("ensemble")
    assert {"mp2019", "mp2020", "chgnet-0.3.0"} <= set(shipped.schemes)
    # MP 2019: NaCl -2.105, SrTiO3 -3.569, Fe2O3 -1.886, GaAs -0.347 eV/atom
    prediction = shipped.predict(["NaCl", "SrTiO3", "Fe2O3", "GaAs"], "mp2019")
    np.testing.assert_allclose(prediction.mean, [-2.105, -3.569, -1.886, -0.347], atol=0.25)


def test_the_quick_chunks_change_nothing_in_the_shipped_surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_surrogate("ensemble")
    formulas = [f"{a}{n}{b}{m}O{k}" for a in ("Li", "Ca", "La") for b in ("Ti", "Fe", "P", "Al") for n, m, k in UNITS]
    predictions = {}
    for chunk in (16, 1_000_000):
        monkeypatch.setattr(module, "CHUNK", chunk)
        predictions[chunk] = shipped.predict(formulas, "mp2019")
    np.testing.assert_allclose(predictions[16].mean, predictions[1_000_000].mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(predictions[16].std, predictions[1_000_000].std, rtol=0, atol=1e-6)
