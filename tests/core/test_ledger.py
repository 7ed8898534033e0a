from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from discovery.errors import LedgerError
from discovery.ledger import Ledger, sqlite_url
from discovery.records import (
    Candidate,
    Estimate,
    Failure,
    LearningReport,
    Measurement,
    Proposal,
    RankedCandidate,
    RoundRecord,
    Status,
    Verdict,
)

ESTIMATE = Estimate(-1.0, 0.05, 0.02, "s", "m", 0.01, ("A", "B"))


def ranked(formula: str, status: Status = "ranked", value: float = 1.0) -> RankedCandidate:
    verdict = Verdict(True, True, True, "ok")
    return RankedCandidate(Candidate(formula, "gen", 1, -3.0), verdict, ESTIMATE, value, status, "why")


def proposal(number: int, selected: tuple[str, ...], others: tuple[str, ...] = ()) -> Proposal:
    items = [ranked(f, "selected") for f in selected] + [ranked(f) for f in others]
    return Proposal(number, 10, 8, 5, {"known": 2}, tuple(items), selected, {"generate": 1.5})


def measurement(formula: str) -> Measurement:
    return Measurement(formula, "oracle", "s", -1.25, 0.03, 0.01, "cif", "rutile", 2.0, 1, {"ase": "3"})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(sqlite_url(tmp_path), "id-1", "2026-01-01T00:00:00+00:00", "seed = 0", {"a": "b"})


def test_what_was_written_is_read_back_after_reopening(ledger: Ledger, tmp_path: Path) -> None:
    ledger.save_proposal(proposal(1, ("TiO2", "NaCl"), ("KBr",)))
    ledger.save_answer(1, measurement("NaCl"))
    ledger.save_answer(1, Failure("TiO2", "oracle", "timeout", "60 s", 60.0, 2))
    record = RoundRecord(1, 10, 8, 5, ("TiO2", "NaCl"), 1, 1, 1, {"known": 2}, {"timeout": 1},
                         LearningReport("s1", "g1", {"mae_before": 0.1}), {"generate": 1.5})  # fmt: skip
    ledger.save_record(record)
    ledger.close()
    again = Ledger.open(sqlite_url(tmp_path))
    assert again.campaign == "id-1"
    assert again.answers() == {
        "NaCl": (1, measurement("NaCl")),
        "TiO2": (1, Failure("TiO2", "oracle", "timeout", "60 s", 60.0, 2)),
    }
    assert again.records() == {1: record}
    assert again.proposals()[1].selected == ("TiO2", "NaCl")
    status = {row.formula: (row.status, row.reason) for row in again.candidates()}
    assert status == {"KBr": ("ranked", "why"), "NaCl": ("validated", "why"), "TiO2": ("failed", "why")}


def test_calls_are_listed_once_in_the_order_first_asked(ledger: Ledger) -> None:
    ledger.save_proposal(proposal(1, ("TiO2", "NaCl")))
    ledger.save_proposal(proposal(2, ("KBr", "AgCl")))
    assert ledger.calls() == ["TiO2", "NaCl", "KBr", "AgCl"]


def test_a_second_answer_changes_nothing(ledger: Ledger) -> None:
    ledger.save_proposal(proposal(1, ("NaCl",)))
    ledger.save_answer(1, measurement("NaCl"))
    ledger.save_answer(1, Failure("NaCl", "oracle", "timeout"))
    assert ledger.answers()["NaCl"][1] == measurement("NaCl")


def test_a_candidate_that_comes_again_keeps_its_first_round(ledger: Ledger) -> None:
    ledger.save_proposal(proposal(1, ("NaCl",), ("KBr",)))
    ledger.save_proposal(proposal(2, ("KBr",)))
    row = next(row for row in ledger.candidates() if row.formula == "KBr")
    assert (row.first_round, row.last_round, row.times_proposed, row.status) == (1, 2, 2, "selected")


def test_a_round_cannot_begin_twice(ledger: Ledger) -> None:
    ledger.save_proposal(proposal(1, ("NaCl",)))
    with pytest.raises(LedgerError):
        ledger.save_proposal(proposal(1, ("KBr",)))
    assert ledger.calls() == ["NaCl"]  # the failed transaction left nothing behind


def test_a_file_that_is_no_ledger_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger.open(sqlite_url(tmp_path))
    assert path.read_bytes() == b"this is no database" * 100


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "campaign.db") as connection:
        connection.execute("CREATE TABLE other (x INTEGER)")
    connection.close()
    with pytest.raises(LedgerError, match="no campaign ledger"):
        Ledger.open(sqlite_url(tmp_path))


def test_a_truncated_ledger_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    ledger.save_proposal(proposal(1, ("NaCl",), tuple(f"Na{i}Cl" for i in range(2, 200))))
    ledger.close()
    path = tmp_path / "campaign.db"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(LedgerError):
        Ledger.open(sqlite_url(tmp_path)).candidates()
