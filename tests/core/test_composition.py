from __future__ import annotations

import pytest
from pymatgen.core import Composition

from discovery.composition import (
    amounts,
    canonical_key,
    chemical_system,
    electronegativity_order,
    formula_hash,
    is_metallic,
    parse,
    reduced_formula,
)
from discovery.errors import CompositionError


@pytest.mark.parametrize("text", ["Fe4O6", "Ca(OH)2", "LiFePO4", "NaCl", "BaTiO3", "H2O", "Cu2Sb2"])
def test_the_reduced_formula_is_the_one_of_pymatgen(text: str) -> None:
    assert reduced_formula(text) == Composition(text).reduced_formula


def test_multiples_and_orders_of_a_formula_are_one_composition() -> None:
    keys = {canonical_key(amounts(text)) for text in ("Fe2O3", "O3Fe2", "Fe4O6", "O6 Fe4")}
    assert keys == {"Fe2O3"}
    assert formula_hash(amounts("Fe4O6")) == formula_hash(amounts("O3Fe2")) != formula_hash(amounts("Fe3O4"))


def test_the_hash_is_a_fixed_64_bit_number() -> None:
    # BLAKE2b-64 of "Cl1Na1", little endian: files with hashes must stay readable
    assert formula_hash({"Na": 2, "Cl": 2}) == formula_hash({"Cl": 1, "Na": 1})
    assert 0 <= formula_hash({"Na": 1, "Cl": 1}) < 2**64


def test_nitrogen_natrium_is_a_compound_and_not_a_missing_value() -> None:
    assert amounts("NaN") == {"Na": 1, "N": 1}
    assert chemical_system("NaN") == "N-Na"


@pytest.mark.parametrize("text", ["Xx2O", "", "Fe0.5O", "not a formula", "NaCl)", "Dd"])
def test_bad_formulas_are_named(text: str) -> None:
    with pytest.raises(CompositionError):
        parse(text)


def test_an_element_is_no_compound() -> None:
    with pytest.raises(CompositionError, match="fewer than two"):
        parse("O2")


def test_the_order_is_ascending_pauling_electronegativity_of_smact() -> None:
    assert electronegativity_order(["O", "Ti", "Sr"]) == ["Sr", "Ti", "O"]
    assert electronegativity_order(["He", "F", "Cs"]) == ["Cs", "F", "He"]  # no value: last


def test_metals_only_is_metallic() -> None:
    assert is_metallic("Cu3Au")
    assert not is_metallic("SiC")
