"""Whose likelihood a campaign ranks by."""

import dataclasses

import numpy as np
import pytest

from discovery.campaign import Campaign
from discovery.config import CampaignConfig
from discovery.errors import ConfigError
from discovery.existence import log_prior
from discovery.generators.exchange_likelihood import exchange_likelihood
from discovery.workers import LocalWorkers
from tests.core.test_rounds import CONFIG, finished, models, parts  # noqa: F401 - a fixture
from tests.small import FormulaOracle

FORMULAS = ["NaCl", "KCl", "LiF", "NaH", "Na3Cl8"]  # nothing becomes the last one


def priors(folder, models, kind):  # noqa: F811
    campaign = Campaign.start(folder / kind, dataclasses.replace(CONFIG, prior=kind), parts(models))
    workers = LocalWorkers(FormulaOracle())
    workers.load(campaign.models)
    return campaign, workers, log_prior(campaign, workers, FORMULAS)


def test_both_is_the_mean_of_the_probabilities_of_generator_and_ion_exchange(tmp_path, models):  # noqa: F811
    campaign, workers, both = priors(tmp_path, models, "both")
    parents = sorted({phase.formula for phase in campaign.reference.phases})
    written, exchanged = (
        workers.log_probability(FORMULAS),
        exchange_likelihood(tuple(parents)).log_probability(FORMULAS),
    )
    assert np.exp(both) == pytest.approx((np.exp(written) + np.exp(exchanged)) / 2)
    assert priors(tmp_path, models, "generator")[2] == pytest.approx(written)
    alone = priors(tmp_path, models, "ion-exchange")[2]
    assert np.isnan(alone[-1])
    assert np.isfinite(alone[:-1]).any()
    assert np.exp(alone[np.isfinite(alone)]) == pytest.approx(np.exp(exchanged[np.isfinite(alone)]))


def test_a_campaign_ranks_by_it(tmp_path, models):  # noqa: F811
    """The first round of both: the same candidates, and at least half of what the generator says of each stays."""
    once = dataclasses.replace(CONFIG, rounds=1, acquisition="judged")
    plain, mixed = (
        {row.formula: row.log_probability for row in rows if row.log_probability is not None}
        for rows in (
            finished(tmp_path / kind, models, dataclasses.replace(once, prior=kind)).ledger.candidates()
            for kind in ("generator", "both")
        )
    )
    assert plain.keys() == mixed.keys()
    assert mixed != plain
    assert all(mixed[formula] >= plain[formula] - np.log(2) - 1e-9 for formula in plain)


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="--prior 'ions' is unknown: choose from generator, ion-exchange, both"):
        CampaignConfig(prior="ions")
