"""Members trained side by side: the same network, loss and gradients as one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from discovery.errors import WeightsError
from discovery.surrogates.auxiliary import with_auxiliary, without_auxiliary
from discovery.surrogates.dataset import QUANTITIES, join
from discovery.surrogates.features import encode, pack
from discovery.surrogates.network import Network, NetworkConfig
from discovery.surrogates.stacked import SHORT, Stack, StackReport, train_stack
from discovery.surrogates.training import Trainer, TrainingConfig, label_weights
from tests.core.tiny_surrogate import SIZES, dataset

CONFIG = TrainingConfig(epochs=6, restart_epochs=0, batch_size=32, peak_rate=1e-2, average_decay=0.9, dropout=0.0)
CONFIGS = tuple(replace(CONFIG, seed=seed) for seed in (3, 4))


def mixed_lengths():
    """Compositions of two to six elements."""
    long = {f"LiNa{i}KMgO9F": -2.0 - 0.01 * i for i in range(2, 40)} | {f"LiFeP{i}O9F": -1.0 for i in range(2, 40)}
    energies = {formula: float(e) for formula, e in zip(dataset().formulas, dataset().energies[:, 0], strict=True)}
    return join({"mp2019": pd.Series(energies | long), "oqmd": pd.Series(dict.fromkeys(list(long)[:20], -1.5))})


def test_loss_and_gradients_are_those_of_the_members_alone() -> None:
    data = mixed_lengths()
    sizes = replace(SIZES, schemes=data.schemes)
    stack = Stack(data, CONFIGS, sizes, "cpu")
    trainers = [Trainer(data, config, sizes) for config in CONFIGS]
    lengths = data.compositions.lengths[data.rows("train")]
    few, many = (data.rows("train")[chosen][:16] for chosen in (lengths <= SHORT, lengths > SHORT))
    assert len(few) == len(many) == 16
    stack._rows = (torch.from_numpy(np.stack([few, few[::-1]])), torch.from_numpy(np.stack([many, many])))
    stack._set_rate(0.0)
    stack._step()
    losses = [trainer._loss(np.concatenate([few, many]), None) for trainer in trainers]
    assert float(stack._loss) == pytest.approx(sum(float(loss.detach()) for loss in losses), rel=1e-5)
    for trainer, loss in zip(trainers, losses, strict=True):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.network.parameters(), 1.0)
    together = stack._unpacked([flat.grad for flat in stack._flat])
    for member, trainer in enumerate(trainers):
        for name, parameter in trainer.network.named_parameters():
            torch.testing.assert_close(together[name][member], parameter.grad, rtol=2e-4, atol=2e-6)


def test_every_row_of_an_epoch_is_seen_but_for_the_rest_of_a_batch() -> None:
    data = mixed_lengths()
    stack = Stack(data, CONFIGS, replace(SIZES, schemes=data.schemes), "cpu")
    steps = stack._order(0)
    assert len(steps) == stack.steps[0] == len(data.rows("train")) // 32
    seen = {int(row) for few, many in steps for row in (*few[0], *many[0])}
    assert seen <= set(data.rows("train").tolist())
    assert len(seen) >= 0.9 * 32 * len(steps)
    for few, many in steps:
        assert (data.compositions.lengths[few] <= SHORT).all()
        assert (data.compositions.lengths[many] > SHORT).all()


def test_training_learns_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    reports: list[StackReport] = []
    whole = train_stack(dataset(), CONFIGS, tmp_path / "a", reports.append, SIZES, device="cpu", every=2)
    assert [report.epoch for report in reports] == [2, 4, 6]
    assert reports[-1].member_mae < reports[0].member_mae
    assert reports[-1].ensemble_mae <= reports[-1].member_mae

    def stop(report: StackReport) -> None:
        if report.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stack(dataset(), CONFIGS, tmp_path / "b", stop, SIZES, device="cpu", every=2)
    later = train_stack(dataset(), CONFIGS, tmp_path / "b", reports.append, SIZES, device="cpu", every=2)
    for one, other in zip(whole, later, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict())
    with pytest.raises(WeightsError, match="other settings"):
        train_stack(dataset(), CONFIGS[:1], tmp_path / "b", reports.append, SIZES, device="cpu")


def test_members_differ(tmp_path: Path) -> None:
    one, other = train_stack(dataset(), CONFIGS, tmp_path / "a", lambda _: None, SIZES, device="cpu")
    assert not torch.equal(one.value.weight, other.value.weight)


def test_a_recorded_step_on_a_gpu_learns_as_on_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    found: dict[str, list[StackReport]] = {"cpu": [], "cuda": []}
    for device, reports in found.items():
        train_stack(dataset(), CONFIGS, tmp_path / device, reports.append, SIZES, device=device)
    assert found["cuda"][-1].member_mae == pytest.approx(found["cpu"][-1].member_mae, rel=0.1)


def tables(folder: Path) -> None:
    """Of the two sources of further quantities."""
    entries = {
        "reduced_formula": ["NaCl", "NaCl", "MgO", "TiO2"],
        "spacegroup_number": pd.array([225, 1, 225, None], dtype="Int16"),
        "icsd_tagged": pd.array([False, True, False, None], dtype="boolean"),
    }
    pd.DataFrame(entries).to_parquet(folder / "mp_entries.parquet")
    oqmd = {"reduced_formula": ["NaCl", "KBr"], "band_gap": [5.0, 4.0], "volume_per_atom": [22.0, None]}
    pd.DataFrame(oqmd).to_parquet(folder / "oqmd_crabnet.parquet")


def test_quantities_are_columns_beside_the_energies(tmp_path: Path) -> None:
    tables(tmp_path)
    energies = {"NaCl": -2.0, "Na2Cl": -1.0, "NaCl2": -0.5, "MgO": -3.0}
    data = with_auxiliary(join({"mp2019": pd.Series(energies)}), tmp_path)
    assert data.schemes[-len(QUANTITIES) :] == QUANTITIES
    assert data.formulas == ("MgO", "Na2Cl", "NaCl", "NaCl2", "KBr", "TiO2")
    assert data.primary.tolist() == [True] * 4 + [False] * 2
    column = {
        name: dict(zip(data.formulas, data.energies[:, data.schemes.index(name)], strict=True)) for name in QUANTITIES
    }
    assert column["reported"]["NaCl"] > column["reported"]["MgO"]
    assert np.isnan(column["reported"]["TiO2"])
    assert column["crystal system"]["MgO"] > column["crystal system"]["NaCl"]  # cubic; the mean of cubic and triclinic
    assert column["polymorphs"]["NaCl"] > column["polymorphs"]["MgO"] == column["polymorphs"]["TiO2"]
    assert column["band gap"]["NaCl"] == pytest.approx(-column["band gap"]["KBr"])


def test_decomposition_energies_know_nothing_of_held_out_labels(tmp_path: Path) -> None:
    tables(tmp_path)
    energies = pd.Series({f"Na{i}Cl{j}": -2.0 + 0.1 * abs(i - j) for i in range(1, 9) for j in range(1, 9)})
    data = join({"mp2019": energies})
    place = data.schemes.index("mp2019")
    held = data.split != "train"
    assert held.any()
    changed = replace(data, energies=np.where(held[:, None], data.energies - 5.0, data.energies))
    for one, other in ((with_auxiliary(data, tmp_path), with_auxiliary(changed, tmp_path)),):
        np.testing.assert_array_equal(one.energies[:, place + 4 :], other.energies[:, place + 4 :])


def test_a_network_without_the_quantities_says_the_same_about_energies() -> None:
    schemes = ("mp2019", "mp2020", "chgnet-0.3.0", "oqmd")
    torch.manual_seed(0)
    large = Network(
        NetworkConfig((*schemes, *QUANTITIES), width=16, layers=1, feed_forward=16, pooled=16), torch.zeros(103, 26)
    )
    large.reference.normal_()
    small = without_auxiliary(large)
    assert small.config.schemes == schemes
    batch = pack(encode(["NaCl", "LiFePO4"]), np.arange(2))
    with torch.no_grad():
        for one, other in zip(large(batch), small(batch), strict=True):
            torch.testing.assert_close(one[:, :4], other)


def test_labels_weigh_by_their_kind() -> None:
    weights = label_weights(("mp2019", "oqmd", "band gap"), TrainingConfig())
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.5, 0.2]))
