from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from discovery.errors import DataError, WeightsError
from discovery.surrogates.dataset import OWN_SHARES, TEST_SHARE, VALIDATION_SHARE, join, load_dataset, split_of
from discovery.surrogates.network import Network
from discovery.surrogates.training import TrainingConfig, learning_rate, train_member, validation_mae
from tests.core.tiny_surrogate import SIZES, dataset

CONFIG = TrainingConfig(epochs=6, restart_epochs=0, batch_size=32, peak_rate=1e-2, average_decay=0.9, dropout=0.0)


def train(
    path: Path, config: TrainingConfig = CONFIG, stop_after: int | None = None, start: Network | None = None
) -> Network:
    def stop(report: object) -> None:
        if stop_after is not None and report.epoch == stop_after:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    torch.set_num_threads(1)
    return train_member(dataset(), config, path, stop, SIZES, start=start)


@pytest.mark.parametrize("shares", [(TEST_SHARE, VALIDATION_SHARE), OWN_SHARES])
def test_split_has_the_promised_shares(shares: tuple[float, float]) -> None:
    parts = [split_of(f"formula{i}", shares) for i in range(20000)]
    assert parts.count("test") / 20000 == pytest.approx(shares[0], abs=0.01)
    assert parts.count("validation") / 20000 == pytest.approx(shares[1], abs=0.005)


def test_split_never_changes() -> None:
    formulas = [f"formula{i}" for i in range(2000)]
    held_out = {formula for formula in formulas if split_of(formula) != "train"}
    assert held_out <= {formula for formula in formulas if split_of(formula, OWN_SHARES) == "test"}
    assert [split_of(f, OWN_SHARES) for f in ("NaCl", "Fe2O3", "SrTiO3", "MgO")] == ["train", "train", "test", "train"]


def test_one_composition_is_one_row_in_all_schemes() -> None:
    data = join({"mp2019": pd.Series({"NaCl": -2.1, "Na": 0.0}), "oqmd": pd.Series({"NaCl": -2.0, "MgO": -3.0})})
    assert data.formulas == ("MgO", "NaCl")  # the element is no composition
    assert data.primary.tolist() == [False, True]
    np.testing.assert_array_equal(data.energies[1], np.array([-2.1, np.nan, np.nan, -2.0], dtype=np.float32))


def test_foreign_schemes_and_absent_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lab"):
        join({"lab": pd.Series({"NaCl": -2.1})})
    with pytest.raises(DataError, match="--data"):
        load_dataset(tmp_path, None)


def test_rate_rises_to_its_peak_and_ends_at_zero_in_both_cycles() -> None:
    config = TrainingConfig(peak_rate=1.0, restart_rate=0.25, warm_up=0.1)
    rates = np.array([learning_rate(step, (1000, 200), config) for step in range(1200)])
    assert rates[:1000].max() == pytest.approx(1.0)
    assert int(np.argmax(rates)) == 99
    assert rates[1000:].max() == pytest.approx(0.25)
    assert int(np.argmax(rates[1000:])) == 19
    assert rates[[999, 1199]] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_training_learns(tmp_path: Path) -> None:
    data = dataset()
    network = train(tmp_path / "a.safetensors")
    rows = data.rows("validation")
    spread = float(np.nanmean(np.abs(data.energies[rows, 0] - np.nanmedian(data.energies[:, 0]))))
    assert validation_mae(network, data)["mp2019"] < 0.4 * spread  # type: ignore[arg-type]


def test_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole.safetensors").state_dict()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut.safetensors", stop_after=1)
    resumed = train(tmp_path / "cut.safetensors").state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=1e-6)


def test_a_trained_network_goes_on_in_the_second_cycle_alone(tmp_path: Path) -> None:
    data, first = dataset(), train(tmp_path / "first.safetensors")
    still = replace(CONFIG, epochs=0, restart_epochs=1, restart_rate=1e-9)
    same = train(tmp_path / "same.safetensors", still, start=first)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], tensor, rtol=0, atol=1e-5)
    more = replace(CONFIG, epochs=0, restart_epochs=3, restart_rate=3e-3)
    further = train(tmp_path / "further.safetensors", more, start=first)
    assert validation_mae(further, data)["mp2019"] < 1.1 * validation_mae(first, data)["mp2019"]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut.safetensors", more, stop_after=1, start=first)
    resumed = train(tmp_path / "cut.safetensors", more, start=first).state_dict()
    for name, tensor in further.state_dict().items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=1e-6)


def test_another_seed_is_another_network(tmp_path: Path) -> None:
    one = TrainingConfig(seed=0, epochs=1, restart_epochs=0, batch_size=256)
    first, same = (train(tmp_path / f"{name}.safetensors", one).state_dict() for name in "ab")
    other = train(
        tmp_path / "c.safetensors", TrainingConfig(seed=1, epochs=1, restart_epochs=0, batch_size=256)
    ).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["head.mean.weight"], other["head.mean.weight"])


def test_checkpoint_of_other_settings_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    train(path, TrainingConfig(epochs=1, restart_epochs=0, batch_size=512))
    with pytest.raises(WeightsError, match="other settings"):
        train(path, TrainingConfig(epochs=2, restart_epochs=0, batch_size=512))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        train(path, TrainingConfig(epochs=1, restart_epochs=0, batch_size=512))
