"""The desk: leases, and labels in every order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from discovery.events import Observers
from discovery.records import Failure, Measurement
from discovery.rounds import close_round, open_round
from discovery.workers import LocalWorkers
from serve.asking import Desk
from serve.backend import Backend
from serve.book import Book
from serve.requests import config_of
from serve.schemas import CampaignRequest
from tests.serving import SMALL, backend, home
from tests.small import SCHEME, FormulaOracle, formula_energy

QUIET = Observers()
LEASE_S = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


class Bench:
    """A campaign with an open round, and its desk."""

    def __init__(self, service: Backend) -> None:
        view = service.store.create(config_of(CampaignRequest(**SMALL), service.settings), "bench")
        self.campaign = service.store.open(view.id)
        self.book = Book(self.campaign.ledger)
        self.clock = Clock()
        self.desk = Desk(self.campaign, self.book, LEASE_S, self.clock)
        self.workers = LocalWorkers(FormulaOracle())
        self.observer = Observers((self.desk.observer,))
        self.open()

    def open(self) -> None:
        assert open_round(self.campaign, self.workers, self.observer) is not None

    def reopened(self) -> Desk:
        """The desk of another process."""
        return Desk(self.campaign, Book(self.campaign.ledger), LEASE_S, self.clock)

    def status(self, **report: Any) -> str:
        [result], _ = self.desk.tell([report])
        return result.status

    @property
    def batch(self) -> tuple[str, ...]:
        proposal = self.campaign.open_proposal()
        assert proposal is not None
        return proposal.selected


def label(formula: str, shift: float = 0.0, **changes: Any) -> dict[str, Any]:
    energy = formula_energy(formula) + shift
    return {"formula": formula, "formation_energy_per_atom": energy, "scheme": SCHEME, "source": "lab"} | changes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return backend(home(tmp_path_factory.mktemp("home")))


@pytest.fixture
def bench(service: Backend) -> Iterator[Bench]:
    made = Bench(service)
    yield made
    made.campaign.ledger.close()


def test_the_batch_comes_first_then_the_next_best_and_nothing_twice(bench: Bench) -> None:
    first, second = bench.desk.hand_out(2), bench.desk.hand_out(3)
    formulas = [handout.formula for handout in (*first, *second)]
    assert tuple(formulas[:3]) == bench.batch
    assert len(set(formulas)) == 5
    beyond = second[1:]
    assert all("beyond the batch" in handout.reason for handout in beyond)
    waiting = [row.acquisition for row in bench.campaign.ledger.candidates() if row.status == "ranked"]
    assert min(handout.acquisition or 0.0 for handout in beyond) >= max(waiting)
    assert bench.campaign.ledger.calls() == formulas


def test_an_expired_lease_returns_under_the_same_id(bench: Bench) -> None:
    first = bench.desk.hand_out(4)
    bench.clock.now += LEASE_S - 1
    assert not {handout.formula for handout in bench.desk.hand_out(4)} & {handout.formula for handout in first}
    bench.clock.now += 2
    again = bench.desk.hand_out(4)
    assert {handout.id for handout in again} == {handout.id for handout in first}


def test_an_answered_candidate_is_not_handed_out_again(bench: Bench) -> None:
    [handout] = bench.desk.hand_out(1)
    assert bench.status(candidate_id=handout.id, **label(handout.formula)) == "accepted"
    bench.clock.now += 2 * LEASE_S
    assert handout.formula not in [one.formula for one in bench.desk.hand_out(1000)]


def test_another_process_sees_the_same_leases_and_labels(bench: Bench) -> None:
    first = bench.desk.hand_out(2)
    other = bench.reopened()
    assert not {one.formula for one in other.hand_out(2)} & {one.formula for one in first}
    [result], new = other.tell([label(first[0].formula)])
    assert (result.status, len(new)) == ("accepted", 1)
    assert bench.status(**label(first[0].formula)) == "duplicate"


def test_every_order_of_the_same_labels_gives_the_same_answers(service: Backend) -> None:
    found = []
    for order in itertools.permutations(range(3)):
        bench = Bench(service)
        handouts = bench.desk.hand_out(3)
        for place in order:
            bench.desk.tell([label(handouts[place].formula)])
        assert bench.desk.is_answered
        close_round(bench.campaign, bench.workers, bench.observer)
        [record] = bench.campaign.ledger.records().values()
        found.append((record.selected, record.validated, record.stable, record.learning))
        bench.campaign.ledger.close()
    assert all(one == found[0] for one in found)


def test_a_repeated_label_is_a_duplicate_and_a_differing_one_a_conflict(bench: Bench) -> None:
    [handout] = bench.desk.hand_out(1)
    formula = handout.formula
    assert bench.status(**label(formula)) == "accepted"
    assert bench.status(**label(formula)) == "duplicate"
    assert bench.status(**label(formula, 0.2)) == "conflict"
    assert bench.status(**label(formula, 0.2, source="another lab")) == "duplicate"  # of the contradicting one
    answer = bench.campaign.ledger.answers()[formula][1]
    assert isinstance(answer, Measurement)
    assert answer.formation_energy_per_atom == pytest.approx(formula_energy(formula))
    assert [told.status for told in bench.book.told(formula)] == ["accepted", "conflict"]
    assert bench.book.conflicts() == {formula}


def test_an_idempotency_key_answers_once(bench: Bench) -> None:
    first, second = bench.desk.hand_out(2)
    assert bench.status(**label(first.formula, idempotency_key="a")) == "accepted"
    assert bench.status(**label(first.formula, idempotency_key="a")) == "duplicate"
    assert bench.status(**label(second.formula, idempotency_key="a")) == "rejected"
    assert list(bench.campaign.ledger.answers()) == [first.formula]


def test_a_foreign_scheme_is_kept_apart_and_never_on_the_hull(bench: Bench) -> None:
    first, second, third = bench.desk.hand_out(3)
    assert bench.status(**label(first.formula, scheme="gpaw-pbe")) == "kept_apart"
    answer = bench.campaign.ledger.answers()[first.formula][1]
    assert isinstance(answer, Measurement)
    assert answer.energy_above_hull is None
    with_hull = label(second.formula, scheme="gpaw-pbe", energy_above_hull=-0.05)
    assert bench.status(**with_hull) == "accepted"
    assert bench.status(**label(third.formula)) == "accepted"
    assert bench.status(**label(third.formula, scheme="gpaw-pbe")) == "kept_apart"  # beside the one in use
    close_round(bench.campaign, bench.workers, bench.observer)
    hull = bench.campaign.hull_with_finds()
    assert hull.phase(third.formula) is not None
    assert not any(phase.formula in (first.formula, second.formula) for phase in _phases(bench))
    assert "gpaw-pbe" in bench.campaign.models.surrogate.schemes  # learned as an offset
    bench.open()
    assert bench.desk.hand_out(1)


def _phases(bench: Bench) -> list[Any]:
    found = (bench.campaign._as_phase(answer) for _, answer in bench.campaign.ledger.answers().values())
    return [phase for phase in found if phase is not None]


def test_a_label_takes_the_place_of_a_failure_but_not_the_reverse(bench: Bench) -> None:
    [handout] = bench.desk.hand_out(1)
    formula = handout.formula
    assert bench.status(formula=formula, failure="furnace broke") == "accepted"
    assert isinstance(bench.campaign.ledger.answers()[formula][1], Failure)
    assert bench.status(formula=formula, failure="furnace broke") == "duplicate"
    assert bench.status(**label(formula)) == "accepted"
    assert bench.status(formula=formula, failure="furnace broke again") == "conflict"
    assert isinstance(bench.campaign.ledger.answers()[formula][1], Measurement)


def test_late_labels_count_for_the_round_that_they_come_in(bench: Bench) -> None:
    handouts = bench.desk.hand_out(5)
    bench.desk.tell([label(handout.formula) for handout in handouts[:3]])
    close_round(bench.campaign, bench.workers, bench.observer)
    late = handouts[3].formula
    assert bench.status(**label(late)) == "accepted"
    assert bench.campaign.ledger.answers()[late][0] == 2
    bench.open()
    bench.desk.tell([label(formula) for formula in bench.batch])
    close_round(bench.campaign, bench.workers, bench.observer)
    records = bench.campaign.ledger.records()
    assert late not in records[1].selected
    assert late in records[2].selected
    assert records[2].validated == len(records[2].selected)
    assert handouts[4].formula not in bench.campaign.ledger.answers()


def test_a_label_that_comes_while_a_round_is_learned_counts_for_the_next(bench: Bench) -> None:
    handouts = bench.desk.hand_out(4)
    bench.desk.tell([label(handout.formula) for handout in handouts[:3]])

    class TellsWhileLearning(Observers):
        def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
            if stage == "record":
                bench.desk.tell([label(handouts[3].formula)])

    close_round(bench.campaign, bench.workers, Observers((bench.desk.observer, TellsWhileLearning())))
    [record] = bench.campaign.ledger.records().values()
    assert record.validated == 3
    assert bench.campaign.ledger.answers()[handouts[3].formula][0] == 2


@pytest.mark.parametrize(
    ("report", "detail"),
    [
        (label("NaCl4"), "no candidate of this campaign"),
        ({**label("NaCl"), "formula": "Qq2"}, "no chemical formula"),
        ({**label("NaCl"), "candidate_id": "c0ffee"}, "no candidate has the id"),
    ],
)
def test_what_is_no_candidate_is_rejected(bench: Bench, report: dict[str, Any], detail: str) -> None:
    [result], new = bench.desk.tell([report])
    assert result.status == "rejected"
    assert detail in result.detail
    assert new == []
    assert bench.campaign.ledger.answers() == {}


def test_an_id_and_a_formula_that_disagree_are_rejected(bench: Bench) -> None:
    first, second = bench.desk.hand_out(2)
    assert bench.status(candidate_id=first.id, **label(second.formula)) == "rejected"
    assert bench.campaign.ledger.answers() == {}


def test_ids_of_another_campaign_are_unknown(bench: Bench, service: Backend) -> None:
    other = Bench(service)
    [handout] = other.desk.hand_out(1)
    report = {key: value for key, value in label(handout.formula).items() if key != "formula"}
    assert bench.status(candidate_id=handout.id, **report) == "rejected"
    other.campaign.ledger.close()
