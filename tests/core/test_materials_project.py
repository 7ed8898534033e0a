"""The real client of the Materials Project against a local server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from discovery.constraints import Constraints
from discovery.errors import ConfigError, DataError, FetchError
from discovery.reference.base import Phase
from discovery.reference.download import obtain
from discovery.reference.loading import load_reference
from discovery.reference.materials_project import MaterialsProject, load_materials_project
from discovery.reference.selection import Selection
from tests.local_network import allow_local
from tests.mp_server import KEY, MPServer, document, serving

DOCUMENTS = [
    document("mp-1", "Li2O", -2.07),
    document("mp-2", "Li2O", -1.9),
    document("mp-3", "Li2O2", -1.65),
    document("mp-4", "Fe2O3", -1.9),
    document("mp-5", "LiFeO2", None),
    document("mp-6", "LiFe5O8", -1.85),
    document("mp-7", "FeO", -1.3, deprecated=True),
    document("mp-8", "NaCl", -2.1),
    document("mp-9", "Li", 0.0),
    document("mp-3", "Li2O2", -9.0, thermo_type="R2SCAN"),
]
SYSTEM = Selection.parse("Li-Fe-O")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MPServer]:
    allow_local(monkeypatch)
    structure = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with serving(MPServer(list(DOCUMENTS), {"mp-8": structure.as_dict()})) as running:
        monkeypatch.setenv("MP_API_ENDPOINT", running.url)
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
        yield running


def test_a_chemical_system_comes_with_everything_within_it(server: MPServer) -> None:
    reference = load_materials_project(SYSTEM, "mp:Li-Fe-O")
    assert set(reference.phases) == {
        Phase("Li2O", -2.07, "mp-1"),
        Phase("Li2O2", -1.65, "mp-3"),
        Phase("Fe2O3", -1.9, "mp-4"),
        Phase("LiFe5O8", -1.85, "mp-6"),
    }
    assert (reference.name, reference.scheme) == ("mp:Li-Fe-O", "mp2020")
    assert reference.version.startswith("2025.9.25+")
    assert "2025.9.25" in reference.attribution
    [(path, asked)] = server.requests
    assert path == "/materials/thermo/"
    assert set(asked["chemsys"].split(",")) == {"Fe-Li", "Fe-O", "Li-O", "Fe-Li-O"}
    assert asked["thermo_types"] == "GGA_GGA+U"
    assert "_all_fields" not in asked


def test_an_entry_without_an_energy_is_known_counted_and_named(server: MPServer) -> None:
    reference = load_materials_project(SYSTEM)
    assert "LiFeO2" in reference.known
    assert "FeO" not in reference.known  # deprecated
    assert any("1 entry without a formation energy" in note and "mp-5" in note for note in reference.notes)


def test_a_filled_cache_needs_neither_key_nor_network(server: MPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_materials_project(SYSTEM)
    server.shutdown()
    monkeypatch.delenv("MP_API_KEY")
    asked = len(server.requests)
    assert load_materials_project(SYSTEM).version == first.version
    assert load_materials_project(None).phases == first.phases
    assert len(load_materials_project(Selection.parse("Fe-O")).phases) == 1
    assert len(server.requests) == asked


def test_many_documents_come_page_by_page(server: MPServer) -> None:
    server.documents += [document(f"mp-{1000 + n}", f"Na{n}Cl", -1.0) for n in range(2, 1502)]
    reference = load_materials_project(Selection.parse("Na-Cl"))
    assert len(reference.phases) == 1501
    assert [asked.get("_skip") for _, asked in server.requests] == [None, "1000"]


def test_ids_and_patterns_are_fetched_too(server: MPServer) -> None:
    assert [p.formula for p in load_materials_project(Selection.parse("mp-8")).phases] == ["NaCl"]
    assert len(load_materials_project(Selection.parse("Li-*")).phases) == 2
    asked = len(server.requests)
    assert len(load_materials_project(Selection.parse("Li-O")).phases) == 2  # covered by the pattern
    assert len(server.requests) == asked


def test_structures_come_on_request(server: MPServer) -> None:
    wanted = Selection.parse("Na-Cl")
    assert obtain(MaterialsProject(), wanted).entries[0].cif is None
    [entry] = obtain(MaterialsProject(), wanted, structures=True).entries
    assert entry.cif is not None
    assert Structure.from_str(entry.cif, fmt="cif").composition.reduced_formula == "NaCl"
    assert len(load_materials_project(wanted).phases) == 1  # two answers, one entry


@pytest.mark.parametrize("key", ["f" * 32, "short"])
def test_a_wrong_key_is_a_wrong_call(server: MPServer, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(ConfigError, match=r"refuses the key.*MP_API_KEY") as error:
        load_materials_project(SYSTEM)
    assert "\n" not in str(error.value)


def test_no_key_says_where_to_get_one(server: MPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"needs a key.*materialsproject.org/api"):
        load_materials_project(SYSTEM)
    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", KEY)
    assert load_materials_project(SYSTEM).phases


@pytest.mark.parametrize("status", ["429", "502", "504"])
def test_a_busy_server_is_asked_again(server: MPServer, status: str) -> None:
    server.faults = [status, status]
    assert len(load_materials_project(SYSTEM).phases) == 4
    assert len(server.requests) == 3


@pytest.mark.parametrize(("faults", "words"), [(["429"] * 9, "too many 429"), (["500"], "500"), (["503"], "503")])
def test_a_failing_server_is_an_error_with_its_status(server: MPServer, faults: list[str], words: str) -> None:
    server.faults = faults
    with pytest.raises(FetchError, match=f"after 0 of 1 requests.*{words}.*give the same command again") as error:
        load_materials_project(SYSTEM)
    assert "\n" not in str(error.value)


def test_a_broken_download_keeps_what_it_had_and_goes_on(server: MPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaterialsProject, "chunk", 1)
    server.faults = ["ok", "ok", "cut"]
    with pytest.raises(FetchError, match="after 2 of 4 requests"):
        load_materials_project(SYSTEM)
    cache = MaterialsProject().cache
    assert len(cache.covered("2025.9.25", False)) == 2
    assert not list(cache.folder.rglob("*.partial"))
    asked = {query["chemsys"] for _, query in server.requests[:2]}
    del server.requests[:]
    assert len(load_materials_project(SYSTEM).phases) == 4
    assert len(server.requests) == 2
    assert not asked & {query["chemsys"] for _, query in server.requests}


def test_an_unreachable_server_is_one_line(server: MPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    with pytest.raises(FetchError) as error:
        load_materials_project(SYSTEM)
    assert "\n" not in str(error.value)


def test_a_new_version_of_the_database_is_fetched_anew_and_never_mixed(server: MPServer) -> None:
    load_materials_project(SYSTEM)
    server.version = "2025.10.1"
    server.documents[0] = document("mp-1", "Li2O", -2.2)
    assert load_materials_project(SYSTEM).version.startswith("2025.9.25")  # the cache has all of it
    _forget_heartbeat()
    assert obtain(MaterialsProject(), SYSTEM, refresh=True).version == "2025.10.1"
    assert load_materials_project(SYSTEM).version.startswith("2025.10.1")
    assert Phase("Li2O", -2.2, "mp-1") in load_materials_project(SYSTEM).phases


def test_nothing_to_fetch_and_an_empty_cache_name_the_command(server: MPServer) -> None:
    with pytest.raises(ConfigError, match=r"--chemsys.*discovery.reference fetch mp"):
        load_materials_project(None)


def test_a_damaged_file_of_the_cache_is_named(server: MPServer) -> None:
    load_materials_project(SYSTEM)
    [path] = MaterialsProject().cache.folder.glob("*/*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{path.name} is damaged.*delete it"):
        load_materials_project(SYSTEM)


def test_the_option_reads_systems_behind_the_colon(server: MPServer) -> None:
    reference = load_reference("mp:Na-Cl,Li-O")
    assert {phase.formula for phase in reference.phases} == {"NaCl", "Li2O", "Li2O2"}
    with pytest.raises(ConfigError, match="Xx"):
        load_reference("mp:Xx-O")


def test_candidates_decide_what_is_fetched_where_the_option_does_not(server: MPServer) -> None:
    limits = Constraints(allowed=frozenset({"Na", "Cl"}))
    assert [p.formula for p in load_reference("mp", constraints=limits).phases] == ["NaCl"]
    formulas = {p.formula for p in load_reference("mp", constraints=Constraints(), formulas=["Li3FeO4"]).phases}
    assert formulas == {"Li2O", "Li2O2", "Fe2O3", "LiFe5O8"}
    both = load_reference("mp", constraints=limits, formulas=["Li3FeO4"])
    assert {p.formula for p in both.phases} == formulas | {"NaCl"}


def _forget_heartbeat() -> None:
    """The client keeps the first answer for the life of the process."""
    from mp_api.client.core.client import _Rester

    _Rester._get_heartbeat_info.cache_clear()
