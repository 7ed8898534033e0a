"""The command line of the loop: options, errors, and a small campaign from end to end in this process."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from discovery.errors import DiscoveryError
from discovery.ledger import Ledger, sqlite_url
from discovery.loop import main
from discovery.options import exit_with
from tests.small import model_options, small_generator, small_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models"))


def options(models: Path, run: Path, **changes: str) -> list[str]:
    chosen = {
        "--rounds": "1",
        "--batch-size": "3",
        "--candidates-per-round": "30",
        "--elements": "Li,Na,K,O,F,Cl",
        "--max-atoms": "6",
        "--run-dir": str(run),
        **model_options(models),
    }
    chosen |= {"--" + name.replace("_", "-"): value for name, value in changes.items()}
    return [word for pair in chosen.items() for word in pair] + ["--local", "--json"]


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    result: dict[str, object] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return result


def test_a_campaign_leaves_its_files_and_prints_its_result(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(options(models, run)) == 0
    result = last_json(capsys)
    keys = (
        "campaign run_dir rounds generated valid novel validated failed stable tolerance scheme reference "
        "reference_false_stable_rate seconds seconds_by_stage best calls"
    )
    assert set(keys.split()) <= set(result)
    assert result["generated"] == 30
    assert result["validated"] == len(result["calls"]) == 3  # type: ignore[arg-type]
    assert {"campaign.db", "candidates.csv", "report.html", "config.toml"} <= {path.name for path in run.iterdir()}
    with (run / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["status"] == "validated" for row in rows) == 3

    assert main([*options(models, run), "--resume"]) == 0  # finished: the same again
    assert last_json(capsys) == result

    again = tmp_path / "again"
    assert main(["--config", str(run / "config.toml"), "--run-dir", str(again), "--json"]) == 0
    assert last_json(capsys)["calls"] == result["calls"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_labels_and_reference_from_tables_and_candidates_from_a_file(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """One call a round: the order in `calls` is that of the rounds."""
    rows = [("NaF", -1.5, "electronegativity"), ("KCl", -1.2, "electronegativity")]
    tables = {
        "candidates": pd.DataFrame({"formula": ["NaF", "KCl", "Na2Cl"]}),
        "labels": pd.DataFrame(rows, columns=["formula", "formation_energy_per_atom", "scheme"]),
        "phases": pd.read_csv(models / "reference.csv"),
    }
    for name, table in tables.items():
        path = tmp_path / f"{name}.{ending}"
        table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    changes = {
        "candidates": str(tmp_path / f"candidates.{ending}"),
        "oracle": f"table:{tmp_path / f'labels.{ending}'}",
        "reference": f"snapshot:{tmp_path / f'phases.{ending}'}",
        "batch_size": "1",
        "rounds": "4",
    }
    assert main(options(models, tmp_path / "run", **changes)) == 0
    result = last_json(capsys)
    ledger = Ledger.open(sqlite_url(tmp_path / "run"))
    assert result["calls"] == [record.selected[0] for _, record in sorted(ledger.records().items())]
    assert set(result["calls"]) == {"NaF", "KCl", "Na2Cl"}  # type: ignore[call-overload]
    assert (result["validated"], result["failed"]) == (2, 1)  # Na2Cl has no label, and cost its call
    assert "exhausted" in str(result["ended"])


BAD = {
    "rounds": ("0", 2, "rounds"),
    "elements": ("Li,Xx", 2, "Xx"),
    "exclude_elements": ("Li,Na,K,O,F,Cl", 2, "no element is left"),
    "require": ("He", 2, "He"),
    "acquisition": ("best", 2, "acquisition"),
    "tolerance": ("-1", 2, "tolerance"),
    "model": ("no-such-model", 2, "no-such-model"),
    "surrogate": ("no-such-surrogate", 2, "no-such-surrogate"),
    "reference": ("moon", 2, "moon"),
    "oracle": ("no.such.module:factory", 1, "no.such.module"),
    "candidates": ("no-such-file.csv", 1, "no-such-file.csv"),
}


@pytest.mark.parametrize("option", sorted(BAD))
def test_a_wrong_call_names_what_is_wrong_and_writes_nothing(tmp_path: Path, models: Path, option: str) -> None:
    value, status, words = BAD[option]
    with pytest.raises(DiscoveryError, match=words) as caught:
        main(options(models, tmp_path / "run", **{option: value}))
    assert caught.value.exit_status == status
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [("formula\nNaCl\nFe0.5O\n", "line 3"), ("formula\nNaCl\nXyz9\n", "line 3"), ("name\nNaCl\n", "formula")],
)
def test_a_bad_candidate_file_names_the_line(tmp_path: Path, models: Path, content: str, words: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(DiscoveryError, match=words):
        main(options(models, tmp_path / "run", candidates=str(path)))
    assert not (tmp_path / "run").exists()


def test_a_truncated_weight_file_is_refused(tmp_path: Path, models: Path) -> None:
    broken = small_generator(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DiscoveryError, match=r"model\.safetensors"):
        main(options(models, tmp_path / "run", model=str(broken)))


def test_an_error_is_one_line_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(lambda: main(["--rounds", "0", "--json"]))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
