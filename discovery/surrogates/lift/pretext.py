"""The first of two stages of fine-tuning (Dinh et al. 2022, section 5.3): made-up regression in the same language.

Each pretext task is a linear function of the atomic fractions with random coefficients. Learning it, a model learns to
read a composition and to answer with digits, before it sees the first real label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from discovery.composition import SYMBOLS, amounts
from discovery.surrogates.lift.base import Example
from discovery.surrogates.lift.digits import PRETEXT

NAMES = tuple(f"pretext-{number}" for number in range(PRETEXT))
SIZES, SHARES = (2, 3, 4, 5), (0.2, 0.5, 0.25, 0.05)  # elements in a made-up formula, and how often
LARGEST = 6  # atoms of one element


def pretext_examples(elements: Sequence[str], n: int, rng: np.random.Generator) -> list[Example]:
    """Made-up compositions of `elements` with values of made-up tasks: mean 0, standard deviation about 1 eV/atom."""
    coefficients = 1.5 * rng.standard_normal((len(NAMES), len(SYMBOLS)))
    made = []
    for formula in made_formulas(elements, n, rng):
        task = int(rng.integers(len(NAMES)))
        counts = amounts(formula)
        value = sum(count * coefficients[task, SYMBOLS.index(symbol)] for symbol, count in counts.items())
        made.append(Example(formula, NAMES[task], float(value / sum(counts.values()))))
    return made


def made_formulas(elements: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """Formulas of two to five of the elements (all of them where there are fewer), with small amounts."""
    known = sorted(elements)
    sizes = np.minimum(rng.choice(SIZES, n, p=SHARES), len(known))
    return [
        "".join(f"{known[index]}{rng.integers(1, LARGEST + 1)}" for index in rng.permutation(len(known))[:size])
        for size in sizes
    ]
