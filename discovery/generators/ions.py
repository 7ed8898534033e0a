"""Ions of known compounds, and at what rates others take their places.

Oxidation states by their shares in ICSD; rates by the data-mined probabilities of Hautier et al., Inorg. Chem. 50, 656
(2011), which ship with pymatgen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.structure_prediction.substitution_probability import SubstitutionProbability
from smact.utils.oxidation import ICSD24OxStatesFilter

from discovery.composition import amounts, electronegativity_order, pauling_electronegativity
from discovery.validity import oxidation_states
from discovery.vocabulary import ELEMENTS

Ion = tuple[str, int]  # symbol, charge
Weights = NDArray[np.float64]
INDEX = {symbol: position for position, symbol in enumerate(ELEMENTS)}


@lru_cache(maxsize=1024)
def rates(ion: Ion) -> Weights:
    """exp(lambda(s, t)) / exp(lambda(s, s)) of all ions t of the same charge, by element; zeros for an unknown ion.

    Only states of SMACT's default count, so that the result is neutral by the rules that it is judged by.
    """
    table, found = _substitutions(), np.zeros(len(ELEMENTS))
    known = {(species.symbol, species.oxi_state): species for species in table.species}
    source, states = known.get(ion), oxidation_states()
    if source is None:
        return found
    for (symbol, charge), target in known.items():
        if charge == ion[1] and symbol != ion[0] and charge in states.get(symbol, ()):
            found[INDEX[symbol]] = math.exp(table.get_lambda(source, target) - table.get_lambda(source, source))
    return found


@cache
def _substitutions() -> SubstitutionProbability:
    return SubstitutionProbability()  # about 2 s


@lru_cache(maxsize=262144)
def assigned_ions(formula: str) -> tuple[Ion, ...] | None:
    """The likeliest balanced oxidation states by their shares in ICSD, one per element, most electropositive first.

    None where no choice is balanced: intermetallics, mixed valence, elements without states.
    """
    counts, common = amounts(formula), _frequencies()
    symbols = electronegativity_order(counts)
    best, best_weight = None, -math.inf
    for cations in range(1, len(symbols)):
        if not _separated(symbols[cations - 1], symbols[cations]):
            continue
        choices = [_signed(symbol, 1 if place < cations else -1) for place, symbol in enumerate(symbols)]
        for charges in product(*choices):
            ions = tuple(zip(symbols, charges, strict=True))
            if sum(charge * counts[symbol] for symbol, charge in ions) == 0:
                weight = sum(common[ion] for ion in ions)
                best, best_weight = (ions, weight) if weight > best_weight else (best, best_weight)
    return best


def _separated(cation: str, anion: str) -> bool:
    low, high = pauling_electronegativity(cation), pauling_electronegativity(anion)
    return low is not None and high is not None and low < high


@cache
def _signed(symbol: str, sign: int) -> tuple[int, ...]:
    return tuple(state for state in oxidation_states().get(symbol, ()) if state * sign > 0)


@cache
def _frequencies() -> Mapping[Ion, float]:
    """Logarithm of the number of times that ICSD reports an ion."""
    table = ICSD24OxStatesFilter().ox_states_df
    rows = zip(table["element"], table["oxidation_state"], table["results_count"], strict=True)
    return {(str(symbol), int(state)): math.log(count) for symbol, state, count in rows if count > 0}
