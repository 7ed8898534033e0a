"""How likely a composition exists, for a campaign: by its generator, by ion exchange in known compounds, or by both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from discovery.campaign import Campaign
from discovery.config import BOTH, GENERATOR
from discovery.generators.exchange_likelihood import exchange_likelihood, mixed
from discovery.workers import Workers


def log_prior(campaign: Campaign, workers: Workers, formulas: Sequence[str]) -> NDArray[np.float64]:
    """Natural log-probabilities by the sources that `prior` names, shape (n,); NaN where there is none.

    The parents of ion exchange are the reference's phases with an energy that nobody predicted: no answer joins them.
    """
    kind = campaign.config.prior
    if kind == GENERATOR:
        return workers.log_probability(formulas)
    parents = sorted({phase.formula for phase in campaign.reference.phases if not phase.predicted})
    exchanged = exchange_likelihood(tuple(parents)).log_probability(formulas)
    if kind == BOTH:
        return mixed(workers.log_probability(formulas), exchanged)
    return np.where(np.isneginf(exchanged), np.nan, exchanged)
