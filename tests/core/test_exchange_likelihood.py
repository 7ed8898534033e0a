from collections import Counter
from functools import cache
from itertools import combinations_with_replacement, product

import numpy as np
import pytest

from discovery.composition import amounts, canonical_key, reduced_formula
from discovery.constraints import Constraints
from discovery.generators.base import SamplingOptions
from discovery.generators.exchange_likelihood import ExchangeLikelihood, exchange_likelihood
from discovery.generators.ion_exchange import IonExchange
from discovery.vocabulary import ELEMENTS

PARENTS = ("NaCl", "K2O", "SrTiO3", "LiFePO4", "NaKS", "NiTi", "Fe3O4")  # the last two have no exchange


@cache
def all_written(parents):
    """Every formula that an exchange of one or two elements could give, balanced or not."""
    written = set()
    for parent in parents:
        counts = amounts(parent)
        for old in combinations_with_replacement(counts, 2):
            for new in product(ELEMENTS, repeat=2):
                renamed = dict(zip(old, new, strict=True))
                if not set(new) & counts.keys() and len(set(renamed.values())) == len(renamed):
                    changed = {renamed.get(symbol, symbol): number for symbol, number in counts.items()}
                    written.add(reduced_formula(canonical_key(changed)))
    return sorted(written)


def test_probabilities_of_all_that_can_be_written_sum_to_one():
    likelihood = exchange_likelihood(PARENTS)
    assert likelihood.parents == 5
    assert np.exp(likelihood.log_probability(all_written(PARENTS))).sum() == pytest.approx(1.0, abs=1e-9)


def test_they_are_the_frequencies_of_many_draws():
    """Every formula that is expected 20 times or more, within five standard deviations of its count."""
    n = 20_000
    samples = IonExchange(PARENTS).sample(n, np.random.default_rng(0), SamplingOptions(constraints=Constraints()))
    drawn = Counter(reduced_formula(sample.formula) for sample in samples)
    formulas = all_written(PARENTS)
    expected = n * np.exp(exchange_likelihood(PARENTS).log_probability(formulas))
    counted = np.array([drawn[formula] for formula in formulas])
    often = expected >= 20
    assert often.sum() > 50
    assert counted.sum() == n
    assert (np.abs(counted - expected)[often] < 5 * np.sqrt(expected[often])).all()


def test_a_parent_is_not_written_by_itself_and_another_stoichiometry_not_at_all():
    log_p = exchange_likelihood(("NaCl", "K2O")).log_probability(["NaCl", "KCl", "NaCl2", "Na3N", "Li2S"])
    assert np.isneginf(log_p[[0, 2, 3]]).all()
    assert np.isfinite(log_p[[1, 4]]).all()


def test_a_parent_more_adds_its_share():
    """p is a mean over parents: KBr from NaCl, from NaBr, and from both."""
    chances = [np.exp(exchange_likelihood(own).log_probability(["KBr"])[0]) for own in
               (("NaCl",), ("NaBr",), ("NaBr", "NaCl"))]  # fmt: skip
    assert chances[2] == pytest.approx((chances[0] + chances[1]) / 2)
    assert chances[1] > chances[0]  # one exchange is likelier than two


def test_without_parents_nothing_is_written():
    assert np.isneginf(ExchangeLikelihood({}, 0).log_probability(["NaCl"])).all()
