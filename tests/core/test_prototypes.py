"""The prototype library: every own type is what its record says, and known coordinations come out."""

import json

import numpy as np
import pytest

from discovery.composition import reduced_formula
from discovery.structures.literature import LiteratureEntry, read_literature
from discovery.structures.potentials import to_atoms
from discovery.structures.prototypes import MAX_ATOMS, OWN_LIBRARY, Prototype, library
from discovery.structures.relaxation import shortest_distance
from discovery.structures.symmetry import dataset, group_type, hall_number, raw_cell

RECORDS = json.loads(OWN_LIBRARY.read_text(encoding="utf-8"))


def own(name: str) -> Prototype:
    return next(prototype for prototype in library() if prototype.own and prototype.name == name)


def neighbours(prototype: Prototype, symbol: str, cutoff: float) -> list[str]:
    site = next(site for site in prototype.structure if site.specie.symbol == symbol)
    return sorted(other.specie.symbol for other in prototype.structure.get_neighbors(site, cutoff))


def test_library_has_at_least_60_own_ternary_and_quaternary_types_and_aflows() -> None:
    own_types = [prototype for prototype in library() if prototype.own]
    assert sum(len(prototype.species) == 3 for prototype in own_types) >= 60
    assert sum(len(prototype.species) == 4 for prototype in own_types) >= 20
    assert sum(not prototype.own for prototype in library()) >= 200
    assert {"B1", "B3", "C1", "L1_2"} <= {prototype.strukturbericht for prototype in library()}


def test_own_names_are_unique_and_each_has_a_source() -> None:
    names = [record["name"] for record in RECORDS]
    assert len(set(names)) == len(names)
    assert all(record["source"] for record in RECORDS)


@pytest.mark.parametrize("prototype", [p for p in library() if p.own], ids=lambda p: p.name.replace(" ", "-"))
def test_own_type_has_its_space_group_formula_and_room(prototype: Prototype) -> None:
    record = next(record for record in RECORDS if record["name"] == prototype.name)
    structure = prototype.structure
    assert dataset(raw_cell(structure), 0.01).number == record["space_group"]
    assert reduced_formula(structure.composition) == prototype.compound == record["compound"]
    assert len(structure) <= MAX_ATOMS
    assert shortest_distance(to_atoms(structure)) > (0.85 if "H" in prototype.species else 1.0)


def test_perovskite_has_octahedral_titanium_and_twelvefold_strontium() -> None:
    perovskite = own("perovskite")
    edge = perovskite.structure.lattice.a
    assert 3.8 < edge < 4.0  # SrTiO3: 3.905 A
    assert neighbours(perovskite, "Ti", 0.55 * edge) == ["O"] * 6
    assert neighbours(perovskite, "Sr", 0.75 * edge) == ["O"] * 12


def test_spinel_has_tetrahedral_magnesium_and_octahedral_aluminium() -> None:
    spinel = own("spinel")
    assert len(spinel.structure) == 14
    assert neighbours(spinel, "Mg", 2.3) == ["O"] * 4
    assert neighbours(spinel, "Al", 2.3) == ["O"] * 6


def test_charges_of_own_types_are_neutral() -> None:
    for prototype in library():
        if prototype.own and prototype.charges is not None:
            total = sum(
                n * prototype.charges[symbol] for symbol, n in zip(prototype.species, prototype.counts, strict=True)
            )
            assert total == pytest.approx(0.0, abs=1e-6), prototype.name


@pytest.mark.parametrize(
    ("symbol", "number", "choice"),
    [("Pnma", 62, ""), ("Fd-3m:2", 227, "2"), ("R-3c", 167, "H"), ("P2_1/n", 14, "b2"), ("I2/a", 15, "b3")],
)
def test_hall_number_finds_the_setting(symbol: str, number: int, choice: str) -> None:
    group = group_type(hall_number(symbol))
    assert (group.number, group.choice) == (number, choice)


def test_unknown_coordinates_are_named_by_site_and_letter() -> None:
    entry = LiteratureEntry("x", "NaCl", "Fm-3m", (5.6,) * 3 + (90.0,) * 3, (("Na", ("x", "0", "0")),), "")
    assert entry.unknowns == ("0x",)
    assert len(entry.structure({"0x": 0.25})) == 24


def test_literature_table_is_complete() -> None:
    entries = read_literature()
    assert len({entry.name for entry in entries}) == len(entries)
    assert all(np.isfinite(entry.cell).all() for entry in entries)
