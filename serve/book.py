"""What the service writes down about one campaign: state, leases, told labels and events, in the ledger's database."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from discovery.ledger import Ledger
from serve.tables import EVENTS, LEASES, METADATA, STATES, TOLD

KEPT_EVENTS = 2000  # of one campaign; older ones are dropped


@dataclass(frozen=True)
class State:
    """What a campaign is about to do."""

    name: str
    wanted: str = "idle"  # idle, running, stopping
    target: int = 0  # rounds that the present run ends at
    error: str | None = None
    ended: str = ""


@dataclass(frozen=True)
class Lease:
    """A candidate that was handed out."""

    formula: str
    id: str
    round: int
    expires: float  # seconds since 1970


@dataclass(frozen=True)
class Told:
    """A label or failure as it was told."""

    key: str | None
    formula: str
    status: str
    detail: str
    round: int
    label: Mapping[str, Any]


class Book:
    """The service's tables of one campaign; makes them in a ledger that has none yet."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._campaign = ledger.campaign
        self._numbering = threading.Lock()  # of events, which several threads write
        with ledger.transaction() as connection:
            METADATA.create_all(connection)

    def state(self) -> State:
        """The campaign's state; idle where nothing was written."""
        rows = self._rows(sa.select(STATES).where(STATES.c.campaign == self._campaign))
        if not rows:
            return State("")
        row = rows[0]
        return State(row.name, row.wanted, row.target, row.error, row.ended)

    def save_state(self, state: State) -> None:
        """Replace the state."""
        with self._ledger.transaction() as connection:
            connection.execute(STATES.delete().where(STATES.c.campaign == self._campaign))
            connection.execute(STATES.insert().values(campaign=self._campaign, **dataclasses.asdict(state)))

    def leases(self) -> dict[str, Lease]:
        """Formula -> its last lease, expired or not."""
        rows = self._rows(sa.select(LEASES).where(LEASES.c.campaign == self._campaign))
        return {row.formula: Lease(row.formula, row.id, row.round, row.expires) for row in rows}

    def lease_of(self, candidate_id: str) -> Lease | None:
        """The lease that an id stands for."""
        where = (LEASES.c.campaign == self._campaign, LEASES.c.id == candidate_id)
        rows = self._rows(sa.select(LEASES).where(*where))
        return Lease(rows[0].formula, rows[0].id, rows[0].round, rows[0].expires) if rows else None

    def leasing(self, leases: Sequence[Lease]) -> list[sa.Executable]:
        """Statements that write leases, for a transaction of the ledger."""
        formulas = [lease.formula for lease in leases]
        where = (LEASES.c.campaign == self._campaign, LEASES.c.formula.in_(formulas))
        rows = [{"campaign": self._campaign, **dataclasses.asdict(lease)} for lease in leases]
        return [LEASES.delete().where(*where), LEASES.insert().values(rows)] if rows else []

    def told(self, formula: str) -> list[Told]:
        """Everything that was told of a formula, in order of arrival."""
        where = (TOLD.c.campaign == self._campaign, TOLD.c.formula == formula)
        return [_told(row) for row in self._rows(sa.select(TOLD).where(*where).order_by(TOLD.c.number))]

    def told_with(self, key: str) -> Told | None:
        """What was told with an idempotency key."""
        rows = self._rows(sa.select(TOLD).where(TOLD.c.campaign == self._campaign, TOLD.c.key == key))
        return _told(rows[0]) if rows else None

    def conflicts(self) -> set[str]:
        """Formulas with labels that contradict each other."""
        where = (TOLD.c.campaign == self._campaign, TOLD.c.status == "conflict")
        return {row.formula for row in self._rows(sa.select(TOLD.c.formula).where(*where))}

    def telling(self, told: Told) -> list[sa.Executable]:
        """Statements that keep a label, for a transaction of the ledger."""
        number = sa.select(sa.func.coalesce(sa.func.max(TOLD.c.number), 0) + 1).where(TOLD.c.campaign == self._campaign)
        fields = {**dataclasses.asdict(told), "label": dict(told.label)}
        received = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"campaign": self._campaign, "number": number.scalar_subquery(), "received": received, **fields}
        return [TOLD.insert().values(**row)]

    def keep(self, told: Told) -> None:
        """Keep a label that is no answer."""
        with self._ledger.transaction() as connection:
            for statement in self.telling(told):
                connection.execute(statement)

    def add_event(self, event: str, data: object) -> None:
        """Write an event; the oldest ones make room."""
        own = EVENTS.c.campaign == self._campaign
        with self._numbering, self._ledger.transaction() as connection:
            last = connection.execute(sa.select(sa.func.max(EVENTS.c.id)).where(own)).scalar_one() or 0
            row = {"campaign": self._campaign, "id": last + 1, "event": event, "data": json.dumps(data)}
            connection.execute(EVENTS.insert().values(**row))
            connection.execute(EVENTS.delete().where(own, EVENTS.c.id <= last + 1 - KEPT_EVENTS))

    def events(self, after: int) -> list[tuple[int, str, str]]:
        """Events later than an id, in order: id, name, JSON."""
        query = sa.select(EVENTS).where(EVENTS.c.campaign == self._campaign, EVENTS.c.id > after).order_by(EVENTS.c.id)
        return [(row.id, row.event, row.data) for row in self._rows(query)]

    def forget(self) -> None:
        """Remove everything of the campaign."""
        with self._ledger.transaction() as connection:
            for table in (EVENTS, TOLD, LEASES, STATES):
                connection.execute(table.delete().where(table.c.campaign == self._campaign))

    def _rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        with self._ledger.transaction() as connection:
            return list(connection.execute(query).all())


def _told(row: sa.Row[Any]) -> Told:
    return Told(row.key, row.formula, row.status, row.detail, row.round, row.label)
