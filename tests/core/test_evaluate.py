import json

import numpy as np
import pytest

from discovery import evaluate
from discovery.errors import DataError

# valid, a multiple of it, charge neutral only, not neutral, single element, no composition, valid, valid; NaN is one
ROWS = ["Na Cl <end>,NaCl", ",Na2Cl2", ",CSe2", ",NaK", ",O2", "<pad>,", ",MgO", ",SrTiO3", ",Xx2", ",NaN"]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "samples.csv").write_text("sequence,formula\n" + "\n".join(ROWS) + "\n")
    (tmp_path / "train.csv").write_text("formula\nNaCl\nMgO\n")
    (tmp_path / "test.csv").write_text("formula\nO3SrTi\nCaO\n")  # another spelling counts as the same
    options = {"samples": "samples.csv", "train": "train.csv", "holdout": "test.csv"}
    return [part for name, file in options.items() for part in (f"--{name}", str(tmp_path / file))]


def counts(results):
    return {name: (found["count"], found["of"]) for name, found in results.items() if name != "n"}


def test_metrics_by_hand(files, capsys):
    assert evaluate.main([*files, "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["n"] == 10
    assert report["smact"]
    assert counts(report["raw"]["icsd24"]) == {
        "charge_neutral": (6, 10),  # NaCl twice, CSe2, MgO, SrTiO3, NaN (nitrogen has a state of -1 in SMACT's list)
        "electronegativity_balanced": (5, 10),  # all of them but CSe2
        "uniqueness": (6, 10),  # NaCl, CSe2, NaK, MgO, SrTiO3, NaN
        "novelty": (4, 6),
        "recovery": (1, 2),
    }
    assert counts(report["filtered"]["icsd24"]) == {
        "charge_neutral": (4, 4),
        "electronegativity_balanced": (4, 4),
        "uniqueness": (4, 4),
        "novelty": (2, 4),
        "recovery": (1, 2),
    }
    assert set(report["raw"]) == set(report["filtered"]) == {"icsd24", "smact14"}


def test_the_text_has_counts_beside_shares(files, capsys):
    evaluate.main(files)
    text = capsys.readouterr().out
    assert "50.00 %" in text
    assert "5 of 10 sequences" in text
    assert "50.00 %" in text
    assert "1 of 2 held-out" in text


def test_the_seed_decides_the_intervals(files, capsys):
    reports = []
    for seed in ("0", "0", "1"):
        evaluate.main([*files, "--json", "--seed", seed])
        reports.append(json.loads(capsys.readouterr().out.splitlines()[-1])["raw"])
    assert reports[0] == reports[1]
    assert counts(reports[0]["icsd24"]) == counts(reports[2]["icsd24"])


def test_lists_that_overlap_are_refused(files, tmp_path):
    (tmp_path / "test.csv").write_text("formula\nOMg\nCaO\n")
    with pytest.raises(DataError, match="1 compounds"):
        evaluate.main(files)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.csv", "formula\nXx2\n", "line 2"),
        ("test.csv", "formula\nO2\n", "no compounds"),
        ("samples.csv", "formula\n", "no samples"),
    ],
)
def test_bad_files(files, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate.main(files)


def test_any_list_of_formulas_is_judged(tmp_path):
    (tmp_path / "a.txt").write_text("NaCl\nnonsense\nMgO\n")
    found = evaluate.read_samples(tmp_path / "a.txt")
    assert found == ["Cl1Na1", None, "Mg1O1"]
    raw = evaluate.evaluate(found, set(), {"Mg1O1"}, seed=0)["raw"]["icsd24"]
    assert raw["charge_neutral"]["share"] == pytest.approx(2 / 3)
    assert np.isclose(raw["recovery"]["share"], 1)
