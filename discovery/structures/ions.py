"""Oxidation states and radii: which atom goes on which site, and how large the cell is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from pymatgen.core import Composition, Element

TYPICAL_RADIUS = 1.5  # A, for the few elements without any tabulated one
IONIC_ELECTRONEGATIVITY = 2.5  # from sulphur upwards (Pauling): such elements take electrons


@lru_cache(maxsize=8192)
def charges(formula: str) -> Mapping[str, float] | None:
    """Most likely oxidation state of each element (a mean where its atoms differ), by pymatgen's ICSD statistics.

    None where no choice is neutral: intermetallics, and compounds that charge counting does not describe.
    """
    composition = Composition(formula)
    guesses = composition.oxi_state_guesses(max_sites=-1)
    if not guesses and max(element.X for element in composition) > IONIC_ELECTRONEGATIVITY:
        guesses = composition.oxi_state_guesses(max_sites=-1, all_oxi_states=True)  # rare states: KClO4
    if not guesses or not any(guesses[0].values()):
        return None
    return {str(symbol): float(charge) for symbol, charge in guesses[0].items()}


@cache
def radius(symbol: str, charge: float | None) -> float:
    """Radius in A: ionic (Shannon) for the nearest tabulated charge of the same sign, else atomic."""
    element = Element(symbol)
    same_sign = {c: r for c, r in element.ionic_radii.items() if charge and c * charge > 0}
    if charge and same_sign:
        nearest = min(same_sign, key=lambda c: (abs(c - charge), c))
        return float(same_sign[nearest])
    atomic = element.atomic_radius or element.atomic_radius_calculated
    return float(atomic) if atomic else TYPICAL_RADIUS
