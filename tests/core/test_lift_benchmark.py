"""The comparison of language models with the other surrogates, in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import lift, lift_arms
from discovery.errors import ConfigError
from discovery.generators.causal import GPT2
from discovery.surrogates.from_labels import Preset
from discovery.surrogates.lift.training import LiftConfig
from tests.core.tiny_surrogate import compositions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    energies = compositions()
    table = pd.DataFrame({"formula": list(energies), "formation_energy_per_atom": list(energies.values())})
    table.to_parquet(tmp_path / "labels.parquet")
    return tmp_path / "labels.parquet"


def test_draws_are_seeded_and_never_of_the_test_part(labels: Path) -> None:
    data = lift.read(labels, "mp2019")
    tests = []
    for seed in (0, 1):
        drawn = lift.drawn(data, "100", seed, 30)
        assert [len(drawn.rows(part)) for part in ("train", "validation", "test")] == [90, 10, 30]
        tests.append(set(drawn.rows("test")))
        assert lift.drawn(data, "100", seed, 30).split.tolist() == drawn.split.tolist()
    assert tests[0] == tests[1]
    assert set(lift.drawn(data, "100", 0, 30).rows("train")) != set(lift.drawn(data, "100", 1, 30).rows("train"))
    everything = lift.drawn(data, lift.ALL, 0, 10**6)
    assert "left out" not in everything.split
    with pytest.raises(ConfigError, match="fewer"):
        lift.drawn(data, "100000", 0, 30)


def test_epochs_fall_with_the_number_of_labels() -> None:
    steps = [lift_arms.ensemble_preset(n).epochs * n / lift_arms.ensemble_preset(n).batch_size for n in (90, 900, 9000)]
    assert all(600 <= count < 620 for count in steps)
    assert [lift_arms.lift_config(n, 0).epochs for n in (100, 1000, 10_000, 70_000)] == [24, 12, 6, 3]


def test_every_arm_in_small_and_again_from_its_files(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(name: str) -> object:
        torch.manual_seed(0)
        return GPT2.of_size(1, 16, 2)

    monkeypatch.setattr(lift_arms, "load_generator", small)
    monkeypatch.setattr(
        lift_arms,
        "lift_config",
        lambda n, seed, pretext=9, device="cpu": LiftConfig(1, pretext and 9, seed=seed, device=device),
    )
    tiny = Preset(1, 4, width=16, layers=1, pooled=16, batch_size=16)
    monkeypatch.setattr(lift_arms, "ensemble_preset", lambda n: tiny)
    out = tmp_path / "out"
    words = ["--labels", str(labels), "--sizes", "100", "--seeds", "0", "1", "--test", "30", "--out", str(out)]
    assert lift.main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert [row["arm"] for row in first["summary"]] == list(lift_arms.arms(None))
    by_arm = {row["arm"]: row for row in first["summary"]}
    data = lift.drawn(lift.read(labels, "mp2019"), "100", 0, 30)
    known = np.concatenate([data.energies[data.rows(part), 0] for part in ("train", "validation")])
    by_hand = np.abs(data.energies[data.rows("test"), 0] - known.mean()).mean()
    assert by_arm["training mean"]["mae_by_seed"][0] == pytest.approx(by_hand, abs=1e-6)
    assert 0 <= by_arm["ensemble"]["coverage_90"] <= 1
    assert by_arm["random forest"]["mae"] < by_arm["training mean"]["mae"]
    assert by_arm["random forest"]["coverage_90"] is None
    assert by_arm["LIFT"]["mae_by_seed"] != by_arm["LIFT, random weights"]["mae_by_seed"]
    assert "| LIFT, no pretext tasks |" in (out / "table.md").read_text()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is measured again")

    monkeypatch.setattr(lift_arms, "train_lift", refuse)
    assert lift.main(words) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == first["runs"]
    with pytest.raises(ConfigError, match="--arms"):
        lift.main([*words, "--arms", "nothing"])
