import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from discovery.composition import amounts, formula_hash, hash_table, scrambled
from discovery.errors import DataError
from discovery.reference.known import HashedFormulas, ListedFormulas

FORMULAS = ["NaCl", "Fe2O3", "Fe3O4", "SrTiO3", "Ca(OH)2", "Sr2TiO4", "TiO2", "Na3Cl", "Fe", "Sr40Ti21O80"]
IN_MP = [True, True, True, True, True, False, True, False, True, True]


@pytest.fixture
def known() -> HashedFormulas:
    return HashedFormulas.from_formulas(FORMULAS, IN_MP)


def test_membership_is_by_composition_and_leaves_elements_out(known: HashedFormulas) -> None:
    assert len(known) == 9
    assert "Fe4O6" in known
    assert "Cl1Na1" in known
    assert "Na3Cl" in known
    assert "Fe" not in known
    assert "FeO" not in known
    assert 5 not in known


def test_only_materials_project_phases_are_found_in_a_system(known: HashedFormulas) -> None:
    assert known.in_mp("SrTiO3")
    assert not known.in_mp("Sr2TiO4")
    assert set(known.in_system(["Ti", "O", "Sr"])) == {"TiO2", "SrTiO3", "Sr40Ti21O80"}
    assert set(known.in_system(["Fe", "O"])) == {"Fe2O3", "Fe3O4"}
    assert known.in_system(["Na", "Cl"]) == ("NaCl",)
    assert known.in_system(["Sr", "Fe"]) == ()


def test_counts_are_those_of_the_formulas_found(known: HashedFormulas) -> None:
    for system in (["Ti", "O", "Sr"], ["Fe", "O", "Ca", "H"], ["Na", "Cl"], ["Sr", "Fe"]):
        assert known.count_in(system) == len(known.in_system(system))


def test_saving_and_pickling_keep_everything(known: HashedFormulas, tmp_path: Path) -> None:
    known.save(tmp_path / "known.npz")
    for copy in (HashedFormulas.load(tmp_path / "known.npz"), pickle.loads(pickle.dumps(known))):
        assert len(copy) == len(known)
        assert all((formula in copy) == (formula in known) for formula in [*FORMULAS, "FeO", "KCl"])
        assert copy.in_system(["Sr", "Ti", "O"]) == known.in_system(["Sr", "Ti", "O"])


def test_the_stored_hash_is_stable() -> None:
    # shipped files depend on it; 0xE2... is SplitMix64's first output for the seed 0
    assert int(scrambled(np.zeros(1, dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
    keys = np.array([25 << 32 | 2, 7 << 32 | 3], dtype=np.uint64)  # Fe2, O3
    expected = int(scrambled(scrambled(keys).sum(keepdims=True))[0])
    assert formula_hash(amounts("Fe4O6")) == formula_hash({"O": 3, "Fe": 2}) == expected
    assert (hash_table(3)[[25, 7], [2, 3]] == scrambled(keys)).all()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "known.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"known\.npz"):
        HashedFormulas.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rebuild"):
        HashedFormulas.load(tmp_path / "none.npz")


def test_listed_formulas() -> None:
    known = ListedFormulas(["Fe4O6", "FeO", "NaCl", "NaCl"])
    assert len(known) == 3
    assert "Fe2O3" in known
    assert "Fe3O4" not in known
    assert set(known.in_system(["Fe", "O", "Na"])) == {"Fe2O3", "FeO"}
    assert known.count_in(["Na", "Cl"]) == 1


def test_all_known_phases_of_real_systems_are_found() -> None:
    if "DISCOVERY_DATA" not in os.environ:
        pytest.skip("DISCOVERY_DATA does not name the folder of the data files")
    table = pd.read_parquet(Path(os.environ["DISCOVERY_DATA"]) / "formulas.parquet")
    table = table[table.chemsys.isin(["O-Ti", "Li-O", "Li-Ti", "Li-O-Ti", "Na-O", "Li-Na-O", "Na-Ti", "Na-O-Ti"])]
    known = HashedFormulas.from_formulas(table.reduced_formula, table.in_mp)
    expected = set(table.reduced_formula[table.in_mp & table.chemsys.isin(["O-Ti", "Li-O", "Li-Ti", "Li-O-Ti"])])
    assert set(known.in_system(["Li", "Ti", "O"])) == expected
    assert len(expected) > 40
