"""The final result of a campaign as one JSON object: what ``--json`` prints and the ledger keeps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from discovery.campaign import Campaign
from discovery.events import STAGES
from discovery.looks import spent
from discovery.outcomes import Outcome, best_first, outcomes
from discovery.records import RoundRecord

BEST = 20  # validated candidates that are listed
DIGITS = 6  # of every number: far below what any energy here is worth


def summarize(campaign: Campaign, seconds: float, ended: str) -> dict[str, object]:
    """The counts, the best candidates and the oracle calls of the finished rounds.

    Args:
        campaign: in any state; a round that is not recorded yet counts only in `calls`.
        seconds: wall-clock time of the campaign so far.
        ended: why it ended, in a few words.

    Returns:
        JSON types only; energies in eV/atom, None where a number does not exist.
    """
    records = list(campaign.ledger.records().values())
    reference = campaign.reference
    return {
        "campaign": campaign.ledger.campaign,
        "run_dir": str(campaign.folder),
        "rounds": len(records),
        **_counts(records),
        "tolerance": plain_number(campaign.config.tolerance),
        "scheme": reference.scheme,
        "reference": f"{reference.name} {reference.version}".strip(),
        "reference_false_stable_rate": plain_number(reference.false_stable_rate(campaign.config.tolerance)),
        "seconds": plain_number(seconds),
        "seconds_by_stage": seconds_by_stage(records),
        "best": [_entry(outcome) for outcome in best_first(outcomes(campaign))[:BEST]],
        "calls": campaign.ledger.calls(),
        **({} if campaign.config.costs is None else {"costs": spent(campaign, campaign.config.costs)}),
        "ended": ended,
    }


def seconds_by_stage(records: Iterable[RoundRecord]) -> dict[str, float]:
    """Stage -> wall-clock seconds over all rounds, in the order of the stages; only stages that were timed."""
    total: Counter[str] = Counter()
    for record in records:
        total.update(record.seconds)
    return {stage: round(total[stage], DIGITS) for stage in STAGES if stage in total}


def plain_number(value: float | None) -> float | None:
    """Rounded, and None where there is no finite number (JSON knows neither NaN nor infinity)."""
    return None if value is None or not math.isfinite(value) else round(float(value), DIGITS)


def _counts(records: Iterable[RoundRecord]) -> dict[str, int]:
    rounds = list(records)
    names = ("generated", "valid", "novel", "validated", "failed", "stable")
    return {name: sum(int(getattr(record, name)) for record in rounds) for name in names}


def _entry(outcome: Outcome) -> dict[str, object]:
    estimate = outcome.estimate
    return {
        "formula": outcome.formula,
        "energy_above_hull": plain_number(outcome.energy_above_hull),
        "predicted_energy_above_hull": plain_number(outcome.predicted_energy_above_hull),
        "std": plain_number(estimate.std if estimate else None),
        "structure": outcome.structure,
    }
