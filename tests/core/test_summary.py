from __future__ import annotations

import json
from pathlib import Path

import pytest

from discovery.campaign import Campaign
from discovery.errors import DataError
from discovery.outcomes import outcomes, structure_name
from discovery.summary import plain_number, summarize
from tests.story import ABOVE, CALLS, empty, two_rounds

KEYS = (
    "campaign run_dir rounds generated valid novel validated failed stable tolerance scheme reference "
    "reference_false_stable_rate seconds seconds_by_stage best calls ended"
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return two_rounds(tmp_path_factory.mktemp("run"))


def test_the_object_has_exactly_the_promised_keys_and_survives_json(campaign: Campaign) -> None:
    summary = summarize(campaign, 12.3456789, "done")
    assert sorted(summary) == sorted(KEYS.split())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_counts_add_up_over_the_rounds(campaign: Campaign) -> None:
    summary = summarize(campaign, 12.3456789, "done")
    expected = {"rounds": 2, "generated": 20, "valid": 14, "novel": 8, "validated": 4, "failed": 1, "stable": 3}
    assert {name: summary[name] for name in expected} == expected
    assert summary["seconds"] == 12.345679
    assert summary["seconds_by_stage"] == {"generate": 3.0, "validate": 6.0, "learn": 0.5}
    assert summary["calls"] == CALLS
    assert (summary["reference"], summary["scheme"]) == ("pencil v1", "test")
    assert summary["reference_false_stable_rate"] == 0.23


def test_best_are_the_lowest_measured_ones_with_the_estimates_made_before(campaign: Campaign) -> None:
    best = summarize(campaign, 1.0, "done")["best"]
    assert isinstance(best, list)
    assert [entry["formula"] for entry in best] == ["MgTiO3", "Mg2TiO4", "LiMgClO", "MgO2"]
    for entry in best:
        assert entry["energy_above_hull"] == pytest.approx(ABOVE[entry["formula"]], abs=1e-6)
        assert entry["std"] == 0.05
    assert [entry["predicted_energy_above_hull"] for entry in best] == [0.02, 0.0, 0.1, 0.09]
    assert [entry["structure"] for entry in best] == ["structures/MgTiO3.cif", None, "structures/LiMgClO.cif", None]


def test_a_campaign_without_rounds_is_all_zeros_and_nulls(tmp_path: Path) -> None:
    summary = summarize(empty(tmp_path / "run"), 0.0, "no candidate left")
    assert (summary["rounds"], summary["stable"], summary["best"], summary["calls"]) == (0, 0, [], [])
    assert summary["reference_false_stable_rate"] is None


def test_what_is_no_number_becomes_null() -> None:
    assert [plain_number(value) for value in (None, float("nan"), float("-inf"), 1 / 3)] == [None, None, None, 0.333333]


def test_outcomes_come_in_the_order_of_the_calls(campaign: Campaign) -> None:
    found = outcomes(campaign)
    assert [outcome.formula for outcome in found] == ["MgTiO3", "MgO2", "Mg2TiO4", "LiMgClO"]
    assert [outcome.call for outcome in found] == [1, 2, 4, 5]
    # estimate -2.98, measured -3.30
    assert found[0].error_and_std == pytest.approx((0.32, 0.05))


@pytest.mark.parametrize("name", ["../Fe2O3", "Fe4O6", "/etc/passwd", "NaCl\n", "", "Na Cl", "H2O/x", "Fe", "O" * 200])
def test_only_plain_reduced_formulas_become_file_names(name: str) -> None:
    if name == "Fe":  # an element is a plain formula, and a harmless name
        assert structure_name(name) == "structures/Fe.cif"
        return
    with pytest.raises(DataError, match="reduced formula"):
        structure_name(name)


def test_a_hydroxide_keeps_its_parentheses() -> None:
    assert structure_name("Ca(HO)2") == "structures/Ca(HO)2.cif"
