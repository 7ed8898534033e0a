"""What a campaign looks like from outside: read from its ledger, changing nothing."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from discovery.campaign import Campaign
from discovery.export import candidate_values, candidates_csv, cif_text, row_order
from discovery.ledger import measurements
from discovery.outcomes import outcomes, structure_name
from discovery.records import Failure, Measurement
from discovery.report import report_text
from discovery.rounds import EXHAUSTED
from discovery.summary import plain_number, summarize
from serve.book import Book, State
from serve.errors import NotFoundError, Problem
from serve.requests import shown, without_folder
from serve.settings import Settings

Row = dict[str, Any]
BAD_CURSOR = "the cursor is not one that this service gave: take next_cursor of the page before"


class BadCursorError(Problem):
    """A cursor that this service did not give."""

    status = 422


class View:
    """One campaign. Safe to use from several threads."""

    def __init__(self, campaign: Campaign, book: Book, settings: Settings) -> None:
        self.campaign = campaign
        self.book = book
        self._settings = settings
        self._lock = threading.RLock()
        self._table: tuple[object, list[Row]] = (None, [])  # what it was made from, and the rows
        self.created_at = str(campaign.ledger.header().created)

    @property
    def id(self) -> str:
        """Of the campaign."""
        return self.campaign.ledger.campaign

    def status(self) -> str:
        """One of idle, running, stopping, finished, failed."""
        return status_of(self.book.state(), self.campaign)

    def is_unfinished(self) -> bool:
        """True where a restart has something to go on with: a run, or a batch that is answered but not learned from."""
        proposal = self.campaign.open_proposal()
        answered = proposal is not None and not self.campaign.unanswered(proposal)
        return answered or self.book.state().wanted != "idle"

    def summary(self) -> Row:
        """The fields of `schemas.Summary`."""
        campaign, state = self.campaign, self.book.state()
        config, reference = campaign.config, campaign.reference
        return {
            "id": self.id,
            "name": state.name,
            "status": status_of(state, campaign),
            "error": None if state.error is None else without_folder(state.error, self._settings),
            "created_at": self.created_at,
            "rounds": config.rounds,
            "rounds_finished": campaign.finished_rounds,
            "oracle": without_folder(config.oracle, self._settings),
            "scheme": reference.scheme,
            "reference": without_folder(f"{reference.name} {reference.version}".strip(), self._settings),
            "reference_false_stable_rate": plain_number(reference.false_stable_rate(config.tolerance)),
            "tolerance": config.tolerance,
            "counts": counts(campaign),
        }

    def detail(self) -> Row:
        """The fields of `schemas.Detail`."""
        whole = summarize(self.campaign, 0.0, self.book.state().ended)
        found = {"best": whole["best"], "ended": whole["ended"]}
        return {**self.summary(), "config": shown(self.campaign.config, self._settings), **found}

    def rounds(self) -> list[Row]:
        """Records of the finished rounds."""
        return [dataclasses.asdict(record) for record in self.campaign.ledger.records().values()]

    def candidates(self, stable: bool | None, status: str | None, limit: int, cursor: str | None) -> Row:
        """A page of the table: in the order of `candidates.csv`, from where `cursor` points."""
        rows = [row for row in self._rows() if _matches(row, stable, status, self.campaign.config.tolerance)]
        if cursor is not None:
            after = _decoded(cursor)
            rows = [row for row in rows if _key(row) > after]
        more = len(rows) > limit
        return {"candidates": rows[:limit], "next_cursor": _encoded(rows[limit - 1]) if more else None}

    def csv(self) -> str:
        """The whole table as `candidates.csv`."""
        with self._lock:
            return candidates_csv(self.campaign)

    def structure(self, formula: str) -> str:
        """The CIF of a validated candidate."""
        found = next((one for one in outcomes(self.campaign) if one.formula == formula and one.structure), None)
        if found is None:
            raise NotFoundError("this campaign has no structure of that formula: /candidates lists those it has")
        return cif_text(found)

    def report(self) -> str:
        """The report as one HTML page."""
        seconds = sum(sum(record.seconds.values()) for record in self.campaign.ledger.records().values())
        with self._lock:
            text = report_text(self.campaign, summarize(self.campaign, seconds, self.book.state().ended or "not ended"))
        return without_folder(text, self._settings)

    def _rows(self) -> list[Row]:
        answers, conflicts = self.campaign.ledger.answers(), self.book.conflicts()
        rows = self.campaign.ledger.candidates()
        made_from = (len(rows), sorted(conflicts), [(row.status, row.last_round, row.call) for row in rows])
        with self._lock:
            if self._table[0] != made_from:
                self._table = (made_from, self._made(rows, answers, conflicts))
            return self._table[1]

    def _made(self, rows: Sequence[Any], answers: Mapping[str, Any], conflicts: set[str]) -> list[Row]:
        asked = [formula for formula, (_, answer) in answers.items() if isinstance(answer, Measurement)]
        hull = self.campaign.hull_with_finds().facing(asked)
        table = [candidate_values(row, answers.get(row.formula), hull) for row in rows]
        for row in table:
            row["structure"] = _structure(answers.get(str(row["formula"])))
            row["conflict"] = row["formula"] in conflicts
        return sorted(table, key=row_order)


def status_of(state: State, campaign: Campaign) -> str:
    """One of idle, running, stopping, finished, failed."""
    if state.wanted != "idle":
        return state.wanted
    if state.error is not None:
        return "failed"
    done = state.ended == EXHAUSTED or campaign.finished_rounds >= campaign.config.rounds
    return "finished" if done else "idle"


def counts(campaign: Campaign) -> dict[str, int]:
    """How many candidates came how far, the open round included."""
    proposals = list(campaign.ledger.proposals().values())
    answers = [answer for _, answer in campaign.ledger.answers().values()]
    found = measurements(answers)
    tolerance = campaign.config.tolerance
    return {
        **{name: sum(int(getattr(p, name)) for p in proposals) for name in ("generated", "valid", "novel")},
        "asked": len(campaign.ledger.calls()),
        "validated": len(found),
        "failed": sum(isinstance(answer, Failure) for answer in answers),
        "stable": sum(row.energy_above_hull is not None and row.energy_above_hull <= tolerance for row in found),
    }


def _structure(answer: tuple[int, Any] | None) -> str | None:
    if answer is None or not isinstance(answer[1], Measurement) or answer[1].cif is None:
        return None
    return structure_name(answer[1].formula)


def _matches(row: Row, stable: bool | None, status: str | None, tolerance: float) -> bool:
    if status is not None and row["status"] != status:
        return False
    above = row["energy_above_hull"]
    return stable is None or stable == (above is not None and above <= tolerance)


def _key(row: Row) -> list[Any]:
    """Where a row stands in the table; infinities as numbers that JSON knows."""
    place, rank, formula = row_order(row)
    return [place, max(-1e300, min(rank, 1e300)), formula]


def _encoded(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps(_key(row)).encode()).decode()


def _decoded(cursor: str) -> list[Any]:
    try:
        place, rank, formula = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if (
            isinstance(place, int)
            and isinstance(rank, int | float)
            and math.isfinite(rank)
            and isinstance(formula, str)
        ):
            return [place, rank, formula]
    except (ValueError, TypeError) as error:
        raise BadCursorError(BAD_CURSOR) from error
    raise BadCursorError(BAD_CURSOR)
