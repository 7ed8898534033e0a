"""The campaign database: every state change is one transaction.

SQLite in the run folder by default; any SQLAlchemy URL works. A candidate is (campaign, reduced formula), unique. An
oracle call is finished when its answer is committed here; finished calls are never repeated.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from discovery.errors import LedgerError
from discovery.records import Failure, LearningReport, Measurement, Proposal, RankedCandidate, RoundRecord

SCHEMA_VERSION = 1

_METADATA = sa.MetaData()

CAMPAIGNS = sa.Table(
    "campaigns",
    _METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("created", sa.String, nullable=False),  # ISO 8601, UTC
    sa.Column("config", sa.Text, nullable=False),  # TOML
    sa.Column("inputs", sa.JSON, nullable=False),  # versions and content hashes of models, reference, oracle, files
    sa.Column("summary", sa.JSON(none_as_null=True)),  # the final result; null while the campaign runs
)

_OWNER = "campaigns.id"

CANDIDATES = sa.Table(
    "candidates",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey(_OWNER), primary_key=True),
    sa.Column("formula", sa.String, primary_key=True),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("first_round", sa.Integer, nullable=False),
    sa.Column("last_round", sa.Integer, nullable=False),
    sa.Column("times_proposed", sa.Integer, nullable=False),  # rounds in which it was among the candidates
    sa.Column("log_probability", sa.Float),
    sa.Column("charge_neutral", sa.Boolean, nullable=False),
    sa.Column("electronegativity_balanced", sa.Boolean, nullable=False),
    sa.Column("estimate", sa.JSON(none_as_null=True)),  # fields of records.Estimate; null for rejected ones
    sa.Column("acquisition", sa.Float),
    sa.Column("status", sa.String, nullable=False),  # rejected, ranked, selected, validated, failed
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("selected_round", sa.Integer),
    sa.Column("call", sa.Integer),  # position in the order of oracle calls, from 1; null where not asked
    sa.Index("ix_candidates_status", "campaign", "status"),
)

ANSWERS = sa.Table(
    "answers",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey(_OWNER), primary_key=True),
    sa.Column("formula", sa.String, primary_key=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("kind", sa.String, nullable=False),  # measurement or failure
    sa.Column("answer", sa.JSON, nullable=False),  # fields of records.Measurement or records.Failure
)

ROUNDS = sa.Table(
    "rounds",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey(_OWNER), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("proposal", sa.JSON, nullable=False),  # fields of records.Proposal without its candidates
    sa.Column("record", sa.JSON(none_as_null=True)),  # fields of records.RoundRecord; null while the round is open
)


class Ledger:
    """One campaign in a database.

    Raises:
        LedgerError: the file is damaged, no ledger, of another version, or holds no or several campaigns.
    """

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _durable)
        self._url = url
        self._campaign = ""

    @classmethod
    def create(cls, url: str, campaign: str, created: str, config: str, inputs: Mapping[str, str]) -> Ledger:
        """A new ledger with one campaign in it; or one more campaign in a database of several."""
        ledger = cls(url)
        with ledger.transaction() as connection:
            _METADATA.create_all(connection)
            row = {"id": campaign, "schema_version": SCHEMA_VERSION, "created": created}
            connection.execute(CAMPAIGNS.insert().values(**row, config=config, inputs=dict(inputs)))
        ledger._campaign = campaign
        return ledger

    @classmethod
    def open(cls, url: str, campaign: str | None = None) -> Ledger:
        """An existing ledger; `campaign` names the one that is meant in a database of several."""
        ledger = cls(url)
        with ledger.transaction() as connection:
            if not sa.inspect(connection).has_table("campaigns"):
                raise LedgerError(f"{url} is no campaign ledger: name the run folder of a campaign, or a new one")
            query = sa.select(CAMPAIGNS.c.id, CAMPAIGNS.c.schema_version)
            named = query if campaign is None else query.where(CAMPAIGNS.c.id == campaign)
            rows = connection.execute(named).all()
        if len(rows) != 1:
            raise LedgerError(f"{url} holds {len(rows)} campaigns instead of one: start in a new --run-dir")
        if rows[0].schema_version != SCHEMA_VERSION:
            raise LedgerError(f"{url} has version {rows[0].schema_version}, not {SCHEMA_VERSION}: use a new --run-dir")
        ledger._campaign = rows[0].id
        return ledger

    @property
    def campaign(self) -> str:
        """The campaign's id."""
        return self._campaign

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def header(self) -> sa.Row[Any]:
        """The campaign's row."""
        with self.transaction() as connection:
            return connection.execute(sa.select(CAMPAIGNS).where(CAMPAIGNS.c.id == self._campaign)).one()

    def save_proposal(self, proposal: Proposal) -> None:
        """A round begins: its candidates, and the batch with its order of oracle calls."""
        fields = dataclasses.asdict(dataclasses.replace(proposal, candidates=()))
        with self.transaction() as connection:
            first_call = connection.execute(self._count_calls()).scalar_one() + 1
            calls = {formula: first_call + i for i, formula in enumerate(proposal.selected)}
            for item in proposal.candidates:
                connection.execute(self._upsert(item, proposal.round, calls.get(item.candidate.formula)))
            row = {"campaign": self._campaign, "round": proposal.round, "proposal": fields}
            connection.execute(ROUNDS.insert().values(**row))

    def save_answer(
        self, round_number: int, answer: Measurement | Failure, beside: Sequence[sa.Executable] = ()
    ) -> None:
        """An oracle call is finished; a second answer for the same candidate changes nothing.

        A measurement takes the place of an earlier failure. `beside` is executed in the same transaction.
        """
        kind = "measurement" if isinstance(answer, Measurement) else "failure"
        fields = dataclasses.asdict(answer)
        row = {"campaign": self._campaign, "formula": answer.formula, "round": round_number, "kind": kind}
        status = "validated" if kind == "measurement" else "failed"
        with self.transaction() as connection:
            for statement in beside:
                connection.execute(statement)
            earlier = connection.execute(self._kind_of(answer.formula)).scalar_one_or_none()
            if earlier in ("measurement", kind):
                return
            connection.execute(ANSWERS.delete().where(*self._answered(answer.formula)))
            connection.execute(ANSWERS.insert().values(**row, answer=_jsonable(fields)))
            connection.execute(CANDIDATES.update().where(*self._is(answer.formula)).values(status=status))

    def ask_also(self, round_number: int, reasons: Mapping[str, str], beside: Sequence[sa.Executable] = ()) -> None:
        """More candidates of a begun round are asked for, in this order; `beside` is in the same transaction.

        Args:
            round_number: of the open round.
            reasons: formula of a candidate -> why it is asked for; one that was asked before keeps its place.
            beside: further statements.
        """
        with self.transaction() as connection:
            call = connection.execute(self._count_calls()).scalar_one()
            for formula, reason in reasons.items():
                new = {"status": "selected", "reason": reason, "selected_round": round_number, "call": call + 1}
                where = (*self._is(formula), CANDIDATES.c.call.is_(None))
                call += connection.execute(CANDIDATES.update().where(*where).values(**new)).rowcount
            for statement in beside:
                connection.execute(statement)

    def forget(self) -> None:
        """Remove the campaign from its database."""
        with self.transaction() as connection:
            for table in (ROUNDS, ANSWERS, CANDIDATES):
                connection.execute(table.delete().where(table.c.campaign == self._campaign))
            connection.execute(CAMPAIGNS.delete().where(CAMPAIGNS.c.id == self._campaign))

    def save_record(self, record: RoundRecord) -> None:
        """A round ends."""
        where = (ROUNDS.c.campaign == self._campaign, ROUNDS.c.round == record.round)
        with self.transaction() as connection:
            connection.execute(ROUNDS.update().where(*where).values(record=_jsonable(dataclasses.asdict(record))))

    def save_summary(self, summary: Mapping[str, object] | None) -> None:
        """The campaign ends (or, with None, goes on)."""
        with self.transaction() as connection:
            values = {"summary": None if summary is None else dict(summary)}
            connection.execute(CAMPAIGNS.update().where(CAMPAIGNS.c.id == self._campaign).values(**values))

    def proposals(self) -> dict[int, Proposal]:
        """Round -> its proposal, without the candidates."""
        rows = self._rows(ROUNDS, ROUNDS.c.round)
        return {row.round: _proposal(row.proposal) for row in rows}

    def records(self) -> dict[int, RoundRecord]:
        """Round -> its record, for finished rounds."""
        rows = self._rows(ROUNDS, ROUNDS.c.round)
        return {row.round: _record(row.record) for row in rows if row.record is not None}

    def answers(self) -> dict[str, tuple[int, Measurement | Failure]]:
        """Reduced formula -> (round, answer), sorted by formula."""
        rows = self._rows(ANSWERS, ANSWERS.c.formula)
        kinds = {"measurement": Measurement, "failure": Failure}
        return {row.formula: (row.round, kinds[row.kind](**row.answer)) for row in rows}

    def candidates(self) -> list[sa.Row[Any]]:
        """All candidate rows, sorted by formula."""
        return self._rows(CANDIDATES, CANDIDATES.c.formula)

    def calls(self) -> list[str]:
        """Reduced formulas in the order in which the oracle was asked."""
        where = (CANDIDATES.c.campaign == self._campaign, CANDIDATES.c.call.is_not(None))
        with self.transaction() as connection:
            query = sa.select(CANDIDATES.c.formula).where(*where).order_by(CANDIDATES.c.call)
            return list(connection.execute(query).scalars())

    def _rows(self, table: sa.Table, order: sa.Column[Any]) -> list[sa.Row[Any]]:
        query = sa.select(table).where(table.c.campaign == self._campaign).order_by(order)
        with self.transaction() as connection:
            return list(connection.execute(query).all())

    def _count_calls(self) -> sa.Select[Any]:
        where = (CANDIDATES.c.campaign == self._campaign, CANDIDATES.c.call.is_not(None))
        return sa.select(sa.func.count()).select_from(CANDIDATES).where(*where)

    def _kind_of(self, formula: str) -> sa.Select[Any]:
        return sa.select(ANSWERS.c.kind).where(*self._answered(formula))

    def _answered(self, formula: str) -> tuple[sa.ColumnElement[bool], ...]:
        return ANSWERS.c.campaign == self._campaign, ANSWERS.c.formula == formula

    def _is(self, formula: str) -> tuple[sa.ColumnElement[bool], ...]:
        return CANDIDATES.c.campaign == self._campaign, CANDIDATES.c.formula == formula

    def _upsert(self, item: RankedCandidate, round_number: int, call: int | None) -> Any:
        values = _candidate_values(item, round_number, call)
        dialect = self._engine.dialect.name
        insert = _insert_for(dialect)(CANDIDATES).values(campaign=self._campaign, **values)
        kept = ("formula", "source", "first_round", "times_proposed")
        changed = {name: insert.excluded[name] for name in values if name not in kept}
        changed["times_proposed"] = CANDIDATES.c.times_proposed + 1
        return insert.on_conflict_do_update(index_elements=["campaign", "formula"], set_=changed)

    def transaction(self) -> _Transaction:
        """A transaction on the campaign's database, for tables that others keep beside these."""
        return _Transaction(self._engine, self._url)


class _Transaction:
    """A transaction whose database errors become `LedgerError`s that say what to do."""

    def __init__(self, engine: sa.Engine, url: str) -> None:
        self._context = engine.begin()
        self._url = url

    def __enter__(self) -> sa.Connection:
        try:
            return self._context.__enter__()
        except sa.exc.DatabaseError as error:
            raise self._explained(error) from error

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool | None:
        suppressed = self._context.__exit__(kind, error, trace)
        if isinstance(error, sa.exc.DatabaseError):
            raise self._explained(error) from error
        return suppressed

    def _explained(self, error: sa.exc.DatabaseError) -> LedgerError:
        return LedgerError(f"{self._url} is damaged or in use ({error.orig}): restore it or use a new --run-dir")


def sqlite_url(folder: Path) -> str:
    """URL of the ledger in a run folder."""
    return f"sqlite:///{folder / 'campaign.db'}"


def _durable(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")  # readers never block the loop
    connection.execute("PRAGMA busy_timeout=30000")  # ms; a second writer waits for the first
    connection.execute("PRAGMA synchronous=FULL")  # a committed answer survives a power cut


def _insert_for(dialect: str) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]


def _candidate_values(item: RankedCandidate, round_number: int, call: int | None) -> dict[str, Any]:
    candidate, verdict = item.candidate, item.verdict
    return {
        "formula": candidate.formula,
        "source": candidate.source,
        "first_round": round_number,
        "last_round": round_number,
        "times_proposed": 1,
        "log_probability": candidate.log_probability,
        "charge_neutral": verdict.charge_neutral,
        "electronegativity_balanced": verdict.electronegativity_balanced,
        "estimate": None if item.estimate is None else _jsonable(dataclasses.asdict(item.estimate)),
        "acquisition": item.acquisition,
        "status": item.status,
        "reason": item.reason,
        "selected_round": None if call is None else round_number,
        "call": call,
    }


def _jsonable(value: Any) -> Any:
    """The value as JSON gives it back (tuples become lists)."""
    return json.loads(json.dumps(value, default=dict))


def _proposal(fields: Mapping[str, Any]) -> Proposal:
    return Proposal(**{**fields, "candidates": (), "selected": tuple(fields["selected"])})


def _record(fields: Mapping[str, Any]) -> RoundRecord:
    learning = LearningReport(**fields["learning"])
    return RoundRecord(**{**fields, "selected": tuple(fields["selected"]), "learning": learning})


def measurements(answers: Iterable[Measurement | Failure]) -> list[Measurement]:
    """Only the measurements."""
    return [answer for answer in answers if isinstance(answer, Measurement)]
