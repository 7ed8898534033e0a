"""A finished campaign of two rounds written by hand: every energy in it can be checked with a pencil.

Scheme `test`, eV/atom. Reference: MgO -3.0, TiO2 -3.3, LiCl -2.1. The oracle's answers, against the reference:

    MgTiO3   -3.30  hull (2 x -3.0 + 3 x -3.3) / 5 = -3.18   above -0.12
    MgO2     -1.50  hull 2/3 x -3.0 = -2.0                   above +0.50
    NaTiO2   failed
    Mg2TiO4  -3.20  hull (4 x -3.0 + 3 x -3.3) / 7 = -3.129  above -0.071429
    LiMgClO  -2.60  hull (-2.1 - 3.0) / 2 = -2.55            above -0.05

Among the finds, Mg2TiO4 faces MgTiO3 and MgO: -3.2 + (5 x 3.3 + 2 x 3.0) / 7 = +0.014286.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pymatgen.core import Lattice, Structure

from discovery.campaign import Campaign, Parts
from discovery.config import CampaignConfig
from discovery.hull import Hull
from discovery.records import (
    Candidate,
    Estimate,
    Failure,
    LearningReport,
    Measurement,
    Proposal,
    RankedCandidate,
    RoundRecord,
    Verdict,
)
from discovery.reference.base import Phase, Reference
from tests.small import untrained_surrogate

PHASES = (Phase("MgO", -3.0), Phase("TiO2", -3.3), Phase("LiCl", -2.1))
ABOVE = {"MgTiO3": -0.12, "MgO2": 0.5, "Mg2TiO4": -0.5 / 7, "LiMgClO": -0.05}
CALLS = ["MgTiO3", "MgO2", "NaTiO2", "Mg2TiO4", "LiMgClO"]
PREDICTED = {"MgTiO3": 0.02, "MgO2": 0.09, "NaTiO2": 0.05, "Mg2TiO4": 0.0, "LiMgClO": 0.1, "LiTiO2": 0.3}
STD = 0.05  # of every estimate: epistemic 0.03, aleatoric 0.04


class Known(frozenset[str]):
    """The three phases of the reference."""

    def in_system(self, symbols: Sequence[str]) -> tuple[str, ...]:
        return ()


def two_rounds(folder: Path, attribution: str = "") -> Campaign:
    """The campaign of this module's docstring."""
    known = Known(phase.formula for phase in PHASES)
    reference = Reference("pencil", "v1", "test", PHASES, known, {}, {0.1: 0.23}, attribution)
    parts = Parts(
        reference, Hull(PHASES, "test"), None, untrained_surrogate(("test",)), {"surrogate": "s-0", "oracle": "hand"}
    )
    campaign = Campaign.start(folder, CampaignConfig(rounds=2, seed=7, local=True), parts)
    _first_round(campaign)
    _second_round(campaign)
    return campaign


def empty(folder: Path) -> Campaign:
    """A campaign that has only begun."""
    reference = Reference("pencil", "v1", "test", PHASES, Known(), {}, {})
    return Campaign.start(
        folder, CampaignConfig(), Parts(reference, Hull(PHASES, "test"), None, untrained_surrogate(("test",)), {})
    )


def candidate(formula: str, number: int, selected: bool = False) -> RankedCandidate:
    energy = PREDICTED[formula]
    estimate = Estimate(-3.0 + energy, 0.03, 0.04, "test", f"s-{number - 1}", energy, ("MgO", "TiO2*"), True)
    status, why = ("selected", f"rank 1 of 3 in <{number}>") if selected else ("ranked", "")
    return RankedCandidate(
        Candidate(formula, "gpt2-abc", number, -12.5), Verdict(True, True, True, "ok"), estimate, 1.5, status, why
    )


def measured(formula: str, energy: float, cif: str | None = None) -> Measurement:
    provenance = {"chgnet": "0.4.2", "steps": str(len(formula))}
    return Measurement(formula, "hand", "test", energy, cif=cif, prototype="E2_1", seconds=2.5, provenance=provenance)


def perovskite_cif() -> str:
    return str(Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), ["Mg", "Ti", "O"],
                                         [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]).to(fmt="cif"))  # fmt: skip


def _first_round(campaign: Campaign) -> None:
    selected = ("MgTiO3", "MgO2", "NaTiO2")
    bad = RankedCandidate(
        Candidate("NaO5", "gpt2-abc", 1, -30.0),
        Verdict(False, False, False, "x"),
        None,
        None,
        "rejected",
        "not neutral",
    )
    items = (*(candidate(f, 1, True) for f in selected), candidate("LiTiO2", 1), bad)
    rejects = {"not neutral": 4, "known": 2}
    campaign.begin(Proposal(1, 10, 6, 5, rejects, items, selected, {"generate": 1.0}))
    campaign.accept(1, measured("MgO2", -1.5))
    campaign.accept(1, measured("MgTiO3", -3.3, perovskite_cif()))
    campaign.accept(1, Failure("NaTiO2", "hand", "relaxation diverged", "step 7\nof 60", 4.0, 2))
    learning = LearningReport("s-1", "g-1", {"mae_before": 0.2, "mae_after": 0.1, "coverage_90_before": 0.5})
    record = RoundRecord(
        1,
        10,
        6,
        5,
        selected,
        2,
        1,
        1,
        rejects,
        {"relaxation diverged": 1},
        learning,
        {"validate": 6.0, "generate": 1.0},
    )
    campaign.ledger.save_record(record)


def _second_round(campaign: Campaign) -> None:
    selected = ("Mg2TiO4", "LiMgClO")
    items = (*(candidate(f, 2, True) for f in selected), candidate("LiTiO2", 2))
    campaign.begin(Proposal(2, 10, 8, 3, {"duplicate": 8}, items, selected, {"generate": 2.0}))
    campaign.accept(2, measured("LiMgClO", -2.6, perovskite_cif()))
    campaign.accept(2, measured("Mg2TiO4", -3.2))
    metrics = {"guard_novelty_before": 0.9, "guard_novelty_after": 0.7}
    learning = LearningReport("s-2", "g-1", metrics, rolled_back=True)
    record = RoundRecord(
        2, 10, 8, 3, selected, 2, 0, 2, {"duplicate": 8}, {}, learning, {"generate": 2.0, "learn": 0.5}
    )
    campaign.ledger.save_record(record)
