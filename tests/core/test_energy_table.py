import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from discovery.errors import DataError
from discovery.structures import energy_table
from discovery.structures.energy_table import ground_states, relaxations, single_points

CIF = """data_NaCl
_cell_length_a 3.99
_cell_length_b 3.99
_cell_length_c 3.99
_cell_angle_alpha 60
_cell_angle_beta 60
_cell_angle_gamma 60
_symmetry_space_group_name_H-M 'P 1'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 Na Na0 0 0 0
 Cl Cl1 {x} 0.5 0.5
"""


def crystals(formulas: list[str]) -> pd.DataFrame:
    rows = {"reduced_formula": formulas, "material_id": [f"mp-{formula}" for formula in formulas], "n_sites": 2}
    return pd.DataFrame(rows | {"cif": CIF.format(x=0.5)})


def points(formulas: list[str], energies: list[float], forces: list[float]) -> pd.DataFrame:
    ids = [f"mp-{formula}" for formula in formulas]
    columns = {"reduced_formula": formulas, "material_id": ids, "energy_per_atom": energies, "max_force": forces}
    return pd.DataFrame(columns | {"error": ""})


def test_the_ground_state_stands_for_a_composition() -> None:
    table = pd.DataFrame(
        {
            "reduced_formula": ["B", "A", "A", "A", "C", "D"],
            "material_id": ["mp-1", "mp-2", "mp-3", "mp-4", "mp-5", "mp-6"],
            "n_sites": [2, 4, 4, 4, energy_table.MAX_ATOMS + 1, 2],
            "formation_energy_per_atom": [-1.0, np.nan, -2.0, -1.5, -1.0, np.nan],
        }
    )
    assert ground_states(table).material_id.tolist() == ["mp-3", "mp-1", "mp-6"]


def test_finished_shards_are_read_and_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_table, "SHARD_ROWS", 2)
    formulas = ["A", "B", "C"]
    points(formulas[:2], [-1.0, -2.0], [0, 0]).to_parquet(tmp_path / "single-0000.parquet")
    points(formulas[2:], [-3.0], [0]).to_parquet(tmp_path / "single-0001.parquet")
    assert single_points(crystals(formulas), tmp_path).energy_per_atom.tolist() == [-1.0, -2.0, -3.0]


def test_shards_of_other_crystals_are_refused(tmp_path: Path) -> None:
    points(["A", "X"], [-1.0, -2.0], [0, 0]).to_parquet(tmp_path / "single-0000.parquet")
    with pytest.raises(DataError, match="--work"):
        single_points(crystals(["A", "B"]), tmp_path)


def test_only_strained_crystals_relax_and_no_energy_rises(tmp_path: Path) -> None:
    large = energy_table.RELAX_ABOVE + 0.1
    single = points(["A", "B", "C"], [-1.0, -2.0, -3.0], [0.0, large, large])
    relaxed = pd.DataFrame({"reduced_formula": ["B", "C"], "energy_per_atom": [-2.5, -2.9]})
    relaxed.to_parquet(tmp_path / "relaxed-0000.parquet")
    result = relaxations(crystals(["A", "B", "C"]), single, tmp_path)
    assert result.energy_per_atom.tolist() == [-1.0, -2.5, -3.0]
    assert result.relaxed.tolist() == [False, True, False]


def test_nothing_to_relax(tmp_path: Path) -> None:
    result = relaxations(crystals(["A"]), points(["A"], [-1.0], [0.0]), tmp_path)
    assert result.energy_per_atom.tolist() == [-1.0]
    assert not result.relaxed.any()


def test_chgnet_energy_of_rock_salt(tmp_path: Path) -> None:
    """PBE gives -3.39 eV/atom, MP2020 corrects by -0.614 eV per chloride; ions shifted out of symmetry feel a force."""
    rows = crystals(["NaCl", "ClNa"])
    rows.loc[1, "cif"] = CIF.format(x=0.45)
    with warnings.catch_warnings():
        energy_table._single_point_shard((rows, tmp_path / "shard.parquet"))
    at_rest, shifted = pd.read_parquet(tmp_path / "shard.parquet").itertuples()
    assert at_rest.energy_per_atom == pytest.approx(-3.39 - 0.614 / 2, abs=0.05)
    assert at_rest.max_force == pytest.approx(0.0, abs=1e-3)
    assert shifted.max_force > 0.2
    assert shifted.energy_per_atom > at_rest.energy_per_atom


def test_a_crystal_that_cannot_be_read_keeps_its_reason(tmp_path: Path) -> None:
    rows = crystals(["NaCl"]).assign(cif="not a CIF")
    with warnings.catch_warnings():
        energy_table._single_point_shard((rows, tmp_path / "shard.parquet"))
    row = next(pd.read_parquet(tmp_path / "shard.parquet").itertuples())
    assert np.isnan(row.energy_per_atom)
    assert row.error
