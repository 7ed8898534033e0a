from pathlib import Path

import pytest

from benchmarks import refit as benchmark
from tests.core.tiny_surrogate import compositions, tiny_ensemble


def test_rounds_are_timed_and_old_labels_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "REPLAYED", 60)
    tiny_ensemble(tmp_path, epochs=2).save(tmp_path / "surrogate")
    rows = [f"{formula},{energy}" for formula, energy in compositions().items()]
    (tmp_path / "labels.csv").write_text("\n".join(["formula,formation_energy_per_atom", *rows, "Fe,0.0"]) + "\n")
    flags = ["--labels", str(tmp_path / "labels.csv"), "--surrogate", str(tmp_path / "surrogate"), "--threads", "1"]
    options = benchmark._parser().parse_args([*flags, "--rounds", "2", "--batch-size", "6", "--offset", "5"])
    fresh, replay, watched = benchmark.parts(options)
    assert len(fresh.formulas) == 12
    assert len(replay.formulas) == 60
    assert not set(fresh.formulas) & set(replay.formulas + watched.formulas)
    result = benchmark.measure(options)
    assert result["labels"] == 12
    assert len(result["rounds"]) == 2
    assert result["recalibrations"] >= 1  # five eV/atom off cannot stay unseen
    assert result["mae_on_old_labels"]["ratio"] > 0
