"""The real OPTIMADE client against the reference server of the `optimade` package, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymatgen.core import Structure

from discovery.errors import ConfigError, DataError, FetchError, SchemeError
from discovery.reference import optimade
from discovery.reference.base import Phase
from discovery.reference.loading import load_reference
from discovery.reference.optimade import Optimade, Provider, fetch_optimade, filter_of, load_optimade
from discovery.reference.selection import Selection
from tests.local_network import allow_local
from tests.optimade_server import Document, OptimadeServer, serving, structure

# Both of the server (optimade 1.5 under pydantic 2.14), which runs in the same process as the test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore:Unrecognised field"),
]

SYSTEM = Selection.parse("Fe-Li-O")


def stability(energy: float) -> Document:
    kinds = {"gga_gga+u": energy, "r2scan": energy - 5}
    return {kind: {"formation_energy_per_atom": e, "energy_above_hull": 0.01} for kind, e in kinds.items()}


DOCUMENTS = [
    structure("mp-1", "Li2O", stability=stability(-2.07)),
    structure("mp-2", "Li2O", stability=stability(-1.9)),
    structure("mp-3", "Li2O2", stability=stability(-1.65)),
    structure("mp-4", "Fe2O3", stability=stability(-1.9)),
    structure("mp-5", "LiFeO2", stability={}),
    structure("mp-6", "LiFe5O8", stability=stability(-1.85)),
    structure("mp-8", "NaCl", stability=stability(-2.1)),
]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> OptimadeServer:
    return OptimadeServer("mp", ["stability"], DOCUMENTS, tmp_path_factory.mktemp("logs"))


@pytest.fixture(autouse=True)
def _cache_and_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allow_local(monkeypatch)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(optimade, "BACKOFF_S", 0.001)


@pytest.fixture
def server(provider: OptimadeServer) -> Iterator[OptimadeServer]:
    provider.faults, provider.requests = [], []
    with serving(provider):
        yield provider


def other(prefix: str, field: str, logs: Path, energy: float | None = -2.0) -> OptimadeServer:
    """A provider with one entry and one field."""
    return OptimadeServer(prefix, [field], [structure("7", "Li2O", **{field: energy})], logs)


def test_provider_fields_of_the_materials_project_are_mapped(server: OptimadeServer) -> None:
    reference = load_optimade(server.url, SYSTEM)
    assert set(reference.phases) == {
        Phase("Li2O", -2.07, "mp-1"),
        Phase("Li2O2", -1.65, "mp-3"),
        Phase("Fe2O3", -1.9, "mp-4"),
        Phase("LiFe5O8", -1.85, "mp-6"),
    }
    assert reference.scheme == "mp2020"
    assert reference.name == f"optimade:{server.url}"
    assert "Provider mp" in reference.attribution
    assert "LiFeO2" in reference.known
    assert any("1 entry without a formation energy" in note and "mp-5" in note for note in reference.notes)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("longest", "pages"), [(500, [None, "100"]), (50, [None, None, "20"])])
def test_many_entries_come_page_by_page(tmp_path: Path, longest: int, pages: list[str | None]) -> None:
    count = 105 if longest == 500 else 25
    documents = [structure(f"{n}", f"Na{n}Cl", delta_e=-1.0) for n in range(2, count + 2)]
    with serving(OptimadeServer("oqmd", ["delta_e"], documents, tmp_path, longest)) as server:
        assert len(load_optimade(f"{server.url}#systems=Na-Cl", None).phases) == count
    assert [asked.get("page_offset") for asked in server.requests] == pages


def test_a_filter_has_mandatory_operators_only() -> None:
    assert filter_of(Selection.parse("O-Li")) == '(elements HAS ALL "Li","O" AND nelements=2)'
    assert filter_of(Selection.parse("*-*-*")) == "(nelements=3)"
    assert filter_of(Selection.of_ids(["7", "a/b"])) == '(id="7") OR (id="a/b")'


def test_a_filled_cache_needs_no_network(server: OptimadeServer) -> None:
    first = load_optimade(server.url, SYSTEM)
    asked = len(server.requests)
    assert load_optimade(server.url, SYSTEM).version == first.version
    assert load_optimade(server.url, None).phases == first.phases
    assert len(server.requests) == asked


def test_ids_and_patterns_are_fetched_too(server: OptimadeServer) -> None:
    assert [p.formula for p in load_optimade(server.url, Selection.of_ids(["mp-8"])).phases] == ["NaCl"]
    assert len(load_optimade(server.url, Selection.parse("Li-*")).phases) == 2
    assert [p.formula for p in load_optimade(f"{server.url}#systems=Na-Cl", SYSTEM).phases] == ["NaCl"]


def test_structures_come_on_request(server: OptimadeServer) -> None:
    fetched = fetch_optimade(Provider.parse(server.url), Selection.parse("Na-Cl"), structures=True)
    cif = fetched.entries[0].cif
    assert cif is not None
    assert Structure.from_str(cif, fmt="cif").composition.reduced_formula == "NaCl"


def test_another_provider_is_known_by_its_fields(tmp_path: Path) -> None:
    with serving(other("oqmd", "delta_e", tmp_path)) as server:
        reference = load_reference(f"optimade:{server.url}#systems=Li-O")
    assert (reference.scheme, reference.phases) == ("oqmd", (Phase("Li2O", -2.0, "7"),))


def test_a_provider_of_unknown_scheme_needs_one(tmp_path: Path) -> None:
    with serving(other("alexandria", "formation_energy_per_atom", tmp_path)) as server:
        text = f"optimade:{server.url}#systems=Li-O"
        with pytest.raises(SchemeError, match="--scheme"):
            load_reference(text)
        assert load_reference(text, "alexandria-pbe").scheme == "alexandria-pbe"


def test_a_field_of_any_name_can_be_given(tmp_path: Path) -> None:
    with serving(other("exmpl", "energy_of_formation", tmp_path)) as server:
        text = f"{server.url}/v1/#systems=Li-O"
        with pytest.raises(ConfigError, match=r"_exmpl_energy_of_formation may be one.*#formation_energy=NAME"):
            load_optimade(text, None)
        reference = load_optimade(f"{text}&formation_energy=_exmpl_energy_of_formation", None, "lab")
    assert (reference.scheme, reference.phases) == ("lab", (Phase("Li2O", -2.0, "7"),))


def test_energies_that_are_never_there_are_an_error(tmp_path: Path) -> None:
    with (
        serving(other("oqmd", "delta_e", tmp_path, None)) as server,
        pytest.raises(DataError, match=r"none of the 1 entries.*_oqmd_delta_e"),
    ):
        load_optimade(f"{server.url}#systems=Li-O", None)


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_server_is_asked_again(server: OptimadeServer, status: str) -> None:
    server.faults = [status, status]
    assert len(load_optimade(server.url, SYSTEM).phases) == 4


@pytest.mark.parametrize(("faults", "words"), [(["429"] * 9, "too many 429"), (["403", "403"], "403")])
def test_a_failing_server_is_an_error_with_its_status(server: OptimadeServer, faults: list[str], words: str) -> None:
    server.faults = faults
    with pytest.raises(FetchError, match=f"after 0 of 1 requests.*{words}.*give the same command again") as error:
        load_optimade(server.url, SYSTEM)
    assert "\n" not in str(error.value)


def test_a_broken_download_keeps_what_it_had_and_goes_on(
    server: OptimadeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Optimade, "chunk", 1)
    server.faults = ["ok", "ok", "cut"]
    with pytest.raises(FetchError, match="after 2 of 4 requests"):
        load_optimade(server.url, SYSTEM)
    asked = {query["filter"] for query in server.requests[:2]}
    server.requests = []
    reference = load_optimade(server.url, SYSTEM)
    assert len(reference.phases) == 4
    assert not asked & {query["filter"] for query in server.requests}
    [version] = Optimade(Provider.parse(server.url)).cache.versions()  # the second download went on with the first
    assert reference.version.startswith(version)


def test_an_unreachable_provider_is_one_line() -> None:
    with pytest.raises(FetchError) as error:
        load_optimade("http://127.0.0.1:9#systems=Li-O", None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["example.org", "https://", "https://example.org#energy=x", "https://a.b#systems=Xx-O"]
)
def test_a_wrong_address_is_a_wrong_call(text: str) -> None:
    with pytest.raises(ConfigError):
        load_optimade(text, SYSTEM)
