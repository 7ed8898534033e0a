"""What a campaign's judge of stability learns from: compounds of the reference, and the campaign's own answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from discovery.campaign import Campaign
from discovery.composition import amounts
from discovery.existence import log_prior
from discovery.judging import Clues, Examples, FloatArray, fitted_weights, judge
from discovery.neighbours import Labelled, fractions_of, shifts
from discovery.records import Estimate, Measurement
from discovery.surrogates.dataset import split_of
from discovery.workers import Workers

MOST = 3000  # compounds of the reference: more make the judge slower, not better


def judged_odds(
    campaign: Campaign, workers: Workers, formulas: Sequence[str], candidates: Clues
) -> tuple[FloatArray, float]:
    """Log-odds of stability with the size's weight and the neighbours' word in them, and the log-likelihood's weight.

    Judge, weights and neighbours learn from the answers of finished rounds, the latter two from odds that have not seen
    them. Shape (n,) for the n candidate formulas, whose clues are `candidates`.
    """
    config = campaign.config
    known, (told, asked) = reference_examples(campaign, workers), answered_examples(campaign)
    nothing = Examples(candidates.rows(np.zeros(0, dtype=np.int64)), np.zeros(0, dtype=bool))
    odds = judge(known, asked, candidates, config.tolerance, config.seed)
    before = judge(known, nothing, asked.clues, config.tolerance, config.seed)
    weights = fitted_weights(before, asked, config.prior_weight)
    value = weights.odds * odds + weights.size * candidates.atoms
    believed = weights.value(before, asked.clues.log_prior, asked.clues.atoms) + weights.bias
    labelled = Labelled(fractions_of([amounts(formula) for formula in told]), believed, asked.stable)
    return value + shifts(labelled, fractions_of([amounts(formula) for formula in formulas])), weights.prior


def reference_examples(campaign: Campaign, workers: Workers) -> Examples:
    """Compounds of the reference that surrogates of this package are not trained on (`surrogates.dataset.split_of`)."""
    phases = [
        phase for phase in campaign.reference.phases if not phase.predicted and split_of(phase.formula) != "train"
    ]
    drawn = np.random.default_rng(campaign.config.seed).permutation(len(phases))[:MOST]
    chosen = [phases[i] for i in sorted(drawn.tolist())]
    formulas = [phase.formula for phase in chosen]
    energies = [phase.formation_energy_per_atom for phase in chosen]
    above_hull = campaign.reference_hull.energies_above_hull(formulas, energies)
    clues = clues_of(formulas, workers.predict(formulas), log_prior(campaign, workers, formulas))
    return Examples(clues, above_hull <= campaign.config.tolerance)


def answered_examples(campaign: Campaign) -> tuple[tuple[str, ...], Examples]:
    """Formulas and answers of finished rounds, with the clues as they were before; a failed call: not stable."""
    answers = {f: a for f, (number, a) in campaign.ledger.answers().items() if number <= campaign.finished_rounds}
    rows = [row for row in campaign.ledger.candidates() if row.formula in answers and row.estimate is not None]
    found = [Estimate(**{**row.estimate, "competing_phases": tuple(row.estimate["competing_phases"])}) for row in rows]
    prior = np.array([np.nan if row.log_probability is None else row.log_probability for row in rows], dtype=np.float64)
    stable = [_is_stable(answers[row.formula], campaign.config.tolerance) for row in rows]
    formulas = tuple(row.formula for row in rows)
    return formulas, Examples(clues_of(formulas, found, prior), np.array(stable, dtype=bool))


def clues_of(formulas: Sequence[str], found: Sequence[Estimate], log_prior: FloatArray) -> Clues:
    """Clues of compositions whose energy above hull was estimated."""
    counted = [amounts(formula) for formula in formulas]
    return Clues(
        np.array([estimate.energy_above_hull for estimate in found], dtype=np.float64),
        np.array([estimate.std for estimate in found], dtype=np.float64),
        np.array([estimate.formation_energy_per_atom for estimate in found], dtype=np.float64),
        np.asarray(log_prior, dtype=np.float64),
        np.array([sum(counts.values()) for counts in counted], dtype=np.float64),
        np.array([len(counts) for counts in counted], dtype=np.float64),
    )


def _is_stable(answer: object, tolerance: float) -> bool:
    energy = answer.energy_above_hull if isinstance(answer, Measurement) else None
    return energy is not None and energy <= tolerance
