"""The command `fetch`, the files that it writes, and the bar that it draws."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from discovery.errors import DataError, SchemeError
from discovery.labels import read_labels
from discovery.reference.__main__ import main
from discovery.reference.base import Phase
from discovery.reference.entries import Entry, Fetched
from discovery.reference.snapshot import load_snapshot, write_snapshot
from tests.local_network import allow_local
from tests.mp_server import KEY, MPServer, document, serving

FETCHED = Fetched(
    version="2025.9.25",
    scheme="mp2020",
    attribution="Example data, CC BY 4.0",
    entries=(
        Entry("mp-1", "NaCl", "Cl-Na", -2.1, 0.0, "data_NaCl"),
        Entry("mp-2", "Na4Cl4", "Cl-Na", -2.0 / 3, 0.2),
        Entry("mp-3", "NaN", "N-Na", -0.1, None),
        Entry("mp-4", "NaF", "F-Na", None, None),
        Entry("mp-5", "Na0.5Cl", "Cl-Na", -1.0, None),
        Entry("mp-6", "Na", "Na", 0.0, 0.0),
    ),
    details=("thermo type GGA_GGA+U",),
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MPServer]:
    allow_local(monkeypatch)
    salt = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    documents = [document("mp-1", "NaCl", -2.1), document("mp-2", "Na2O", -1.4), document("mp-3", "NaClO4", -0.7)]
    with serving(MPServer(documents, {"mp-1": salt.as_dict()})) as running:
        monkeypatch.setenv("MP_API_ENDPOINT", running.url)
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
        yield running


@pytest.mark.parametrize("name", ["phases.csv", "phases.parquet"])
def test_a_snapshot_reads_back_what_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    assert write_snapshot(path, FETCHED, "mp:Na-Cl") == 4
    reference = load_snapshot(path)
    assert set(reference.phases) == {Phase("NaCl", -2.1, "mp-1"), Phase("NaN", -0.1, "mp-3")}
    assert reference.scheme == "mp2020"
    labels = read_labels(path)
    assert labels.formation_energy_per_atom.tolist() == [-2.1, -2.0 / 3, -0.1, 0.0]  # every digit
    assert labels.energy_above_hull.tolist()[:2] == [0.0, 0.2]
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_parquet_keeps_where_the_data_are_from(tmp_path: Path) -> None:
    path = tmp_path / "phases.parquet"
    write_snapshot(path, FETCHED, "mp:Na-Cl")
    reference = load_snapshot(path)
    assert reference.attribution == "Example data, CC BY 4.0"
    assert reference.notes[0].startswith("fetched from mp:Na-Cl 2025.9.25+")
    assert reference.notes[1] == "thermo type GGA_GGA+U"
    assert pd.read_parquet(path).cif.iloc[0] == "data_NaCl"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither \.csv nor \.parquet"):
        write_snapshot(tmp_path / "phases.txt", FETCHED, "mp")
    with pytest.raises(DataError, match="none of the 1 entries"):
        write_snapshot(tmp_path / "phases.csv", Fetched("1", "mp2020", "", FETCHED.entries[3:4]), "mp")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_snapshot(tmp_path / "file" / "phases.csv", FETCHED, "mp")


def test_a_table_of_two_schemes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "phases.csv"
    path.write_text("formula,formation_energy_per_atom,scheme\nNaCl,-2.1,mp2020\nNaF,-2.9,mp2019\n")
    with pytest.raises(SchemeError, match="mp2019, mp2020"):
        load_snapshot(path)


def test_fetch_says_what_it_got_and_writes_it(
    server: MPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "phases.parquet"
    words = ["fetch", "mp", "--elements", "Na,Cl,O", "--max-elements", "2", "--structures", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "2 phases of scheme mp2020" in printed
    assert "CC BY 4.0" in printed
    assert f"--reference snapshot:{out}" in printed
    table = pd.read_parquet(out)
    assert table.formula.tolist() == ["NaCl", "Na2O"]
    assert "_cell_length_a" in table.cif.iloc[0]
    assert main(["info", "--reference", f"snapshot:{out}"]) == 0
    assert "fetched from mp 2025.9.25" in capsys.readouterr().out


def test_ids_come_from_a_file(server: MPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ids.txt").write_text("mp-3\nmp-1\n\n")
    assert main(["fetch", "mp", "--ids", str(tmp_path / "ids.txt")]) == 0
    assert "2 phases" in capsys.readouterr().out
    assert set(server.requests[0][1]["material_ids"].split(",")) == {"mp-1", "mp-3"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["mp"], 2, "in the cache"),
        (["moon", "--systems", "Na-Cl"], 2, "choose mp or optimade:URL"),
        (["mp", "--systems", "Na"], 2, "Na-Cl|Li-Fe-O"),
        (["mp", "--ids", "no-such-file"], 1, "no-such-file"),
        (["mp", "--elements", ""], 2, "--elements is empty"),
    ],
)
def test_a_wrong_call_is_one_line(
    server: MPServer, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main(["fetch", *words]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert any(part in error for part in said.split("|"))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(server: MPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, terminal = io.StringIO(), _Terminal()
    monkeypatch.setattr(sys, "stderr", plain)
    assert main(["fetch", "mp", "--systems", "Na-Cl"]) == 0
    assert plain.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["fetch", "mp", "--systems", "Na-O"]) == 0
    assert "Fetching from the Materials Project" in terminal.getvalue()
    assert "1/1" in terminal.getvalue()
