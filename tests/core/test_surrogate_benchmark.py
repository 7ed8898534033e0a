"""The benchmark of the surrogate: its measures against hand-computed values, and a small run of all of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.surrogate import __main__ as bench
from benchmarks.surrogate import measures
from benchmarks.surrogate.measures import (
    best_threshold,
    by_distance,
    decided,
    errors,
    mixture,
    own_hull,
    stability,
    top_precision,
)
from benchmarks.surrogate.models import Training, baselines, published, train_ensemble
from benchmarks.surrogate.tables import read_labels
from discovery.composition import chemical_system
from discovery.errors import ConfigError, DataError
from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.surrogates.network import NetworkConfig
from tests.core.tiny_surrogate import compositions, tiny_ensemble

DATA = Path(os.environ.get("DISCOVERY_DATA", "no-such-folder"))


def labels_file(folder: Path) -> Path:
    """A table of made-up energies with all columns, and published predictions that are all 0.1 eV/atom too high."""
    energies = compositions()
    formulas, formation = list(energies), np.array(list(energies.values()))
    hull = Hull([Phase(f, e) for f, e in energies.items()], "made up")
    table = pd.DataFrame({"reduced_formula": formulas, "formation_energy_per_atom": formation})
    table["decomposition_energy_per_atom"] = hull.energies_above_hull(formulas, formation)
    table["hull_energy_excl_self"] = table.formation_energy_per_atom - table.decomposition_energy_per_atom
    table["chemsys"] = [chemical_system(formula) for formula in formulas]
    table["crabnet_split"] = [("train", "train", "val", "test")[i % 4] for i in range(len(table))]
    dates = ("2015-01-01", "2016-01-01", None, "2018-06-01")
    table["first_created_at"] = pd.to_datetime([dates[i % 4] for i in range(len(table))])
    table["min_mp_number"] = pd.array([(1, 2, 2_000_000, 4)[i % 4] for i in range(len(table))], dtype="Int64")
    table.to_parquet(folder / "labels.parquet")
    others = pd.DataFrame({"reduced_formula": formulas, "Ef_pred_Other": formation + 0.1})
    others["Ed_mlhull_Other"] = table.decomposition_energy_per_atom + 0.1
    others.to_parquet(folder / "published.parquet")
    return folder / "labels.parquet"


def test_errors_of_a_small_example() -> None:
    found = errors(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert found["mae"] == pytest.approx(1 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(1 / 3))
    assert found["r2"] == pytest.approx(0.5)
    low, high = found["mae_interval"]  # type: ignore[misc]
    assert 0 <= low <= 1 / 3 <= high <= 1


def test_error_by_distance_from_the_hull_by_hand() -> None:
    true = np.zeros(5)
    predicted = np.array([0.1, -0.2, 0.3, 0.4, 1.0])
    found = by_distance(predicted, true, np.array([-0.5, 0.0, 0.01, 0.05, 0.51]))
    assert [band["edges"] for band in found] == [
        [None, -0.1], [-0.1, 0.0], [0.0, 0.05], [0.05, 0.1], [0.1, 0.2], [0.2, 0.5], [0.5, None],
    ]  # fmt: skip
    assert [band["n"] for band in found] == [1, 1, 2, 0, 0, 0, 1]
    assert found[2]["mae"] == pytest.approx(0.35)
    assert found[3]["mae"] is None
    assert [band["share_of_error"] for band in found] == pytest.approx([0.05, 0.1, 0.35, 0, 0, 0, 0.5])
    assert all(band["share_of_error"] == 0.0 for band in by_distance(true, true, true))


def test_a_second_model_that_errs_the_other_way_is_mixed_in_by_what_the_chosen_rows_say() -> None:
    """Errors of +1 and -3 cancel at weight 1/4; on the other rows the second model adds nothing but noise."""
    true, chosen = np.zeros(4), np.array([True, True, False, False])
    found = mixture(np.array([1.0, 1.0, 0.0, 0.2]), np.array([-3.0, -3.0, 4.0, 0.2]), true, chosen)
    assert found == pytest.approx({"weight": 0.25, "mae": 0.6, "mae_alone": 0.1})
    assert mixture(true, true + 1.0, true, chosen)["weight"] == 0.0


def test_stability_counts_and_rates() -> None:
    predicted = np.array([-0.3, -0.1, 0.0, 0.2, 0.3])
    true = np.array([-0.2, 0.1, -0.1, -0.4, 0.2])
    found = stability(predicted, true)
    assert [found[name] for name in ("tp", "fp", "fn", "tn")] == [2, 1, 1, 1]
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["fpr"] == 0.5
    assert found["auc"] == pytest.approx(4 / 6)
    assert top_precision(np.linspace(-1, 1, 20), np.arange(20) == 1) == 0.5


def test_rates_of_a_resample_are_those_of_its_rows() -> None:
    rng = np.random.default_rng(3)
    predicted = np.round(rng.normal(size=60), 1)  # with ties
    real = predicted + rng.normal(size=60) <= 0
    rows = rng.integers(60, size=60)
    counts = np.bincount(rows, minlength=60).astype(float)[None]
    assert measures._auc(predicted, real, counts)[0] == pytest.approx(roc_auc_score(real[rows], -predicted[rows]))
    order = np.argsort(predicted, kind="stable")
    by_hand = real[np.repeat(order, counts[0, order].astype(int))][:6].mean()
    assert measures._top(predicted, real, counts)[0] == pytest.approx(by_hand)


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    predicted, true = np.full(400, -1.0), np.where(np.arange(400) < 100, -1.0, 1.0)
    found = stability(predicted, true)
    assert found["precision"] == 0.25
    assert found["precision_interval"] == pytest.approx([0.25 - 0.042, 0.25 + 0.042], abs=0.01)
    assert found["auc"] == 0.5  # nothing but ties
    assert stability(predicted, np.ones(400))["auc"] is None


def test_exact_predictions_give_the_true_decomposition_energies(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "crabnet")
    rows = labels.rows("test")
    own = own_hull(labels.formulas, labels.formation, rows)
    assert own == pytest.approx(labels.decomposition[rows], abs=1e-9)
    assert stability(own, labels.decomposition[rows])["f1"] == 1.0


def test_splits_leave_out_what_they_say(tmp_path: Path) -> None:
    path = labels_file(tmp_path)
    family = read_labels(path, "family", frozenset({"O"}))
    for part, holds in (("test", True), ("train", False), ("validation", False)):
        assert all(("O" in family.formulas[row]) is holds for row in family.rows(part))
    late = read_labels(path, "time").parts == "test"
    assert late.tolist() == [i % 4 in (2, 3) for i in range(len(late))]
    systems = read_labels(path, "chemsys")
    table = pd.read_parquet(path)
    assert not set(table.chemsys[systems.rows("test")]) & set(table.chemsys[systems.rows("train")])
    with pytest.raises(ConfigError, match="--withhold"):
        read_labels(path, "family")
    table.drop(columns="first_created_at").to_parquet(path)
    with pytest.raises(DataError, match="first_created_at"):
        read_labels(path, "time")


def test_trees_learn_what_the_mean_cannot(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "crabnet")
    rows = labels.rows("test")
    error = {name: np.abs(e[rows] - labels.formation[rows]).mean() for name, e in baselines(labels, 10).items()}
    assert error["random forest"] < 0.5 * error["training mean"]
    assert error["gradient boosting"] < 0.5 * error["training mean"]


def test_published_predictions_of_the_same_rows(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path), "crabnet")
    every = np.arange(len(labels.formulas))
    given = published(tmp_path / "published.parquet", labels, every)["Other"]
    found = bench.figures(labels, given["formation"], given["own hull"][labels.rows("test")])
    assert found["formation_energy"]["mae"] == pytest.approx(0.1)
    assert found["stability_dft_hull"]["mae"] == pytest.approx(0.1)


def test_an_ensemble_for_a_split_never_sees_the_test_rows(tmp_path: Path) -> None:
    path = labels_file(tmp_path)
    sizes = NetworkConfig(("mp2019", "mp2020", "chgnet-0.3.0", "oqmd"), 16, 1, 2, 32, 16)
    made = []
    for change in (0.0, 5.0):
        table = pd.read_parquet(path)
        table.loc[table.crabnet_split == "test", "formation_energy_per_atom"] += change
        table.to_parquet(path)
        labels = read_labels(path, "crabnet")
        made.append(train_ensemble(labels, Training(tmp_path / f"work{change}", 1, 1, 0, sizes)).version)
    assert made[0] == made[1]


def test_the_whole_benchmark_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = labels_file(tmp_path)
    tiny_ensemble(tmp_path, epochs=1).save(tmp_path / "surrogate")
    words = ["--labels", str(path), "--published", str(tmp_path / "published.parquet")]
    files = ["--out", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "tables.md")]
    assert bench.main([*words, "--surrogate", str(tmp_path / "surrogate"), "--trees", "5", *files]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["models"]) >= {"random forest", "gradient boosting", "training mean", "Other (published)"}
    [name] = [name for name in result["models"] if name.startswith("ensemble-")]
    assert len(result["models"][name]["uncertainty"]["mean_std_and_error_by_tenth"]) == 10
    assert set(result["models"][name]["uncertainty"]["coverage"]) == {"0.5", "0.8", "0.9", "0.95"}
    page = (tmp_path / "tables.md").read_text()
    assert page.count("| Other (published) |") == 6
    assert result["models"]["Other (published)"]["mixed_in"]["mae_alone"] == pytest.approx(
        result["models"][name]["formation_energy"]["mae"], abs=2e-5
    )
    bands = result["models"][name]["error_by_distance"]
    assert sum(band["n"] for band in bands) == result["rows"]["test"]
    assert f"| {name} | " + " | ".join(page_cell(band) for band in bands) in page
    assert f"{result['models'][name]['formation_energy']['mae']:.4f} (" in page
    assert json.loads((tmp_path / "out.json").read_text()) == result
    with pytest.raises(ConfigError, match="--split random"):
        bench.main([*words, "--split", "crabnet", "--surrogate", str(tmp_path / "surrogate")])


def page_cell(band: dict[str, float]) -> str:
    return f"{band['mae']:.4f} ({band['share_of_error']:.0%})" if band["n"] else ""


def test_one_short_member_serves_for_a_quick_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--labels", str(labels_file(tmp_path)), "--split", "family", "--withhold", "F", "--no-baselines"]
    quick = ["--members", "1", "--epochs", "1", "--restart-epochs", "0", "--work", str(tmp_path / "work")]
    assert bench.main([*words, *quick]) == 0
    [found] = json.loads(capsys.readouterr().out)["models"].values()
    assert found["formation_energy"]["n"] > 0
    assert all(0 <= share <= 1 for share in found["uncertainty"]["coverage"].values())


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the labels in the folder DISCOVERY_DATA")
def test_published_figures_are_reproduced() -> None:
    peers = pd.read_csv(DATA / "peer_bartel2020_metrics.csv")
    chosen = peers[(peers.model == "Roost") & (peers.set == "full") & (peers["mode"] == "Ef model, DFT hull")].iloc[0]
    labels = read_labels(DATA / "mp_bartel2020.parquet", "crabnet")
    rows = np.arange(len(labels.formulas))
    given = published(DATA / "bartel2020_predictions.parquet", labels, rows)["Roost"]["formation"]
    real = labels.decomposition <= 0
    predicted = given - labels.hull
    assert np.abs(predicted - labels.decomposition).mean() == pytest.approx(chosen.mae, abs=0.002)
    assert ((predicted <= 0) & real).sum() / (predicted <= 0).sum() == pytest.approx(chosen.precision, abs=0.005)
    assert top_precision(predicted, real) == pytest.approx(chosen.precision_top10pct, abs=0.01)


def test_the_threshold_of_the_largest_f1_by_hand() -> None:
    scores = np.array([-0.9, -0.7, -0.7, -0.4, -0.2])
    stable = np.array([True, True, False, True, False])
    # called stable: 1, 3, 4 or 5 rows (equal scores together); F1 = 2/4, 4/6, 6/7, 6/8
    assert best_threshold(scores, stable) == -0.4
    true = np.where(stable, -0.1, 0.1)
    found = decided(scores, true, (scores, true))
    assert [found[name] for name in ("threshold", "tp", "fp", "fn", "tn")] == [-0.4, 3, 1, 0, 1]
    assert found["f1"] == pytest.approx(6 / 7)
    assert "mae" not in found


def test_the_threshold_comes_from_the_validation_rows_alone() -> None:
    true = np.array([-0.1, 0.1])
    found = decided(np.array([-0.1, 0.1]), true, (np.array([0.2, 0.3, 0.4]), np.array([-1.0, -1.0, 1.0])))
    assert found["threshold"] == 0.3
    assert [found[name] for name in ("tp", "fp", "fn", "tn")] == [1, 1, 0, 0]
