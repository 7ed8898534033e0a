import csv
from pathlib import Path

import pytest
from rich.console import Console

from discovery import predict as module
from discovery.errors import DataError, SchemeError
from discovery.hull import Hull
from discovery.predict import COLUMNS, main
from discovery.reference.competition import CompletedHull
from discovery.reference.known import ListedFormulas
from tests.small import untrained_surrogate

REFERENCE = """formula,formation_energy_per_atom,scheme
Li2O,-2.0,mp2019
LiF,-3.0,mp2019
MgO,-3.0,mp2019
"""


@pytest.fixture
def reference(tmp_path: Path) -> str:
    path = tmp_path / "reference.csv"
    path.write_text(REFERENCE)
    return f"snapshot:{path}"


def run(folder: Path, text: str, *options: str) -> list[dict[str, str]]:
    (folder / "formulas.csv").write_text(text)
    assert main(["--formulas", str(folder / "formulas.csv"), "--out", str(folder / "out.csv"), *options]) == 0
    with (folder / "out.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_formula_in_order_with_the_hull_of_the_reference(tmp_path: Path, reference: str) -> None:
    rows = run(tmp_path, "formula,note\nLi2MgO2,a\nLi4O2,b\n", "--reference", reference)
    assert [row["formula"] for row in rows] == ["Li2MgO2", "Li4O2"]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["competing_phases"] == "Li2O MgO"
    hull = (3 * -2.0 + 2 * -3.0) / 5  # Li2O + MgO, eV/atom
    energy = float(rows[0]["formation_energy_per_atom"])
    assert float(rows[0]["energy_above_hull"]) == pytest.approx(energy - hull, abs=1e-5)
    # Li2O against the hull without itself: the elements
    assert float(rows[1]["energy_above_hull"]) == pytest.approx(float(rows[1]["formation_energy_per_atom"]), abs=1e-5)
    assert float(rows[1]["formation_energy_std"]) > 0


def test_another_scheme_leaves_the_hull_columns_empty(tmp_path: Path, reference: str) -> None:
    rows = run(tmp_path, "formula\nMgO\n", "--reference", reference, "--scheme", "chgnet-0.3.0")
    assert rows[0]["energy_above_hull"] == rows[0]["competing_phases"] == ""


def test_chunks_do_not_show(tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "formula\nMgO\nLiF\nLi2O\nMgF2\nLiMgF3\n"
    whole = run(tmp_path, text, "--reference", reference)
    monkeypatch.setattr(module, "CHUNK", 2)
    pieces = run(tmp_path, text, "--reference", reference)
    assert [row["formula"] for row in pieces] == [row["formula"] for row in whole]
    for one, other in zip(whole, pieces, strict=True):
        assert float(one["energy_above_hull"]) == pytest.approx(float(other["energy_above_hull"]), abs=1e-5)


def test_a_bar_moves_on_a_terminal_and_nothing_is_written_elsewhere(
    tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "STEP", 1)
    run(tmp_path, "formula\nMgO\nLiF\nLi2O\n", "--reference", reference)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True))
    run(tmp_path, "formula\nMgO\nLiF\nLi2O\n", "--reference", reference)
    assert "3/3" in capsys.readouterr().err


def test_no_more_than_a_chunk_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    surrogate = untrained_surrogate(("test",))
    hull = CompletedHull(Hull([], "test"), ListedFormulas(["Li2O", "NaCl"]), surrogate)
    read = []
    formulas = (read.append(formula) or formula for formula in ["Li3O", "NaCl", "MgO", "Li4O", "KF", "KCl", "KBr"])
    rows = module.predictions(formulas, surrogate, "test", hull)
    assert next(rows)[0] == "Li3O"
    assert read == ["Li3O", "NaCl", "MgO"]
    assert [row[0] for row in rows] == ["NaCl", "MgO", "Li4O", "KF", "KCl", "KBr"]


def test_a_bad_line_costs_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_surrogate", lambda name: pytest.fail("nothing is loaded before the check"))
    lines = ["MgO"] * 5000
    lines[4321] = "Mg1.5O"
    with pytest.raises(DataError, match=r"line 4323: 'Mg1.5O'"):
        run(tmp_path, "formula\n" + "\n".join(lines))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("formula\nMgO\n\nXx2O\n", "line 4.*Xx2O"),
        ("formula\nMgO\nMg\n", "line 3.*two elements"),
        ("name\nMgO\n", "no column 'formula'"),
        ("formula\n", "no rows"),
    ],
)
def test_bad_file_is_named_and_nothing_is_overwritten(tmp_path: Path, reference: str, text: str, words: str) -> None:
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(DataError, match=words):
        run(tmp_path, text, "--reference", reference)
    assert (tmp_path / "out.csv").read_text() == "precious"
    assert not list(tmp_path.glob(".*partial"))


def test_unwritable_out_and_unknown_scheme_are_one_line(tmp_path: Path, reference: str) -> None:
    (tmp_path / "formulas.csv").write_text("formula\nMgO\n")
    options = ["--formulas", str(tmp_path / "formulas.csv"), "--reference", reference]
    with pytest.raises(DataError, match="--out"):
        main([*options, "--out", str(tmp_path / "no" / "folder" / "out.csv")])
    with pytest.raises(SchemeError, match="mp2019"):
        main([*options, "--out", str(tmp_path / "out.csv"), "--scheme", "lab"])
