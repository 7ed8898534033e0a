from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pymatgen.io.cif import CifParser

from discovery.campaign import Campaign
from discovery.export import COLUMNS, export_campaign
from tests.story import ABOVE, CALLS, empty, two_rounds


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    campaign = two_rounds(tmp_path_factory.mktemp("run"))
    export_campaign(campaign)
    return campaign


def rows_of(campaign: Campaign) -> dict[str, dict[str, str]]:
    with (campaign.folder / "candidates.csv").open(newline="") as file:
        return {row["formula"]: row for row in csv.DictReader(file)}


def test_every_candidate_has_one_row_with_all_columns(campaign: Campaign) -> None:
    with (campaign.folder / "candidates.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(COLUMNS)
    assert {len(line) for line in lines} == {len(COLUMNS)}
    assert [line[0] for line in lines[1:]] == [
        "MgTiO3", "Mg2TiO4", "LiMgClO", "MgO2", "NaTiO2", "LiTiO2", "NaO5",
    ]  # fmt: skip
    assert len(lines) - 1 == len(campaign.ledger.candidates())


def test_energies_are_those_of_the_hull_with_and_without_the_finds(campaign: Campaign) -> None:
    rows = rows_of(campaign)
    for formula, above in ABOVE.items():
        assert float(rows[formula]["energy_above_hull"]) == pytest.approx(above, abs=1e-6)
    assert float(rows["Mg2TiO4"]["energy_above_hull_with_finds"]) == pytest.approx(0.1 / 7, abs=1e-6)
    assert float(rows["MgTiO3"]["energy_above_hull_with_finds"]) == pytest.approx(-0.07, abs=1e-6)
    assert float(rows["LiMgClO"]["energy_above_hull_with_finds"]) == pytest.approx(-0.05, abs=1e-6)
    assert {rows[formula]["scheme"] for formula in ABOVE} == {"test"}


def test_a_validated_row_tells_its_whole_story(campaign: Campaign) -> None:
    row = rows_of(campaign)["MgTiO3"]
    expected = {
        "chemical_system": "Mg-O-Ti", "n_atoms": "5", "n_elements": "3", "element_counts": "Mg1 Ti1 O3",
        "status": "validated", "call": "1", "source": "gpt2-abc", "first_round": "1", "times_proposed": "1",
        "log_probability": "-12.5", "charge_neutral": "true", "predicted_formation_energy_per_atom": "-2.98",
        "predicted_scheme": "test", "predicted_epistemic_std": "0.03", "predicted_aleatoric_std": "0.04",
        "predicted_std": "0.05", "predicted_energy_above_hull": "0.02", "competing_phases": "MgO TiO2*",
        "acquisition": "1.5", "model_version": "s-0", "formation_energy_per_atom": "-3.3", "std": "0.0",
        "oracle": "hand", "prototype": "E2_1", "seconds": "2.5", "attempts": "1", "failure_reason": "",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_failed_ranked_and_rejected_rows_leave_empty_what_does_not_exist(campaign: Campaign) -> None:
    rows = rows_of(campaign)
    failed = rows["NaTiO2"]
    assert (failed["status"], failed["failure_reason"], failed["attempts"]) == ("failed", "relaxation diverged", "2")
    assert failed["failure_detail"] == "step 7 of 60"
    assert failed["energy_above_hull"] == failed["scheme"] == ""
    assert (rows["LiTiO2"]["times_proposed"], rows["LiTiO2"]["last_round"]) == ("2", "2")
    assert rows["LiTiO2"]["call"] == rows["LiTiO2"]["oracle"] == ""
    rejected = rows["NaO5"]
    assert (rejected["status"], rejected["reason"], rejected["charge_neutral"]) == ("rejected", "not neutral", "false")
    assert rejected["predicted_std"] == rejected["acquisition"] == ""


def test_calls_number_the_oracle_calls(campaign: Campaign) -> None:
    numbered = {int(row["call"]): formula for formula, row in rows_of(campaign).items() if row["call"]}
    assert [numbered[call] for call in sorted(numbered)] == CALLS


def test_structures_parse_back_and_say_what_they_are(campaign: Campaign) -> None:
    folder = campaign.folder / "structures"
    assert sorted(path.name for path in folder.iterdir()) == ["LiMgClO.cif", "MgTiO3.cif"]
    text = (folder / "MgTiO3.cif").read_text()
    structure = CifParser.from_str(text).parse_structures(primitive=False, on_error="raise")[0]
    assert structure.composition.reduced_formula == "MgTiO3"
    assert structure.volume == pytest.approx(3.9**3)
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert comments[0] == "# formula: MgTiO3"
    assert "# energy above hull: -0.120000 eV/atom (negative: stable, by how much)" in comments
    assert {"# scheme: test", "# oracle: hand", "# chgnet: 0.4.2"} <= set(comments)


def test_a_second_export_replaces_the_first_and_leaves_no_partial_files(campaign: Campaign) -> None:
    before = (campaign.folder / "candidates.csv").read_bytes()
    (campaign.folder / "candidates.csv").write_text("old")
    export_campaign(campaign)
    assert (campaign.folder / "candidates.csv").read_bytes() == before
    assert not list(campaign.folder.rglob("*.partial"))


def test_a_campaign_without_candidates_gives_a_header_alone(tmp_path: Path) -> None:
    campaign = empty(tmp_path / "new")
    export_campaign(campaign)
    assert (campaign.folder / "candidates.csv").read_text() == ",".join(COLUMNS) + "\n"
