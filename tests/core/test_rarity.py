import numpy as np
import pytest
from scipy.stats import entropy

from discovery import decoding
from discovery.errors import ConfigError
from discovery.generators.base import SamplingOptions
from discovery.generators.causal import GPT2
from discovery.generators.rarity import corrected, element_scores, element_shares
from discovery.vocabulary import ELEMENTS, SIZE

pytestmark = pytest.mark.usefixtures("one_thread")


def share(shares, symbol):
    return shares[ELEMENTS.index(symbol)]


def test_shares_are_those_of_compounds_not_of_atoms():
    shares = element_shares(["Li2O", "Na2O2", "Al2O3", "NaCl"])
    assert (share(shares, "O"), share(shares, "Na"), share(shares, "He")) == (0.75, 0.5, 0.0)


def test_weights_are_inverse_powers_of_the_shares_and_average_to_one():
    shares = np.zeros(len(ELEMENTS))
    shares[[0, 1, 2]] = 0.64, 0.04, 1e-6
    scores = np.array(element_scores(shares, 0.5, floor=0.01))
    weights = np.exp(scores)
    assert weights[1] / weights[0] == pytest.approx(4.0)  # (0.64 / 0.04) ** 0.5
    assert weights[2] / weights[0] == pytest.approx(8.0), "no share counts for less than the floor"
    assert shares @ scores == pytest.approx(0.0)
    assert not np.any(element_scores(shares, 0.0, floor=0.01))


class Preferring:
    """A language model that always prefers the same elements, the last of the vocabulary a thousandfold."""

    max_atoms = 30
    begin = keep = lambda self, *rows: None

    def step(self, tokens):
        return np.tile(np.linspace(-7, 0, SIZE, dtype=np.float32), (len(tokens), 1))

    def sample(self, n, rng, options):
        return decoding.sample(self, n, rng, options)


def test_correction_makes_seldom_elements_more_frequent():
    options = SamplingOptions(constrained=True)
    evened = corrected(Preferring(), 0.5, np.random.default_rng(0), options)
    spread = []
    for chosen in (options, evened):
        samples = Preferring().sample(1000, np.random.default_rng(1), chosen)
        shares = element_shares(s.formula for s in samples if s.formula is not None)
        spread.append(entropy(shares))
    assert spread[1] > spread[0] + 0.1


def test_strength_is_checked_and_nought_changes_nothing():
    generator, rng = GPT2.of_size(1, 16, 2), np.random.default_rng(0)
    assert corrected(generator, 0.0, rng, SamplingOptions()) == SamplingOptions()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        corrected(generator, 1.5, rng, SamplingOptions())
