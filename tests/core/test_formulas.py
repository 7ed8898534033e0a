import pandas as pd
import pytest

from discovery.errors import DataError
from discovery.formulas import fits, read_formulas, split_of


def test_text_csv_and_parquet_agree(tmp_path):
    formulas = ["NaCl", "NaN", "SrTiO3"]  # NaN: sodium nitride, no missing value
    (tmp_path / "a.txt").write_text("\n".join(formulas) + "\n\n")
    pd.DataFrame({"x": [1, 2, 3], "formula": formulas}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"reduced_formula": formulas}).to_parquet(tmp_path / "a.parquet")
    for name in ("a.txt", "a.csv", "a.parquet"):
        assert read_formulas(tmp_path / name) == formulas


def test_rows_are_selected_by_a_column(tmp_path):
    table = pd.DataFrame({"formula": ["NaCl", "MgO", "NaN"], "good": [True, False, True]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    assert read_formulas(tmp_path / "a.csv", "good") == read_formulas(tmp_path / "a.parquet", "good") == ["NaCl", "NaN"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "formula\nNaCl\nXx2\n", "line 3: 'Xx2'"),
        ("a.csv", "formula\nNaCl\nFe0.5O\n", "line 3: .*fractional"),
        ("a.csv", 'formula,x\n"NaCl",1\nMgO\n', "line 3: 1 values"),
        ("a.csv", 'formula\n"NaCl\n', "mend the row"),
        ("a.csv", "name\nNaCl\n", "no column named formula"),
        ("a.csv", "formula\n", "no formulas"),
        ("a.csv", "", "no column named formula"),
        ("a.txt", "NaCl\n\nO2\n", "line 3: .*fewer than two"),
        ("a.parquet", "no parquet", "no readable Parquet"),
    ],
)
def test_the_bad_line_is_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_formulas(path)


def test_missing_files_columns_and_encodings(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_formulas(tmp_path / "nothing.csv")
    (tmp_path / "a.csv").write_bytes(b"formula\n\xff\xfe\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_formulas(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("formula\nNaCl\n")
    with pytest.raises(DataError, match="no column 'stable'"):
        read_formulas(tmp_path / "b.csv", "stable")


def test_a_split_depends_on_the_composition_and_the_seed_alone():
    names = [f"Na{n}Cl{m}" for n in range(1, 80) for m in range(1, 80)]
    parts = [split_of(name, 0) for name in names]
    share = parts.count("test") / len(parts)
    assert 0.03 < share < 0.07
    assert parts.count("valid") > 100
    assert split_of("Fe2O3", 0) == split_of("O3Fe2", 0) == split_of("Fe4O6", 0)
    assert parts != [split_of(name, 1) for name in names]


def test_size_limits_count_the_reduced_formula():
    assert fits("Fe40O60")
    assert not fits("NaCl30")
    assert not fits("O2")
    assert not fits("LiNaKRbCsFClBrI")
