"""Tables that the service keeps beside the ledger's own, in the same database."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

STATES = sa.Table(
    "service_states",
    METADATA,
    sa.Column("campaign", sa.String(36), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("wanted", sa.String, nullable=False),  # idle, running, stopping: what a restart has to take up
    sa.Column("target", sa.Integer, nullable=False),  # rounds that the present run ends at
    sa.Column("error", sa.Text),  # why the last run ended early; null where it did not
    sa.Column("ended", sa.Text, nullable=False),  # why the last run ended, "" before
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("campaign", sa.String(36), primary_key=True),
    sa.Column("formula", sa.String, primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),  # what a client names the candidate by
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),  # seconds since 1970
    sa.Index("ix_leases_id", "campaign", "id", unique=True),
)

TOLD = sa.Table(
    "told",
    METADATA,
    sa.Column("campaign", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # in order of arrival, from 1
    sa.Column("key", sa.String),  # the client's idempotency key
    sa.Column("formula", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),  # accepted, conflict, kept_apart
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),  # that was open when it came
    sa.Column("received", sa.String, nullable=False),  # ISO 8601, UTC
    sa.Column("label", sa.JSON, nullable=False),  # as it was told
    sa.Index("ix_told_key", "campaign", "key", unique=True),
    sa.Index("ix_told_formula", "campaign", "formula"),
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("campaign", sa.String(36), primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True),  # increasing, from 1
    sa.Column("event", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # JSON
)
