"""What a round writes down. All frozen; energies in eV/atom; a candidate is identified by its reduced formula.

Energy above hull is signed and taken against the hull *without* the composition itself (Bartel's decomposition energy):
negative means stable, and by how much. Every energy carries its scheme (``mp2019``, ``chgnet-0.3.0``, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """One sequence as a generator wrote it, before any filter."""

    sequence: str  # element symbols separated by single spaces; "<end>" last if it was drawn
    formula: str | None  # the formula as written, elements in order; None where the sequence is no composition
    log_probability: float  # natural logarithm, summed over the tokens that were drawn, end token included


@dataclass(frozen=True)
class Candidate:
    """A composition that entered a campaign."""

    formula: str  # reduced formula: the identity within a campaign
    source: str  # name and version of the generator, or the name of the file
    round: int  # counted from 1
    log_probability: float | None = None  # of the sequence under the generator; None where there is none


@dataclass(frozen=True)
class Verdict:
    """What the screens say about a composition."""

    charge_neutral: bool
    electronegativity_balanced: bool
    accepted: bool
    reason: str  # "ok", or why it was turned down, in a few words that can be counted


@dataclass(frozen=True)
class Estimate:
    """The surrogate's opinion, and what follows from it with a hull."""

    formation_energy_per_atom: float
    epistemic_std: float  # disagreement of the ensemble, calibrated
    aleatoric_std: float  # scatter that more data would not remove, calibrated
    scheme: str
    model_version: str
    energy_above_hull: float | None = None  # None where the reference has no hull of this scheme
    competing_phases: tuple[str, ...] = ()  # reduced formulas of the decomposition
    unmeasured_phases: bool = False  # the chemical system has known phases without an energy in the reference

    @property
    def std(self) -> float:
        """Total standard deviation of the formation energy (and of the energy above a given hull), eV/atom."""
        return float((self.epistemic_std**2 + self.aleatoric_std**2) ** 0.5)


@dataclass(frozen=True)
class Measurement:
    """An oracle's answer."""

    formula: str
    oracle: str
    scheme: str
    formation_energy_per_atom: float | None  # None where only the energy above hull is known
    energy_above_hull: float | None = None  # filled by the oracle, or later from the hull of the same scheme
    std: float = 0.0
    cif: str | None = None  # the relaxed structure
    prototype: str | None = None  # where the structure came from
    seconds: float = 0.0
    attempts: int = 1
    provenance: Mapping[str, str] = field(default_factory=dict)  # software versions, material id, steps, ...


@dataclass(frozen=True)
class Failure:
    """An oracle call that gave no energy: a value, not an error."""

    formula: str
    oracle: str
    reason: str  # short, countable: "no label", "relaxation diverged", "timeout", "worker died", ...
    detail: str = ""
    seconds: float = 0.0
    attempts: int = 1


Status = Literal["rejected", "ranked", "selected", "validated", "failed"]


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate with all that is known of it before the oracle is asked."""

    candidate: Candidate
    verdict: Verdict
    estimate: Estimate | None = None  # None for rejected ones
    acquisition: float | None = None
    status: Status = "ranked"
    reason: str = ""  # why it was selected, or why it was turned down


@dataclass(frozen=True)
class Proposal:
    """What `ask` returns: everything that was generated in a round, and the batch to validate."""

    round: int
    generated: int  # raw samples, before any filter
    valid: int  # samples whose verdict is accepted on chemistry alone
    novel: int  # distinct valid formulas that the reference does not know
    rejects: Mapping[str, int]  # reason -> count; together with the ranked ones they add up to `generated`
    candidates: tuple[RankedCandidate, ...]  # one per distinct formula
    selected: tuple[str, ...]  # reduced formulas, in the order in which the oracle will be asked
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> wall-clock seconds


@dataclass(frozen=True)
class LearningReport:
    """What learning did in a round."""

    surrogate_version: str
    generator_version: str
    metrics: Mapping[str, float]  # e.g. mae_before, mae_after, coverage_90, guard_charge_neutral_before, ...
    rolled_back: bool = False  # the decay guard turned the generator's update down


@dataclass(frozen=True)
class RoundRecord:
    """A finished round."""

    round: int
    generated: int
    valid: int
    novel: int
    selected: tuple[str, ...]
    validated: int
    failed: int
    stable: int  # validated and within the tolerance
    rejects: Mapping[str, int]
    failures: Mapping[str, int]  # reason -> count
    learning: LearningReport
    seconds: Mapping[str, float]  # stage -> wall-clock seconds; the only fields that differ between equal runs
