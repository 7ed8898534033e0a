"""Ask and tell over the ledger: candidates are handed out for a time, answers come late, twice, or out of order.

A candidate is handed out while it has no answer and no lease that runs; first the open round's batch, then what was
handed out beyond a batch and came back, then the next best of the same proposal. Every label is kept as it was told,
in the transaction that makes it the candidate's answer, so that a kill loses none and asks none twice.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.campaign import Campaign
from discovery.composition import reduced_formula
from discovery.errors import CompositionError
from discovery.events import Observers
from discovery.outcomes import estimate_of
from discovery.records import Failure, Measurement
from serve.book import Book, Lease, Told
from serve.judging import Verdict, answer_of, judge

Clock = Callable[[], float]


@dataclass(frozen=True)
class Handout:
    """A candidate that was handed out; energies in eV/atom."""

    id: str
    formula: str
    predicted_energy_above_hull: float | None
    std: float | None
    acquisition: float | None
    reason: str
    expires: float  # seconds since 1970


@dataclass(frozen=True)
class Result:
    """What became of one report."""

    candidate_id: str | None
    formula: str | None
    status: str
    detail: str


class Desk:
    """Hands out the candidates of a campaign and takes its answers. Safe to use from several threads.

    Args:
        campaign: it and its ledger have no other writer than this process.
        book: of the campaign.
        lease_s: seconds until a candidate may be handed out again.
        clock: seconds since 1970.
    """

    def __init__(self, campaign: Campaign, book: Book, lease_s: float, clock: Clock = time.time) -> None:
        self._campaign = campaign
        self._book = book
        self._lease_s = lease_s
        self._clock = clock
        self._hull = campaign.reference_hull.with_phases((), campaign.reference.scheme)  # of its own: it grows with use
        self._lock = threading.RLock()
        self._closed = 0  # the last round whose answers are being learned, or were

    @property
    def observer(self) -> Observers:
        """Told of the rounds, so that an answer that comes while one is learned from counts for the next."""
        return _Closing(self._close)

    @property
    def is_open(self) -> bool:
        """True while the open round's batch waits for answers."""
        proposal = self._campaign.open_proposal()
        return proposal is not None and bool(self._campaign.unanswered(proposal))

    @property
    def is_answered(self) -> bool:
        """True where the open round's batch is answered, so that it can be learned from."""
        proposal = self._campaign.open_proposal()
        return proposal is not None and not self._campaign.unanswered(proposal)

    def handed_out(self) -> list[Lease]:
        """Running leases of candidates without an answer, the first to expire on top."""
        answers, now = self._campaign.ledger.answers(), self._clock()
        running = [lease for lease in self._book.leases().values() if lease.expires > now]
        return sorted((one for one in running if one.formula not in answers), key=lambda lease: lease.expires)

    def hand_out(self, n: int) -> list[Handout]:
        """Up to `n` candidates, each leased to whoever asked."""
        with self._lock:
            proposal = self._campaign.open_proposal()
            if proposal is None:
                return []
            expires = self._clock() + self._lease_s
            rows = {row.formula: row for row in self._campaign.ledger.candidates()}
            chosen = self._free(proposal.selected, proposal.round, rows)[:n]
            reasons = {f: rows[f].reason or "next best of the proposal, beyond the batch" for f in chosen}
            leases = [Lease(formula, self._id(formula), proposal.round, expires) for formula in chosen]
            self._campaign.ledger.ask_also(proposal.round, reasons, self._book.leasing(leases))
            return [_handout(lease, rows[lease.formula], reasons[lease.formula]) for lease in leases]

    def tell(self, reports: Sequence[Mapping[str, Any]]) -> tuple[list[Result], list[Measurement | Failure]]:
        """Take reports in their order.

        Args:
            reports: fields of `serve.schemas.Report` that are set.

        Returns:
            One result per report, and those answers that are now the answers of their candidates.
        """
        with self._lock:
            answers = {formula: answer for formula, (_, answer) in self._campaign.ledger.answers().items()}
            known = {row.formula for row in self._campaign.ledger.candidates()}
            before = dict(answers)
            results = [self._told(report, answers, known) for report in reports]
            new = [answer for formula, answer in answers.items() if before.get(formula) is not answer]
            return results, new

    def _told(self, report: Mapping[str, Any], answers: dict[str, Measurement | Failure], known: set[str]) -> Result:
        named = report.get("candidate_id")
        formula, wrong = self._formula(report)
        if formula is None or formula not in known:
            reason = wrong or f"{formula} is no candidate of this campaign: ask for candidates, and tell their energies"
            return Result(named, formula, "rejected", reason)
        told = Told(report.get("idempotency_key"), formula, "", "", self._open_round(), dict(report))
        named = self._id(formula)
        if told.key is not None and (earlier := self._book.told_with(told.key)):
            same = dict(earlier.label) == dict(report)
            detail = "told before" if same else "this idempotency_key came with another label: use a new key"
            return Result(named, formula, "duplicate" if same else "rejected", detail)
        answer = answer_of(formula, report, self._above_hull)
        verdict = judge(answer, answers.get(formula), self._book.told(formula))
        self._keep(told, verdict, answer)
        if verdict.is_answer:
            answers[formula] = answer
        return Result(named, formula, verdict.status, verdict.detail)

    def _keep(self, told: Told, verdict: Verdict, answer: Measurement | Failure) -> None:
        kept = Told(told.key, told.formula, verdict.status, verdict.detail, told.round, told.label)
        if verdict.is_answer:
            ledger = self._campaign.ledger
            ledger.ask_also(told.round, {told.formula: "told without having been asked for"})
            ledger.save_answer(told.round, answer, self._book.telling(kept))
        elif verdict.status != "duplicate":
            self._book.keep(kept)

    def _formula(self, report: Mapping[str, Any]) -> tuple[str | None, str]:
        """The reduced formula that a report is about, or why there is none."""
        lease = None
        if (named := report.get("candidate_id")) is not None and (lease := self._book.lease_of(named)) is None:
            return None, f"no candidate has the id {named!r} in this campaign: use the ids that ask gave"
        if report.get("formula") is None:
            return (None, "give candidate_id or formula") if lease is None else (lease.formula, "")
        try:
            formula = reduced_formula(report["formula"])
        except CompositionError as error:
            return None, str(error)
        if lease is not None and lease.formula != formula:
            return None, f"candidate_id stands for {lease.formula}, not for {formula}: leave one of the two out"
        return formula, ""

    def _free(self, batch: Sequence[str], number: int, rows: Mapping[str, Any]) -> list[str]:
        """Formulas that can be handed out, in this order."""
        answers, leases, now = self._campaign.ledger.answers(), self._book.leases(), self._clock()
        open_rows = [
            row
            for formula, row in rows.items()
            if formula not in answers and (formula not in leases or leases[formula].expires <= now)
        ]
        returned = sorted((row for row in open_rows if row.status == "selected"), key=lambda row: row.call)
        further = [row for row in open_rows if row.status == "ranked" and row.last_round == number]
        further.sort(key=lambda row: (-(row.acquisition or 0.0), row.formula))
        free = {row.formula for row in open_rows}
        order = [*(f for f in batch if f in free), *(row.formula for row in (*returned, *further))]
        return list(dict.fromkeys(order))

    def _open_round(self) -> int:
        number = self._campaign.finished_rounds + 1
        return number + 1 if number == self._closed else number

    def _close(self, number: int) -> None:
        with self._lock:
            self._closed = number

    def _above_hull(self, answer: Measurement) -> float | None:
        """Signed energy above the reference's hull, eV/atom; None where it has no hull of the scheme."""
        energy = answer.formation_energy_per_atom
        if energy is None or answer.scheme != self._hull.scheme:
            return None
        return float(self._hull.energy_above_hull(answer.formula, energy).energy_above_hull)

    def _id(self, formula: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._campaign.ledger.campaign}/{formula}"))


class _Closing(Observers):
    """Notes when the answers of a round begin to be learned from."""

    def __init__(self, close: Callable[[int], None]) -> None:
        super().__init__()
        self._note = close

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """Pass the round on."""
        del total
        if stage == "learn":
            self._note(round_number)


def _handout(lease: Lease, row: Any, reason: str) -> Handout:
    estimate = estimate_of(row)
    above, std = (None, None) if estimate is None else (estimate.energy_above_hull, estimate.std)
    return Handout(lease.id, lease.formula, above, std, row.acquisition, reason, lease.expires)
