import json

import pandas as pd
import pytest
from pymatgen.core import Composition
from smact.screening import ICSD24FilterConfig, smact_validity

from discovery import datasets
from discovery.errors import ConfigError, DataError
from discovery.formulas import read_parts, read_rows, split_of
from discovery.validity import Rules, oxidation_states, verdict

SALTS = [
    f"{cation}{anion}{n}"
    for cation in ("Li", "Na", "K", "Rb", "Cs", "Ag")
    for anion in ("F", "Cl", "Br", "I")
    for n in ("", 3, 5)
]


def make(tmp_path, formulas, *options, variant="mix"):
    path = tmp_path / "list.csv"
    if isinstance(formulas, pd.DataFrame):
        formulas.to_csv(path, index=False)
    else:
        path.write_text("formula\n" + "\n".join(formulas) + "\n")
    out = tmp_path / "out"
    many = ["--test-share", "0.4", "--valid-share", "0.3"]
    assert datasets.main(["--formulas", str(path), "--variant", variant, "--out", str(out), *many, *options]) == 0
    parts = {part: pd.read_csv(out / f"{part}.csv", keep_default_na=False).formula.tolist() for part in datasets.PARTS}
    return parts, json.loads((out / "dataset.json").read_text())


def test_every_row_is_accounted_for(tmp_path):
    extra = ["O2", "NaCl3O30", "LiNaKRbCsFClBrI", "Fe4O6", "O3Fe2", "NaN"]
    parts, card = make(tmp_path, SALTS + extra)
    assert card["removed"] == {
        "single element": 1,
        "more than 30 atoms": 1,
        "more than 8 elements": 1,
        "repeated composition": 1,
    }
    kept = [formula for part in parts.values() for formula in part]
    assert sorted(kept) == sorted([*SALTS, "Fe2O3", "NaN"])  # NaN: sodium nitride survives reading and writing
    assert card["rows"] == len(kept) + sum(card["removed"].values())
    assert card["versions"]["smact"]
    assert card["source"] == "list.csv"


def test_names_are_those_of_pymatgen(tmp_path):
    odd = ["K2O2", "HO", "Al2P6S18", "CaB2O4", "N2H8SO4", "Na2Cl2", "LaC2", "Xe1F2", "Ar1B4"]
    parts, _ = make(tmp_path, odd + SALTS)
    kept = {formula for part in parts.values() for formula in part}
    assert kept == {Composition(formula).reduced_formula for formula in odd + SALTS}


def test_the_split_is_that_of_training(tmp_path):
    parts, _ = make(tmp_path, SALTS, "--seed", "3")
    for part, formulas in parts.items():
        assert formulas
        assert {split_of(formula, 3, 0.3, 0.4) for formula in formulas} == {part}
    assert read_parts(tmp_path / "out") == parts


def test_variants_are_smacts(tmp_path):
    mixed = [*SALTS, "NaZr2", "CSe2", "Fe2O3", "KMnO4", "TiO", "TiO2", "SiC", "NiTi", "NaAg2", "MnO2", "CaS2O3"]
    medium = ICSD24FilterConfig(commonality="medium")
    for variant, config in (("pure", ICSD24FilterConfig()), ("strict", medium)):
        (tmp_path / variant).mkdir()
        parts, card = make(tmp_path / variant, mixed, variant=variant)
        expected = {f for f in mixed if smact_validity(f, include_alloys=False, icsd_filter=config)}
        assert {formula for part in parts.values() for formula in part} == expected
        neutral = sum(smact_validity(f, False, include_alloys=False, icsd_filter=config) for f in mixed)
        assert card["removed"]["not charge neutral"] == len(mixed) - neutral
        assert card["removed"].get("not electronegativity balanced", 0) == neutral - len(expected)


def test_strict_states_are_a_part_of_the_default():
    default, strict = oxidation_states(), oxidation_states("icsd24-medium")
    assert all(set(states) <= set(default[symbol]) for symbol, states in strict.items())
    assert set(default["Mn"]) > set(strict["Mn"])
    assert not verdict({"Na": 1, "O": 2}, Rules(states="icsd24-medium")).charge_neutral


def test_a_property_limits_the_rows(tmp_path):
    gaps = [0.5 * (index % 10) for index in range(len(SALTS))]
    table = pd.DataFrame({"formula": [*SALTS, "MgO", "CaO"], "gap": [*map(str, gaps), "", "nan"]})
    parts, card = make(tmp_path, table, "--property", "gap", "--min", "2", "--max", "4")
    inside = {formula for formula, gap in zip(SALTS, gaps, strict=True) if 2 <= gap <= 4}
    assert {formula for part in parts.values() for formula in part} == inside
    assert card["removed"]["no value of the property"] == 2
    assert card["removed"]["property out of range"] == len(SALTS) - len(inside)


def test_a_property_of_a_parquet_file(tmp_path):
    table = pd.DataFrame({"formula": ["NaCl", "MgO", "CaO"], "gap": [1.0, None, 3.0], "good": [True, True, False]})
    table.to_parquet(tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet", "good", "gap")
    assert [(row.line, row.formula) for row in rows] == [(1, "NaCl"), (2, "MgO")]
    selected = datasets.select(rows, datasets.Selection(minimum=0.0, variant="mix"), tmp_path)
    assert selected.kept == [{"Na": 1, "Cl": 1}]


def test_withheld_families_are_in_no_part(tmp_path):
    parts, card = make(tmp_path, [*SALTS, "NaAgF2", "NaAgCl2O"], "--withhold", "Na,Ag", "--withhold", "K")
    withheld = pd.read_csv(tmp_path / "out" / "withheld.csv")
    potassium = [formula for formula in SALTS if "K" in formula]
    assert set(withheld.formula) == {"NaAgF2", "NaAgCl2O", *potassium}
    assert set(withheld.family) == {"Ag-Na", "K"}
    assert card["withheld"] == {"Ag-Na": 2, "K": len(potassium)}
    assert not set(withheld.formula) & {formula for part in parts.values() for formula in part}


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("formula\nNaCl\nXx2\n", [], DataError, "line 3: 'Xx2'"),
        ("formula,gap\nNaCl,wide\n", ["--property", "gap", "--min", "1"], DataError, "line 2: 'wide' is no number"),
        ("formula\nNaCl\n", ["--property", "gap", "--min", "1"], DataError, "no column 'gap'"),
        ("formula\nNaCl\n", ["--property", "gap"], ConfigError, "needs a range"),
        ("formula\nNaCl\n", ["--min", "1"], ConfigError, "--property"),
        ("formula\nNaCl\n", [], DataError, "too few"),
        ("formula\nNaCl\n", ["--test-share", "0.96"], ConfigError, "below 1 together"),
        ("formula\nNaCl\n", ["--withhold", "K,Xx"], ConfigError, "unknown elements"),
    ],
)
def test_errors_say_where(tmp_path, text, options, error, message):
    (tmp_path / "a.csv").write_text(text)
    arguments = ["--formulas", str(tmp_path / "a.csv"), "--variant", "mix", "--out", str(tmp_path / "out")]
    with pytest.raises(error, match=message):
        datasets.main([*arguments, *options])


def test_a_data_set_is_not_overwritten(tmp_path):
    make(tmp_path, SALTS)
    with pytest.raises(ConfigError, match="already holds"):
        make(tmp_path, SALTS)
