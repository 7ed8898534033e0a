"""Competing phases that a list of known compounds implies: the charge-neutral binaries of its elements.

A hull without ScF3 makes every scandium fluoride look stable by an eV/atom or more, and such candidates come first in
every ranking by the hull. The oxidation states tell which binaries to expect; a surrogate tells their energies. The
builtin reference asks for them always (`reference.builtin`): its list of known compositions has gaps. A reference that
is complete should not: a binary that it lacks is most likely one that does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from discovery.composition import electronegativity_order, pauling_electronegativity, reduced_formula
from discovery.reference.base import KnownFormulas
from discovery.validity import oxidation_states

MAX_ATOMS = 12  # per formula unit of an implied binary


class WithBinaries:
    """A set of known compositions, with every charge-neutral binary among the phases of a chemical system."""

    def __init__(self, known: KnownFormulas) -> None:
        self._known = known

    def __contains__(self, formula: object) -> bool:
        return formula in self._known

    def __len__(self) -> int:
        return len(self._known)

    def in_system(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Known reduced formulas whose elements lie in `symbols`, then implied binaries."""
        known = self._known.in_system(symbols)
        implied = (binary for pair in combinations(sorted(set(symbols)), 2) for binary in binaries(pair))
        return tuple(dict.fromkeys((*known, *implied)))


@lru_cache(maxsize=8192)
def binaries(pair: tuple[str, str]) -> tuple[str, ...]:
    """Reduced formulas of two elements that are charge neutral with the less electronegative one as cation."""
    cation, anion = electronegativity_order(pair)
    lower, higher = pauling_electronegativity(cation), pauling_electronegativity(anion)
    if lower is None or higher is None or lower == higher:
        return ()
    states = oxidation_states()
    found: dict[str, None] = {}
    for positive in (state for state in states.get(cation, ()) if state > 0):
        for negative in (-state for state in states.get(anion, ()) if state < 0):
            divisor = math.gcd(positive, negative)
            counts = negative // divisor, positive // divisor
            if sum(counts) <= MAX_ATOMS:
                found[reduced_formula(f"{cation}{counts[0]}{anion}{counts[1]}")] = None
    return tuple(sorted(found))
