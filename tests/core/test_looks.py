"""Cheap looks in whole rounds: a made-up rung, a list of candidates, and labels that cost a thousand times more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from discovery.campaign import Campaign, Parts
from discovery.config import CampaignConfig, from_toml
from discovery.errors import ConfigError
from discovery.events import Observers
from discovery.fidelity import Costs
from discovery.hull import Hull
from discovery.looks import FILE, Looks
from discovery.oracles.base import Budget
from discovery.oracles.ladder import LadderOracle
from discovery.parts import load_campaign_oracle
from discovery.records import Failure, Measurement
from discovery.reference.loading import load_reference
from discovery.rounds import ask, run_campaign
from discovery.summary import summarize
from discovery.surrogates.zoo import load_surrogate
from discovery.workers import LocalWorkers
from tests.small import FormulaOracle, small_models

FORMULAS = [
    f"{a}{n}{b}{m}" for a in ("Na", "K", "Mg", "Al") for b in ("Br", "S", "I") for n, m in ((1, 2), (2, 1), (3, 4))
]
QUIET = Observers()


class Truth(FormulaOracle):
    """Magnesium and aluminium compounds lie far above the hull."""

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        answer = super().measure(formula, budget)
        if isinstance(answer, Failure) or answer.formation_energy_per_atom is None or formula[0] not in "MA":
            return answer
        return dataclasses.replace(answer, formation_energy_per_atom=answer.formation_energy_per_atom + 2.0)


class Cheap(Truth):
    """A rung without error that has no structure for iodides; counts what it is asked."""

    name = "cheap"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str | None, str]] = []

    def can_measure(self, formula: str) -> bool:
        return "I" not in formula

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        self.asked.append((budget.rung, formula))
        return super().measure(formula, budget)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_models(tmp_path_factory.mktemp("models"))
    (folder / "list.csv").write_text("\n".join(["formula", *FORMULAS]) + "\n")
    return folder


def config(models: Path, costs: Costs | None) -> CampaignConfig:
    return CampaignConfig(rounds=2, batch_size=4, tolerance=0.0, local=True, learn=False, costs=costs,
                          candidates=str(models / "list.csv"))  # fmt: skip


def campaign(folder: Path, models: Path, costs: Costs | None) -> Campaign:
    reference = load_reference(f"snapshot:{models / 'reference.csv'}")
    parts = Parts(reference, Hull(reference.phases, reference.scheme), None,
                  load_surrogate(str(models / "surrogate")), {})  # fmt: skip
    return Campaign.start(folder, config(models, costs), parts)


def test_looks_are_kept_and_a_line_cut_short_is_asked_again(tmp_path: Path) -> None:
    looks = Looks(tmp_path)
    looks.add("potential", "NaCl", 1, -2.0)
    looks.add("potential", "KI", 2, None)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b'{"rung": "pot')
    again = Looks(tmp_path)
    assert ("potential", "KI") in again
    assert again.calls("potential") == 2
    np.testing.assert_array_equal(again.energies("potential", ["NaCl", "KI", "MgO"], before=3), [-2.0, np.nan, np.nan])
    np.testing.assert_array_equal(again.energies("potential", ["NaCl"], before=1), [np.nan])
    again.add("unrelaxed", "MgO", 3, -3.0)
    assert Looks(tmp_path).calls("unrelaxed") == 1


def test_looks_find_more_with_the_same_labels_and_their_cost_is_told(tmp_path: Path, models: Path) -> None:
    """The surrogate is untrained and the rung exact: looks find what the surrogate cannot."""
    costs, cheap = Costs(potential=1.0, dft=1000.0), Cheap()
    plain, with_looks = campaign(tmp_path / "plain", models, None), campaign(tmp_path / "looks", models, costs)
    run_campaign(plain, LocalWorkers(Truth()), QUIET)
    run_campaign(with_looks, LocalWorkers(LadderOracle(Truth(), cheap)), QUIET)  # type: ignore[arg-type]
    without, summary = summarize(plain, 0.0, ""), summarize(with_looks, 0.0, "")
    assert int(str(summary["stable"])) > int(str(without["stable"]))
    assert "costs" not in without
    assert len(cheap.asked) == len(set(cheap.asked)) > 0
    assert {rung for rung, _ in cheap.asked} == {"potential"}
    told = summary["costs"]
    assert isinstance(told, dict)
    assert told["calls"] == {"potential": Looks(with_looks.folder).calls("potential"), "dft": 8}
    assert told["cost"] == told["calls"]["potential"] + 8000.0


def test_an_interrupted_round_asks_for_the_same_and_repeats_no_look(tmp_path: Path, models: Path) -> None:
    costs, cheap = Costs(potential=1.0, dft=1000.0), Cheap()
    run = campaign(tmp_path / "run", models, costs)
    workers = LocalWorkers(LadderOracle(Truth(), cheap))  # type: ignore[arg-type]
    workers.load(run.models)
    first = ask(run, workers, QUIET)
    lines = (run.folder / FILE).read_text().splitlines()
    (run.folder / FILE).write_text("\n".join(lines[:-3]) + "\n")  # killed before the last three
    cheap.asked.clear()
    assert ask(run, workers, QUIET).selected == first.selected
    assert len(cheap.asked) <= 3


def test_costs_survive_the_configuration_file(models: Path) -> None:
    for costs in (None, Costs(0.1, 1.0, 1000.0)):
        assert from_toml(config(models, costs).to_toml()).costs == costs


def test_a_potential_has_no_cheap_rung_below_it(models: Path) -> None:
    reference = load_reference(f"snapshot:{models / 'reference.csv'}")
    with pytest.raises(ConfigError, match="leave --costs out"):
        load_campaign_oracle(CampaignConfig(costs=Costs(potential=1.0, dft=10.0)), reference)
    dear = dataclasses.replace(config(models, Costs(potential=1.0, dft=10.0)), oracle="tests.small:formula_oracle")
    oracle = load_campaign_oracle(dear, reference)
    assert isinstance(oracle, LadderOracle)
    assert oracle.scheme == FormulaOracle.scheme
    assert oracle.measure("NaCl", Budget()).oracle == "formula"
    answer = oracle.measure("NaAt", Budget(rung="potential"))
    assert isinstance(answer, Failure)
    assert answer.reason == "no prototype"
