"""Candidate structures: ions on the right sites, sensible volumes, ordering, search with a small real potential."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from discovery.composition import reduced_formula
from discovery.structures.candidates import Candidate, CandidateLimits, candidates
from discovery.structures.ions import charges, radius
from discovery.structures.ordering import arrangements
from discovery.structures.potentials import potential_from
from discovery.structures.search import SearchError, SearchLimits, find_structure, screen


def nearest(structure: Structure, symbol: str, cutoff: float) -> list[str]:
    site = next(site for site in structure if site.specie.symbol == symbol)
    return sorted(other.specie.symbol for other in structure.get_neighbors(site, cutoff))


def test_strontium_takes_the_large_site_of_the_perovskite() -> None:
    best = candidates("SrTiO3")[0]
    assert best.prototype == "perovskite"
    assert nearest(best.structure, "Ti", 2.2) == ["O"] * 6
    assert best.structure.volume == pytest.approx(59.5, rel=0.05)  # A^3, 3.905 A cubed


@pytest.mark.parametrize(
    ("formula", "volume"),  # A^3/atom, experiment: CaF2 5.463 A, BaZrO3 4.193 A, ZnAl2O4 8.086 A, K2PtCl6-type Cs2SnBr6
    [("CaF2", 13.6), ("BaZrO3", 14.7), ("ZnAl2O4", 9.4), ("Cs2SnBr6", 34.8)],
)
def test_predicted_volume_is_near_experiment(formula: str, volume: float) -> None:
    best = candidates(formula)[0].structure
    assert best.volume / len(best) == pytest.approx(volume, rel=0.12)


def test_spinel_keeps_its_counts() -> None:
    spinel = next(c for c in candidates("ZnGa2O4") if c.prototype == "spinel").structure
    assert spinel.composition.as_dict() == {"Zn": 2, "Ga": 4, "O": 8}
    assert nearest(spinel, "Zn", 2.35) == ["O"] * 4


def test_every_candidate_has_the_formula() -> None:
    for formula in ("SrNdTiNbO6", "KNbO2F", "Cu2ZnSnS4", "LaNiSb", "LiMnCoO4"):
        found = candidates(formula)
        assert found
        assert {reduced_formula(candidate.structure.composition) for candidate in found} == {reduced_formula(formula)}


def test_candidates_are_repeatable_and_limited() -> None:
    limits = CandidateLimits(count=5, atoms=1000)
    one, two = candidates("CaTiO3", limits), candidates("CaTiO3", limits)
    assert [c.prototype for c in one] == [c.prototype for c in two]
    assert all(np.allclose(a.structure.frac_coords, b.structure.frac_coords) for a, b in zip(one, two, strict=True))
    assert len(one) == 5


def test_no_prototype_gives_no_candidates() -> None:
    assert candidates("Al7Ni11Pd13") == []


def test_charges_are_the_usual_ones() -> None:
    assert charges("SrTiO3") == {"Sr": 2.0, "Ti": 4.0, "O": -2.0}
    assert charges("KClO4") == {"K": 1.0, "Cl": 7.0, "O": -2.0}
    assert charges("Ni3Al") is None


def test_ionic_radii_follow_charge() -> None:
    assert radius("Fe", 3.0) < radius("Fe", 2.0) < radius("Fe", None)
    assert radius("O", -2.0) == pytest.approx(1.26, abs=0.15)  # Shannon


def test_opposite_charges_alternate_on_a_chain() -> None:
    chain = Structure(Lattice.orthorhombic(12, 20, 20), ["X"] * 0 or ["Na"] * 4, [[i / 4, 0, 0] for i in range(4)])
    best = arrangements(chain, [("Li", "F")] * 4, {"Li": 2, "F": 2}, {"Li": 1.0, "F": -1.0}, 3)
    assert best[0] in (["Li", "F", "Li", "F"], ["F", "Li", "F", "Li"])
    assert len(best) == 2  # alternating and paired; the rest are the same by symmetry


def test_screen_finds_the_volume_of_copper_gold_and_search_its_order() -> None:
    potential = potential_from("emt", EMT())
    starts = screen(candidates("Cu3Au"), potential)
    energies = [start.energy_per_atom for start in starts]
    assert energies == sorted(energies)
    found = find_structure("Cu3Au", potential, SearchLimits(relaxations=2, steps=40))
    assert found.relaxed.converged
    per_atom = found.relaxed.structure.volume / 4 * 4 / len(found.relaxed.structure)
    assert per_atom == pytest.approx(3.75**3 / 4, rel=0.04)  # L1_2 Cu3Au: 3.75 A


def test_a_flat_cell_has_no_energy_and_stops_nothing() -> None:
    potential = potential_from("emt", EMT())
    flat = Structure(Lattice.from_parameters(3, 3, 3, 90, 90, 4), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert flat.volume / 2 < 2.0
    good = candidates("Cu3Au")
    starts = screen([Candidate(flat, "flat", 0.0), *good], potential)
    assert "flat" not in {start.prototype for start in starts}
    assert starts
    with pytest.raises(SearchError, match="no energy"):
        screen([Candidate(flat, "flat", 0.0)], potential)


def test_search_without_time_or_prototype_says_so() -> None:
    potential = potential_from("emt", EMT())
    with pytest.raises(SearchError, match="timeout"):
        find_structure("Cu3Au", potential, SearchLimits(max_seconds=0.0))
    with pytest.raises(SearchError, match="no prototype"):
        find_structure("Al7Ni11Pd13", potential, SearchLimits())
