"""Two rounds of the loop with each kind of reference: local servers, files, and the builtin one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymatgen.entries.computed_entries import ComputedEntry

from discovery.loop import main
from discovery.predict import main as predict
from discovery.reference.__main__ import main as reference_main
from discovery.reference.loading import load_reference
from tests import mp_server, optimade_server
from tests.local_network import allow_local
from tests.small import KNOWN, formula_energy, untrained_surrogate

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),  # of the OPTIMADE server
    pytest.mark.filterwarnings("ignore:Unrecognised field"),  # the same
]
ELEMENTS = "Li,Na,K,O,F,Cl"
CANDIDATES = ("NaF", "KF", "KCl", "LiCl", "Li2O2", "Na3OCl", "K3OF")
WITHIN = [formula for formula in KNOWN if formula in ("NaCl", "Li2O", "Na2O", "K2O", "LiF")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "candidates.csv").write_text("formula\n" + "\n".join(CANDIDATES) + "\n")
    untrained_surrogate(("mp2020", "chgnet-0.3.0")).save(folder / "surrogate")
    return folder


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allow_local(monkeypatch)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORACLE_SCHEME", "mp2020")


@pytest.fixture
def materials_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[mp_server.MPServer]:
    documents = [mp_server.document(f"mp-{n}", f, formula_energy(f)) for n, f in enumerate(KNOWN, 1)]
    documents.append(mp_server.document("mp-99", "NaLiO", None))
    with mp_server.serving(mp_server.MPServer(documents)) as server:
        monkeypatch.setenv("MP_API_ENDPOINT", server.url)
        monkeypatch.setenv("MP_API_KEY", mp_server.KEY)
        yield server


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[optimade_server.OptimadeServer]:
    documents = [
        optimade_server.structure(
            f"mp-{n}", f, stability={"gga_gga+u": {"formation_energy_per_atom": formula_energy(f)}}
        )
        for n, f in enumerate(KNOWN, 1)
    ]
    with optimade_server.serving(
        optimade_server.OptimadeServer("mp", ["stability"], documents, tmp_path / "logs")
    ) as server:
        yield server


def campaign(models: Path, run: Path, reference: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """The JSON object of a campaign of two rounds over a list of candidates."""
    given = {
        "--rounds": "2",
        "--batch-size": "3",
        "--candidates": str(models / "candidates.csv"),
        "--elements": ELEMENTS,
        "--max-elements": "3",
        "--run-dir": str(run),
        "--surrogate": str(models / "surrogate"),
        "--reference": reference,
        "--oracle": "tests.small:formula_oracle",
    }
    words = [word for pair in given.items() for word in pair]
    assert main([*words, "--local", "--json", *more]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return result


def check(result: dict[str, Any], reference: str, scheme: str, phases: int) -> None:
    assert result["rounds"] == 2
    assert result["validated"] + result["failed"] == len(result["calls"]) == 6
    assert result["reference"].startswith(f"{reference} ")
    assert result["scheme"] == scheme
    page = (Path(result["run_dir"]) / "report.html").read_text()
    assert result["reference"] in page.replace("&amp;", "&")
    assert f"{phases:,} phases with energies" in page
    assert scheme in page


def test_materials_project(
    tmp_path: Path,
    models: Path,
    materials_project: mp_server.MPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = campaign(models, tmp_path / "run", "mp", capsys)
    check(result, "mp", "mp2020", len(WITHIN))
    assert "1 entry without a formation energy" in (tmp_path / "run" / "report.html").read_text()
    materials_project.shutdown()  # and again without a server and a key: the cache has all of it
    monkeypatch.delenv("MP_API_KEY")
    assert campaign(models, tmp_path / "again", "mp", capsys)["calls"] == result["calls"]
    assert campaign(models, tmp_path / "run", "mp", capsys, "--resume") == result


def test_optimade(
    tmp_path: Path, models: Path, provider: optimade_server.OptimadeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    result = campaign(models, tmp_path / "run", f"optimade:{provider.url}", capsys)
    check(result, f"optimade:{provider.url}", "mp2020", len(WITHIN))


def test_snapshot_that_was_fetched(
    tmp_path: Path, models: Path, materials_project: mp_server.MPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("phases.parquet", "phases.csv"):
        path = tmp_path / name
        assert reference_main(["fetch", "mp", "--elements", ELEMENTS, "--out", str(path)]) == 0
        assert f"snapshot:{path}" in capsys.readouterr().out
    assert len(load_reference(f"snapshot:{tmp_path / 'phases.csv'}").phases) == len(WITHIN)
    result = campaign(models, tmp_path / "run", f"snapshot:{tmp_path / 'phases.parquet'}", capsys)
    check(result, f"snapshot:{tmp_path / 'phases.parquet'}", "mp2020", len(WITHIN))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fetched from mp 2025.9.25+" in page
    assert "CC BY 4.0" in page


def test_snapshot_of_computed_entries(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [ComputedEntry(symbol, -1.0, parameters={"run_type": "GGA"}) for symbol in ELEMENTS.split(",")]
    entries += [
        ComputedEntry(f, formula_energy(f) * 3 - 3, parameters={"run_type": "GGA"}) for f in ("Li2O", "Na2O", "K2O")
    ]
    path = tmp_path / "entries.json"
    path.write_text(json.dumps([entry.as_dict() for entry in entries]))
    result = campaign(models, tmp_path / "run", f"snapshot:{path}", capsys)
    check(result, f"snapshot:{path}", "mp2020", 3)
    assert "MaterialsProject2020Compatibility" in (tmp_path / "run" / "report.html").read_text()


def test_builtin(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORACLE_SCHEME", "chgnet-0.3.0")
    result = campaign(models, tmp_path / "run", "builtin", capsys)
    check(result, "builtin", "chgnet-0.3.0", len(load_reference("builtin").phases))


def test_predictions_take_the_same_references(
    tmp_path: Path, models: Path, materials_project: mp_server.MPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("formula\nNa3OCl\n")
    words = ["--formulas", str(tmp_path / "list.csv"), "--surrogate", str(models / "surrogate")]
    assert predict([*words, "--out", str(tmp_path / "out.csv"), "--reference", "mp:Na-O-Cl"]) == 0
    assert "NaCl" in (tmp_path / "out.csv").read_text()
    assert "mp2020" in capsys.readouterr().out
