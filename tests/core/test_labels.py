import math
from pathlib import Path

import pandas as pd
import pytest

from discovery.errors import DataError, SchemeError
from discovery.labels import lowest_per_formula, read_labels, read_rows

HEADER = "formula,formation_energy_per_atom,scheme,energy_above_hull,material_id\n"


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_formulas_are_reduced_and_empty_cells_are_nan(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, HEADER + "Fe4O6,-1.886,mp2019,,mp-19770\nClNa,-2.105,mp2019,0.0,\n"))
    assert labels.formula.tolist() == ["Fe2O3", "NaCl"]
    assert labels.formation_energy_per_atom.tolist() == [-1.886, -2.105]
    assert math.isnan(labels.energy_above_hull[0])
    assert labels.energy_above_hull[1] == 0.0
    assert labels.material_id.tolist() == ["mp-19770", ""]


def test_option_gives_the_scheme_only_where_the_row_names_none(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, HEADER + "NaCl,-2.1,,,\nMgO,-3.0,oqmd,,\n"), scheme="mp2019")
    assert labels.scheme.tolist() == ["mp2019", "oqmd"]


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, HEADER + "MgO,-3.0,mp2019,,mp-1\nNaN,-0.5,mp2019,,\n"))
    labels.to_parquet(tmp_path / "labels.parquet")
    pd.testing.assert_frame_equal(read_labels(tmp_path / "labels.parquet"), labels)
    assert labels.formula[1] == "NaN"  # sodium nitride, not a missing value


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("Xx2O,-1,mp2019,,", "line 3.*Xx2O"),
        ("Fe0.5O,-1,mp2019,,", "line 3.*fractional"),
        ("MgO,minus one,mp2019,,", "line 3.*'minus one'"),
        ("MgO,,mp2019,,", "line 3.*no formation_energy_per_atom"),
        ("MgO,-1000,mp2019,,", "line 3.*per atom"),
        ("MgO,inf,mp2019,,", "line 3.*per atom"),
        ("MgO,-1", "line 3.*2 fields instead of 5"),
    ],
)
def test_bad_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_labels(write(tmp_path, HEADER + "NaCl,-2.1,mp2019,,\n" + row + "\n"))


def test_missing_scheme_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SchemeError, match=r"line 2.*--scheme"):
        read_labels(write(tmp_path, "formula,formation_energy_per_atom\nMgO,-3.0\n"))


def test_energy_above_hull_alone_is_a_label_where_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, "formula,energy_above_hull\nMgO,0.01\n")
    assert math.isnan(read_labels(path, "lab", need_formation_energy=False).formation_energy_per_atom[0])
    with pytest.raises(DataError, match="line 2"):
        read_labels(path, "lab")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.txt", HEADER, "neither .csv nor .parquet"),
        ("labels.csv", HEADER, "no rows"),
        ("labels.csv", "", "no column 'formula'"),
        ("labels.parquet", "not parquet", "no intact Parquet"),
    ],
)
def test_unreadable_file_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_labels(write(tmp_path, text, name))


def test_absent_file_and_foreign_encoding_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_labels(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes("formula\nMgO\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(tmp_path / "latin.csv", ("formula",)))


def test_blank_lines_keep_the_line_numbers_right(tmp_path: Path) -> None:
    rows = list(read_rows(write(tmp_path, "formula\n\nMgO\n\n"), ("formula",)))
    assert rows == [("line 3", {"formula": "MgO"})]


def test_lowest_polymorph_of_each_scheme_stays(tmp_path: Path) -> None:
    text = "formula,formation_energy_per_atom,scheme\nSiO2,-3.2,a\nSi2O4,-3.3,a\nSiO2,-2.9,b\nMgO,-3.0,a\n"
    lowest = lowest_per_formula(read_labels(write(tmp_path, text)))
    assert lowest.formation_energy_per_atom.tolist() == [-3.3, -2.9, -3.0]
