import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from discovery.composition import amounts
from discovery.errors import ConfigError, DataError
from discovery.surrogates import analogues
from discovery.surrogates.__main__ import main
from discovery.surrogates.analogues import Analogues, Memory, classes_of, fitted, keys_of, posterior
from discovery.surrogates.base import Labels
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.evaluation import calibrate, evaluate, labelled, with_analogues
from discovery.surrogates.features import INDEX, N_ELEMENTS, encode
from discovery.surrogates.zoo import load_surrogate
from tests.core.test_surrogate_main import options, tables  # noqa: F401
from tests.core.tiny_surrogate import dataset, tiny_ensemble

pytestmark = pytest.mark.usefixtures("one_thread")


def one_division(*classes: str) -> np.ndarray:
    """A single level: the elements of each word pair are alike, all others alone."""
    of = np.arange(N_ELEMENTS, dtype=np.int16) + N_ELEMENTS
    for number, members in enumerate(classes):
        of[[INDEX[symbol] for symbol in members.split()]] = number
    return of[None]


PEROVSKITES = one_division("Ba Sr", "Ti Zr", "O S", "Na K", "Cl Br")


def shared(one: str, other: str) -> int:
    keys, present = keys_of(encode([one, other]), PEROVSKITES)
    a, b = ({int(key) for key in row[there]} for row, there in zip(keys, present, strict=True))
    return len(a & b)


def test_how_much_two_compounds_have_in_common() -> None:
    assert shared("BaTiO3", "SrTiO3") == 4  # Ba for Sr; Ti alone kept, O alone kept; all alike
    assert shared("BaTiO3", "BaZrS3") == 2  # Ba alone kept; all alike
    assert shared("BaTiO3", "SrZrS3") == 1  # all alike
    assert shared("BaTiO3", "Ba2TiO4") == 0  # other amounts
    assert shared("BaTiO3", "NaTiO3") == 0  # no class in common
    assert shared("NaCl", "KCl") == 2
    assert shared("NaCl", "KBr") == 1


def test_order_and_multiples_are_irrelevant() -> None:
    keys, present = keys_of(encode(["BaTiO3", "O3TiBa", "Ba2Ti2O6", "NaCl"]), PEROVSKITES)
    assert (keys[:3] == keys[0]).all()
    assert present.sum(axis=1).tolist() == [7, 7, 7, 3]


COMPOUNDS = ["BaTiO3", "SrTiO3", "BaZrO3", "BaZrS3", "SrZrS3", "NaCl", "KCl", "KBr", "NaBr", "BaO", "SrO"]


def test_it_is_the_mean_of_a_gaussian_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PASSES", 1), ("ITERATIONS", 1000)):
        monkeypatch.setattr(analogues, name, value)
    data, errors = encode(COMPOUNDS), np.random.default_rng(0).normal(size=len(COMPOUNDS))
    keys, weights = posterior(data, errors, np.ones(len(COMPOUNDS)), PEROVSKITES)
    asked = ["SrZrO3", "BaTiS3", "NaCl", "BaS", "LiF"]
    common = np.array([[shared(a, b) for b in COMPOUNDS] for a in COMPOUNDS])
    across = np.array([[shared(a, b) for b in COMPOUNDS] for a in asked])
    mean = across @ np.linalg.solve(common + analogues.PENALTY * np.eye(len(COMPOUNDS)), errors)
    found = Memory(keys, weights.astype(np.float32)).sums(*keys_of(encode(asked), PEROVSKITES))
    np.testing.assert_allclose(found, mean, atol=1e-5)
    assert mean[-1] == 0.0


def test_an_absurd_label_moves_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analogues, "FEWEST", 1)
    data, scales = encode(COMPOUNDS), np.full(len(COMPOUNDS), 0.05)
    errors = np.full(len(COMPOUNDS), 0.02)
    spoilt = np.where([formula == "SrTiO3" for formula in COMPOUNDS], 5.0, errors)
    sane, bent = (
        fitted(data, e, scales, PEROVSKITES).sums(*keys_of(encode(["BaTiO3"]), PEROVSKITES)) * 0.05
        for e in (errors, spoilt)
    )
    assert 0.0 < sane < 0.02
    assert bent < 0.06


def test_too_few_labels_teach_nothing_and_a_broken_one_is_an_error() -> None:
    data, ones = encode(COMPOUNDS), np.ones(len(COMPOUNDS))
    assert not len(fitted(data, ones, ones, PEROVSKITES).keys)
    with pytest.raises(DataError, match="leave that label out"):
        fitted(data, ones * np.nan, ones, PEROVSKITES)


def test_the_file_form_bridges_wide_gaps() -> None:
    keys = np.array([0, 1, 65_534, 65_535 + 65_534, 400_000, 2**32 - 1], np.uint32)
    memory = Memory(keys, (np.array([25, -50, 127, -127, -1, 1]) * analogues.RESOLUTION).astype(np.float32))
    back = Memory.from_steps(*memory.steps())
    np.testing.assert_array_equal(back.keys, memory.keys)
    np.testing.assert_array_equal(back.weights, memory.weights)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> EnsembleSurrogate:
    return tiny_ensemble(tmp_path_factory.mktemp("surrogate"), epochs=4)


def structured() -> Dataset:
    """The made-up energies, lower by 0.5 eV/atom for all ABC2: what only analogues tell."""
    data = dataset()
    energies = data.energies.copy()
    energies[[sorted(amounts(formula).values()) == [1, 1, 2] for formula in data.formulas]] -= 0.5
    return replace(data, energies=energies)


def test_analogues_correct_compounds_that_nobody_saw(bare: EnsembleSurrogate) -> None:
    data = structured()
    before, after = (
        evaluate(calibrate(surrogate, data), data, "test")["mp2019"] for surrogate in (bare, with_analogues(bare, data))
    )
    assert after["mae"] < 0.9 * before["mae"]  # type: ignore[operator]


def test_labels_of_the_test_part_teach_nothing(bare: EnsembleSurrogate) -> None:
    data = dataset()
    energies = data.energies.copy()
    energies[data.split != "train"] = 7.0
    one, other = (with_analogues(bare, d).analogues for d in (data, replace(data, energies=energies)))
    assert one is not None
    assert other is not None
    assert one.size == other.size > 0
    np.testing.assert_array_equal(one.memories["mp2019"].weights, other.memories["mp2019"].weights)


def test_a_corrected_ensemble_is_saved_whole(bare: EnsembleSurrogate, tmp_path: Path) -> None:
    data = dataset()
    whole = calibrate(with_analogues(bare, data), data)
    whole.save(tmp_path)
    again = EnsembleSurrogate.load(tmp_path)
    assert again.version == whole.version != bare.version
    formulas = ["NaCl", "MgFeO2", "LiAlS3"]
    np.testing.assert_array_equal(again.predict(formulas, "mp2019").mean, whole.predict(formulas, "mp2019").mean)
    assert (
        whole.predict(formulas, "mp2019").mean != replace(whole, analogues=None).predict(formulas, "mp2019").mean
    ).any()


def test_a_refit_learns_what_analogues_leave(bare: EnsembleSurrogate) -> None:
    data = dataset()
    whole = calibrate(with_analogues(bare, data), data)
    rows, energies = labelled(data, "train", "mp2019")
    replayed = Labels(tuple(data.formulas[row] for row in rows), energies, ("mp2019",) * len(rows))
    new = Labels(("MgFeO2",), whole.predict(["MgFeO2"], "mp2019").mean, ("mp2019",))
    after = whole.refit(new, replayed, np.random.default_rng(0))
    assert after.analogues is whole.analogues
    np.testing.assert_allclose(after.predict(["MgFeO2"], "mp2019").mean, new.formation_energy_per_atom, atol=0.02)


def test_a_new_scheme_takes_over_those_of_the_nearest(bare: EnsembleSurrogate) -> None:
    data = dataset()
    whole = calibrate(with_analogues(bare, data), data)
    formulas = tuple(data.formulas[:40])
    new = Labels(formulas, whole.predict(formulas, "mp2019").mean + 0.05, ("lab",) * 40)
    after = whole.refit(new, Labels((), np.zeros(0), ()), np.random.default_rng(0))
    assert after.analogues is not None
    assert after.analogues.memories["lab"] is after.analogues.memories["mp2019"]
    assert (after.analogues.correction(encode(formulas), "other") == 0).all()


def test_elements_without_data_are_classes_of_their_own(bare: EnsembleSurrogate) -> None:
    classes = classes_of(bare.networks, torch.where(torch.arange(N_ELEMENTS) < 60, 100.0, 3.0))
    assert classes.shape == (3, N_ELEMENTS)
    for level, number in zip(classes, analogues.LEVELS, strict=True):
        assert len(set(level[:60].tolist())) <= number
        assert len(set(level[60:].tolist())) == N_ELEMENTS - 60
    assert (classes_of(bare.networks, torch.zeros(N_ELEMENTS)) >= N_ELEMENTS).all()
    assert Analogues.from_tensors({}, ("mp2019",)) is None


def test_one_command_corrects_an_ensemble(tables: Path) -> None:  # noqa: F811
    main(["train", *options(tables, "out", 2)])
    given = ["--data", str(tables), "--potential", str(tables / "potential.csv"), "--out", str(tables / "again")]
    assert main(["correct", "--surrogate", str(tables / "out"), *given]) == 0
    first, again = (load_surrogate(tables / name) for name in ("out", "again"))
    assert first.version == again.version, "a training ends with the same step"
    card = json.loads((tables / "again" / "card.json").read_text())
    assert card["command"].startswith("python -m discovery.surrogates train")
    assert card["analogues_command"].startswith("python -m discovery.surrogates correct")
    assert "weights of errors" in card["analogues"]
    with pytest.raises(ConfigError, match="no ensemble"):
        main(["correct", "--surrogate", "lift", *given])
    with pytest.raises(ConfigError, match="threads"):
        main(["correct", "--threads", "0", *given])
