"""Formation energies from total energies: pymatgen's own phase diagram is the truth."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Lattice, Structure
from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
from pymatgen.entries.computed_entries import ComputedEntry, ComputedStructureEntry

from discovery.errors import DataError, SchemeError
from discovery.reference.computed import read_computed
from discovery.reference.loading import load_reference

POTENTIALS = {"Fe": "Fe_pv", "O": "O", "Li": "Li_sv", "Na": "Na_pv", "Cl": "Cl"}


def entry(formula: str, energy: float, name: str, **hubbards: float) -> ComputedEntry:
    """A calculation with the settings of the Materials Project."""
    found = ComputedEntry(formula, energy, entry_id=name)
    symbols = [f"PAW_PBE {POTENTIALS[element.symbol]} 01Jan2000" for element in found.composition.elements]
    found.parameters = {"run_type": "GGA+U" if hubbards else "GGA", "potcar_symbols": symbols, "hubbards": hubbards}
    return found


ELEMENTS = [entry("Fe2", -16.9, "fe"), entry("Fe", -8.2, "fe-high"), entry("O2", -9.9, "o"), entry("Li", -1.9, "li")]
OXIDES = [
    entry("Fe4O6", -67.9, "hematite", Fe=5.3),
    entry("FeO", -12.9, "wuestite", Fe=5.3),
    entry("Li2O", -14.3, "oxide"),
    entry("Li2O2", -19.0, "peroxide"),
    entry("LiFeO2", -26.7, "ternary", Fe=5.3),
]
CHLORIDES = [entry("Na2", -2.6, "na"), entry("Cl2", -3.6, "cl"), entry("NaCl", -6.8, "salt")]


def write(path: Path, entries: list[Any]) -> Path:
    rows = [one.as_dict() if isinstance(one, ComputedEntry) else one for one in entries]
    text = json.dumps(rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.filterwarnings("ignore")  # of pymatgen: peroxides without a structure are guessed from the formula
def test_corrected_energies_equal_those_of_pymatgen(tmp_path: Path) -> None:
    entries = [*ELEMENTS, *OXIDES]
    found = read_computed(write(tmp_path / "entries.json", entries))
    kept = MaterialsProject2020Compatibility().process_entries(entries, inplace=False)
    diagram = PhaseDiagram(kept)
    expected = {e.entry_id: diagram.get_form_energy_per_atom(e) for e in kept if len(e.composition) > 1}
    assert {name: energy for _, energy, name in found.compounds} == pytest.approx(expected, abs=1e-9)
    assert found.scheme == "mp2020"
    assert len(found.compounds) == 5
    with pytest.raises(SchemeError, match=r"6 of GGA, 3 of GGA\+U"):  # without corrections they have no common scale
        read_computed(tmp_path / "entries.json", "raw")


def test_the_reference_holds_the_lowest_compound_and_says_how(tmp_path: Path) -> None:
    path = write(tmp_path / "entries.json.gz", [*CHLORIDES, entry("Na2Cl2", -13.0, "worse")])
    reference = load_reference(f"snapshot:{path}")
    [phase] = reference.phases
    assert (phase.formula, phase.material_id) == ("NaCl", "salt")
    # E(NaCl) - mu(Na) - mu(Cl), and the correction of chlorine, -0.614 eV
    assert phase.formation_energy_per_atom == pytest.approx((-6.8 + 1.3 + 1.8 - 0.614) / 2, abs=1e-9)
    assert reference.elemental_references == {"Cl": -1.8, "Na": -1.3}
    assert "MaterialsProject2020Compatibility" in reference.notes[0]


def test_another_scheme_is_taken_as_it_is_with_its_own_corrections(tmp_path: Path) -> None:
    salt = entry("NaCl", -6.8, "salt")
    salt.correction = -0.2
    path = write(tmp_path / "entries.json", [*CHLORIDES[:2], salt])
    found = read_computed(path, "lab")
    assert found.scheme == "lab"
    assert found.compounds[0][1] == pytest.approx((-7.0 + 1.3 + 1.8) / 2)


def test_corrections_that_an_entry_brings_are_removed_before_ours(tmp_path: Path) -> None:
    salt = entry("NaCl", -6.8, "salt")
    salt.correction = -5.0
    with_own = read_computed(write(tmp_path / "own.json", [*CHLORIDES[:2], salt]))
    assert with_own.compounds == read_computed(write(tmp_path / "none.json", CHLORIDES)).compounds


def test_structures_decide_the_kind_of_oxygen(tmp_path: Path) -> None:
    peroxide = Structure(
        Lattice.cubic(4), ["Li", "Li", "O", "O"], [[0, 0, 0], [0.5] * 3, [0, 0.5, 0.3], [0, 0.5, 0.66]]
    )
    plain = entry("Li2O2", -19.0, "peroxide")
    whole = ComputedStructureEntry(peroxide, -19.0, parameters=plain.parameters, entry_id="peroxide")
    found = read_computed(write(tmp_path / "entries.json", [*ELEMENTS, whole]))
    assert found.compounds[0][1] == pytest.approx((-19.0 + 2 * 1.9 + 9.9 - 2 * 0.465) / 4, abs=1e-9)
    assert not any("guessed" in note for note in found.notes)


def test_a_missing_element_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no entry of the elements Cl, Na"):
        read_computed(write(tmp_path / "entries.json", CHLORIDES[2:]))


def test_other_settings_are_refused_counted_and_named(tmp_path: Path) -> None:
    wrong = entry("Na2Cl", -9.0, "wrong")
    wrong.parameters["potcar_symbols"] = ["PAW_PBE Na 01Jan2000", "PAW_PBE Cl 01Jan2000"]
    bare = entry("NaCl2", -9.0, "bare")
    del bare.parameters["potcar_symbols"]
    found = read_computed(write(tmp_path / "entries.json", [*CHLORIDES, wrong, bare]))
    assert [name for *_, name in found.compounds] == ["salt", "bare"]
    assert any("1 entry refused" in note and "wrong" in note for note in found.notes)
    assert any("1 entry without pseudopotentials" in note and "bare" in note for note in found.notes)


def test_energies_without_a_common_scale_never_meet(tmp_path: Path) -> None:
    other = entry("NaCl", -20.0, "r2scan")
    other.parameters["run_type"] = "R2SCAN"
    path = write(tmp_path / "entries.json", [*CHLORIDES, other])
    with pytest.raises(SchemeError, match="3 of GGA, 1 of R2SCAN"):
        read_computed(path)
    with pytest.raises(SchemeError, match="3 of GGA, 1 of R2SCAN"):
        read_computed(path, "lab")


def test_calculations_of_another_program_need_a_scheme(tmp_path: Path) -> None:
    path = write(tmp_path / "entries.json", [ComputedEntry(f, e) for f, e in (("Na", -1), ("Cl", -2), ("NaCl", -7))])
    with pytest.raises(SchemeError, match=r"admits none of the 3 entries.*--scheme NAME"):
        read_computed(path)
    assert read_computed(path, "lab").compounds == (("NaCl", -2.0, ""),)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"@module": "os", "@class": "system", "energy": 1}, "entry 4: system is no ComputedEntry"),
        ({"composition": {"Na": 1}}, "entry 4: its energy is None"),
        ({"composition": {"Xx": 1}, "energy": -1.0}, "entry 4: no ComputedEntry"),
        ({"composition": {"Na": 0.5, "Cl": 1}, "energy": -1.0}, "entry 4.*fractional"),
        ({"energy": -1.0}, "entry 4: no ComputedEntry"),
        (7, "entry 4: int is no ComputedEntry"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, row: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_computed(write(tmp_path / "entries.json", [*CHLORIDES, row]), "lab")


def test_nothing_in_a_file_is_imported(tmp_path: Path) -> None:
    row = CHLORIDES[2].as_dict()
    trap = {"@module": "tests.no_such_module", "@class": "Trap"}
    row["parameters"]["trap"] = row["data"]["trap"] = trap
    row["energy_adjustments"] = [trap]
    assert len(read_computed(write(tmp_path / "entries.json", [*CHLORIDES[:2], row])).compounds) == 1


@pytest.mark.parametrize("text", ["{", "{}", '"x"', "[]"])
def test_what_is_no_list_of_entries_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "entries.json").write_text(text)
    with pytest.raises(DataError, match=r"entries\.json"):
        read_computed(tmp_path / "entries.json")
    with pytest.raises(DataError, match="does not exist"):
        read_computed(tmp_path / "none.json")
