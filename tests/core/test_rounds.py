"""Whole rounds with small real parts, in this process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from discovery.campaign import Campaign, Parts
from discovery.config import CampaignConfig
from discovery.constraints import Constraints
from discovery.errors import LedgerError
from discovery.events import Observers
from discovery.examples import answered_examples
from discovery.generators.zoo import load_generator
from discovery.hull import Hull
from discovery.records import Failure, Measurement, RoundRecord
from discovery.reference.loading import load_reference
from discovery.rounds import ask, run_campaign, run_round
from discovery.surrogates.zoo import load_surrogate
from discovery.workers import LocalWorkers
from tests.small import FormulaOracle, formula_energy, small_models

CONFIG = CampaignConfig(
    rounds=2,
    candidates_per_round=40,
    batch_size=4,
    tolerance=0.3,
    local=True,
    constraints=Constraints(allowed=frozenset({"Li", "Na", "K", "Mg", "O", "F", "Cl", "H"}), max_atoms=8),
)
QUIET = Observers()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models"))


def parts(models: Path, config: CampaignConfig = CONFIG) -> Parts:
    reference = load_reference(f"snapshot:{models / 'reference.csv'}")
    generator = None if config.candidates else load_generator(str(models / "generator"))
    surrogate = load_surrogate(str(models / "surrogate"))
    return Parts(reference, Hull(reference.phases, reference.scheme), generator, surrogate, {"version": "1"})


def plain(record: RoundRecord) -> RoundRecord:
    return dataclasses.replace(record, seconds={})


def finished(folder: Path, models: Path, config: CampaignConfig = CONFIG) -> Campaign:
    campaign = Campaign.start(folder, config, parts(models, config))
    run_campaign(campaign, LocalWorkers(FormulaOracle()), QUIET)
    return campaign


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Campaign:
    """An uninterrupted campaign, to be read only."""
    return finished(tmp_path_factory.mktemp("whole") / "run", models)


def test_a_campaign_runs_its_rounds_and_counts_everything(whole: Campaign) -> None:
    records = whole.ledger.records()
    assert sorted(records) == [1, 2]
    for record in records.values():
        assert record.generated == 40
        assert record.validated + record.failed == len(record.selected) == 4
        assert record.valid == record.generated  # constrained decoding writes nothing else
    rows = whole.ledger.candidates()
    counted = sum(sum(record.rejects.values()) for record in records.values())
    new = sum(row.status != "rejected" for row in rows)
    assert counted + new == 80
    assert len(whole.ledger.calls()) == 8 == len(set(whole.ledger.calls()))


def test_energies_above_hull_are_those_of_the_reference(whole: Campaign) -> None:
    answers = [answer for _, answer in whole.ledger.answers().values() if isinstance(answer, Measurement)]
    assert answers
    for answer in answers:
        expected = formula_energy(answer.formula) - whole.reference_hull.hull_energy(answer.formula)[0]
        assert answer.energy_above_hull == pytest.approx(expected, abs=1e-9)


def test_the_same_seed_gives_the_same_records_and_another_does_not(
    tmp_path: Path, models: Path, whole: Campaign
) -> None:
    again = finished(tmp_path / "again", models)
    assert [plain(r) for r in again.ledger.records().values()] == [plain(r) for r in whole.ledger.records().values()]
    other = finished(tmp_path / "other", models, dataclasses.replace(CONFIG, seed=1))
    assert other.ledger.calls() != whole.ledger.calls()


def test_asking_changes_nothing_and_repeats_itself(tmp_path: Path, models: Path) -> None:
    campaign = Campaign.start(tmp_path / "run", CONFIG, parts(models))
    workers = LocalWorkers(FormulaOracle())
    workers.load(campaign.models)
    first, second = ask(campaign, workers, QUIET), ask(campaign, workers, QUIET)
    assert first.selected == second.selected
    assert campaign.ledger.candidates() == []


class _InterruptedError(Exception):
    pass


class _FailsAfter(LocalWorkers):
    """Stops the process, so to speak, after some answers of a round."""

    def __init__(self, answers: int) -> None:
        super().__init__(FormulaOracle())
        self._left = answers

    def validate(self, formulas, budget):  # type: ignore[no-untyped-def]
        for answer in super().validate(formulas, budget):
            if self._left == 0:
                raise _InterruptedError
            self._left -= 1
            yield answer


@pytest.mark.parametrize("answers", [0, 3, 5])
def test_an_interrupted_campaign_ends_like_an_uninterrupted_one(
    tmp_path: Path, models: Path, whole: Campaign, answers: int
) -> None:
    campaign = Campaign.start(tmp_path / "cut", CONFIG, parts(models))
    with pytest.raises(_InterruptedError):
        run_campaign(campaign, _FailsAfter(answers), QUIET)
    kept = set(campaign.ledger.answers())
    assert len(kept) == answers
    campaign.ledger.close()

    again = Campaign.resume(tmp_path / "cut", CONFIG, parts(models))
    asked: list[str] = []
    workers = LocalWorkers(FormulaOracle())
    original = workers.validate

    def noted(formulas, budget):  # type: ignore[no-untyped-def]
        wanted = list(formulas)
        asked.extend(wanted)
        return original(wanted, budget)

    workers.validate = noted  # type: ignore[method-assign]
    run_campaign(again, workers, QUIET)
    assert not kept & set(asked)  # no finished call is repeated
    assert again.ledger.calls() == whole.ledger.calls()
    assert [plain(r) for r in again.ledger.records().values()] == [plain(r) for r in whole.ledger.records().values()]


def test_a_folder_with_another_campaign_is_refused(tmp_path: Path, models: Path) -> None:
    finished(tmp_path / "run", models).ledger.close()
    with pytest.raises(LedgerError, match="--resume"):
        Campaign.start(tmp_path / "run", CONFIG, parts(models))
    with pytest.raises(LedgerError, match="seed was 0, is 5"):
        Campaign.resume(tmp_path / "run", dataclasses.replace(CONFIG, seed=5), parts(models))
    changed = dataclasses.replace(parts(models), inputs={"version": "2"})
    with pytest.raises(LedgerError, match="version was '1', is '2'"):
        Campaign.resume(tmp_path / "run", CONFIG, changed)


def test_more_rounds_continue_a_finished_campaign(tmp_path: Path, models: Path) -> None:
    finished(tmp_path / "run", models).ledger.close()
    longer = dataclasses.replace(CONFIG, rounds=3)
    campaign = Campaign.resume(tmp_path / "run", longer, parts(models))
    run_campaign(campaign, LocalWorkers(FormulaOracle()), QUIET)
    whole = finished(tmp_path / "whole", models, longer)
    assert campaign.ledger.calls() == whole.ledger.calls()


def test_a_fixed_list_is_asked_to_its_end_and_then_the_campaign_ends(tmp_path: Path, models: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("formula\nNaF\nNa2Cl\nKCl\nNaCl\nK2Cl2\n")  # invalid and known ones too; KCl twice
    config = dataclasses.replace(CONFIG, candidates=str(path), rounds=9, batch_size=3)
    campaign = Campaign.start(tmp_path / "run", config, parts(models, config))
    reason = run_campaign(campaign, LocalWorkers(FormulaOracle()), QUIET)
    assert "exhausted" in reason
    assert set(campaign.ledger.calls()) == {"NaF", "Na2Cl", "KCl", "NaCl"}
    assert campaign.finished_rounds == 2


def test_what_the_oracle_cannot_measure_costs_no_call(tmp_path: Path, models: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("formula\nNaHe\nKCl\n")
    config = dataclasses.replace(CONFIG, candidates=str(path), rounds=1)
    campaign = Campaign.start(tmp_path / "run", config, parts(models, config))
    assert run_round(campaign, LocalWorkers(FormulaOracle()), QUIET)
    assert campaign.ledger.calls() == ["KCl"]
    status = {row.formula: row.status for row in campaign.ledger.candidates()}
    assert status["NaHe"] == "rejected"


def test_nothing_is_learned_where_learning_is_off(tmp_path: Path, models: Path) -> None:
    campaign = finished(tmp_path / "run", models, dataclasses.replace(CONFIG, learn=False))
    start = parts(models)
    assert campaign.models.surrogate.version == start.surrogate.version
    assert start.generator is not None
    assert campaign.models.generator is not None
    assert campaign.models.generator.version == start.generator.version


def test_the_judge_runs_rounds_that_a_resumed_campaign_repeats(tmp_path: Path, models: Path) -> None:
    config = dataclasses.replace(CONFIG, acquisition="judged", candidates_per_round=20)
    campaign = finished(tmp_path / "run", models, config)
    formulas, examples = answered_examples(campaign)
    answers = campaign.ledger.answers()
    assert set(formulas) == set(answers)
    assert len(examples.clues) == len(answers) == 8
    failed = [isinstance(answer, Failure) for _, answer in answers.values()]
    assert not examples.stable[failed].any()
    assert examples.stable.sum() == sum(record.stable for record in campaign.ledger.records().values())
    campaign.ledger.close()
    cut = Campaign.start(tmp_path / "cut", dataclasses.replace(config, rounds=1), parts(models, config))
    run_campaign(cut, LocalWorkers(FormulaOracle()), QUIET)
    cut.ledger.close()
    again = Campaign.resume(tmp_path / "cut", config, parts(models, config))
    run_campaign(again, LocalWorkers(FormulaOracle()), QUIET)
    assert again.ledger.calls() == Campaign.resume(tmp_path / "run", config, parts(models, config)).ledger.calls()
