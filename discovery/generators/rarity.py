"""Frequency-corrected sampling: elements that a language model saw seldom, it writes seldom; this evens it out.

A composition x is drawn in proportion to p(x) times the product over its elements of m(e)^-strength, where m(e) is the
share of the model's own compositions that hold e. At strength 0 that is the model, at 1 an element's share no longer
counts, but for what it goes together with. It is the correction of class priors (as the logit adjustment of Menon et
al., ICLR 2021, and with the exponent of the smoothed word frequencies of Mikolov et al. 2013), applied to elements;
what the model knows of which elements and amounts fit together stays untouched, and so does the charge grammar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.errors import ConfigError
from discovery.generators.base import Generator, SamplingOptions
from discovery.vocabulary import ELEMENTS

PILOT = 4096  # samples from which the model's own shares are read: 1 % of them is known to a tenth of itself


def element_shares(formulas: Iterable[str]) -> NDArray[np.float64]:
    """Share of compositions that hold each element of `vocabulary.ELEMENTS`, shape (elements,); each may be counted."""
    counts: Counter[str] = Counter()
    number = 0
    for formula in formulas:
        counts.update(amounts(formula).keys())
        number += 1
    return np.array([counts[symbol] for symbol in ELEMENTS]) / max(1, number)


def element_scores(shares: NDArray[np.float64], strength: float, floor: float) -> tuple[float, ...]:
    """Log-weights -strength * ln m(e), shifted so that their mean over all written elements is zero.

    The shift leaves the number of elements of a composition where it was.

    Args:
        shares: m(e), shape (elements,).
        strength: 0 to 1.
        floor: smallest share that is told from zero; an element below it gets no larger weight.
    """
    logs = np.log(np.maximum(shares, floor))
    mean = float(logs @ shares / shares.sum()) if shares.sum() else 0.0
    return tuple((-strength * (logs - mean)).tolist())


def corrected(
    generator: Generator, strength: float, rng: np.random.Generator, options: SamplingOptions
) -> SamplingOptions:
    """The options with the weights that even out what this model writes under them.

    Raises:
        ConfigError: the strength is not between 0 and 1.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"the strength of frequency correction is between 0 and 1, not {strength}")
    if strength == 0:
        return replace(options, element_scores=())
    pilot = generator.sample(PILOT, rng, replace(options, element_scores=()))
    formulas = [formula for sample in pilot if (formula := sample.formula) is not None]
    return replace(options, element_scores=element_scores(element_shares(formulas), strength, 1 / PILOT))
