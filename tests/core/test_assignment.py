"""Which elements may take which sites: counted by hand."""

import pytest

from discovery.structures.assignment import has_prototype, matches, ordered_amounts


def placed(formula: str, name: str) -> list[dict[str, list[str]]]:
    """Elements on each species' sites, for each match of a formula with the type called `name`."""
    symbols, _ = ordered_amounts(formula)
    found = []
    for match in matches(formula):
        if match.prototype.name == name:
            groups = zip(match.prototype.species, match.groups, strict=True)
            found.append({species: [symbols[i] for i in group] for species, group in groups})
    return found


@pytest.mark.parametrize("formula", ["NaCl", "SrTiO3", "MgAl2O4", "LiFePO4", "Cs2AgBiBr6", "LaCuSO", "Ni3Al"])
def test_common_types_have_a_prototype(formula: str) -> None:
    assert has_prototype(formula)


@pytest.mark.parametrize("formula", ["Na3Cl11", "Al7Ni11Pd13", "Ba7Fe11O17"])
def test_odd_formulas_have_none(formula: str) -> None:
    assert not has_prototype(formula)
    assert matches(formula) == ()


def test_perovskite_takes_both_cations_on_either_site() -> None:
    assert placed("SrTiO3", "perovskite") == [
        {"O": ["O"], "Sr": ["Sr"], "Ti": ["Ti"]},
        {"O": ["O"], "Sr": ["Ti"], "Ti": ["Sr"]},
    ]


def test_equal_amounts_only_go_where_the_amounts_agree() -> None:
    assert placed("MgAl2O4", "spinel") == [{"Al": ["Al"], "Mg": ["Mg"], "O": ["O"]}]


def test_elements_share_a_sublattice_by_sign() -> None:
    shared = placed("SrNdTiNbO6", "perovskite")
    assert all(groups["O"] == ["O"] for groups in shared)
    cations = {tuple(sorted((tuple(groups["Sr"]), tuple(groups["Ti"])))) for groups in shared}
    assert len(shared) == 6  # 4 cations, two on each site
    assert (("Sr", "Nd"), ("Ti", "Nb")) in cations or (("Nd", "Sr"), ("Nb", "Ti")) in cations or len(cations) == 3


def test_cell_grows_until_the_amounts_are_integers() -> None:
    ordered = [match for match in matches("SrNdTiNbO6") if match.prototype.name == "perovskite"]
    assert {match.cells for match in ordered} == {2}
    assert {match.atoms for match in ordered} == {10}
    assert all(match.ordered for match in ordered)


def test_oxidefluorides_share_the_anion_sites() -> None:
    shared = placed("KNbO2F", "perovskite")
    assert {tuple(sorted(groups["O"])) for groups in shared} == {("F", "O")}
