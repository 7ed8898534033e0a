"""The constrained grammar: only balanced compositions (or, where asked for, metals only) within the user's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element
from smact.screening import MIXED_VALENCE_ELEMENTS

from discovery.charge_tables import build_tables, modes_of, tied
from discovery.composition import electronegativity_order, pauling_electronegativity
from discovery.constraints import Constraints
from discovery.errors import ConstraintError
from discovery.grammar import Scores, scores_of
from discovery.validity import Rules, is_balanced, oxidation_states
from discovery.vocabulary import END, SIZE, element_id

MEMO_SIZE = 50_000  # scores kept; 0.9 kB each


@dataclass(frozen=True)
class ChargeState:
    """What a prefix leaves open."""

    position: int  # of the current element among the usable ones; -1 before the first
    charges: tuple[int, ...]  # per mode of the current element: reachable net charges (bit q = charge q)
    atoms: int  # that may still be written
    elements: int  # new ones that may still come
    metals: bool  # only metals so far, and such compositions are admitted
    counts: tuple[tuple[int, int], ...] = ()  # (position, atoms) so far; kept only for mixed valence, see `_closes`


class ChargeGrammar:
    """Charge neutrality and the Pauling test, followed token by token.

    Raises:
        ConstraintError: nothing can be written; the message says why.
    """

    def __init__(self, constraints: Constraints, context_atoms: int) -> None:
        self._constraints = constraints
        self._symbols = _usable(constraints)
        self._rules = Rules(mixed_valence=constraints.mixed_valence)
        states = oxidation_states()
        self._modes = [
            modes_of(
                states.get(symbol, ()) if pauling_electronegativity(symbol) is not None else (),
                constraints.mixed_valence and symbol in MIXED_VALENCE_ELEMENTS,
            )
            for symbol in self._symbols
        ]
        self._limits = (constraints.max_elements, min(constraints.max_atoms, context_atoms))
        self._tables = build_tables(self._symbols, self._modes, constraints.required, self._limits)
        self._tokens = [element_id(symbol) for symbol in self._symbols]
        self._position_of = {token: position for position, token in enumerate(self._tokens)}
        self._required = [p for p, symbol in enumerate(self._symbols) if symbol in constraints.required]
        self._metallic = [bool(Element(symbol).is_metal) for symbol in self._symbols]
        self._memory: dict[ChargeState, Scores] = {}
        self._alive_memo: dict[ChargeState, bool] = {}
        if np.isneginf(self.scores(self.start())).all():
            raise ConstraintError(_why_impossible(constraints, self._limits[1]))

    @property
    def selective(self) -> bool:
        """True: most sequences are forbidden."""
        return True

    def start(self) -> ChargeState:
        """Nothing written yet."""
        return ChargeState(-1, (), self._limits[1], self._limits[0], self._constraints.intermetallics)

    def scores(self, state: ChargeState) -> Scores:
        """Scores of the tokens from which a valid composition can be completed."""
        scores = self._memory.get(state)
        if scores is None:
            if len(self._memory) >= MEMO_SIZE:
                self._memory.clear()
            missing = [self._tokens[position] for position in self._required if position > state.position]
            scores = self._memory[state] = scores_of(self._allowed(state), missing)
        return scores

    def advance(self, state: ChargeState, token: int) -> ChargeState:
        """One atom more."""
        position = self._position_of[token]
        modes = self._modes[position]
        mixed = self._rules.mixed_valence
        if position == state.position:
            charges = tuple(mode.apply(bits) for mode, bits in zip(modes, state.charges, strict=True))
            counts = (*state.counts[:-1], (position, state.counts[-1][1] + 1)) if mixed else ()
            return replace(state, charges=charges, atoms=state.atoms - 1, counts=counts)
        cations, anions = self._summed(state)
        before_anion = anions if self._is_tied(state, position) else anions | cations
        charges = tuple(mode.apply(cations if mode.cation else before_anion) for mode in modes)
        metals = state.metals and self._metallic[position]
        counts = (*state.counts, (position, 1)) if mixed else ()
        return ChargeState(position, charges, state.atoms - 1, state.elements - 1, metals, counts)

    def _allowed(self, state: ChargeState) -> NDArray[np.bool_]:
        mask = np.zeros(SIZE, dtype=bool)
        mask[END] = self._closes(state)
        tokens = self._candidates(state)
        if self._rules.mixed_valence:
            tokens = [token for token in tokens if self._alive(self.advance(state, token))]
        mask[tokens] = True
        return mask

    def _candidates(self, state: ChargeState) -> list[int]:
        """Element tokens that the tables let through."""
        if state.atoms < 1:
            return []
        cations, anions = self._summed(state)
        elements, atoms = state.elements, state.atoms
        found = []
        if state.position >= 0 and self._can_grow(state):
            found.append(self._tokens[state.position])
        if elements < 1:
            return found
        for position in range(state.position + 1, self._first_required(state.position) + 1):
            table = self._tables[position]
            entry = table.start_after_tied_cation if self._is_tied(state, position) else table.start_after_cation
            charged = cations & entry[elements][atoms] or anions & table.start_after_anion[elements][atoms]
            if charged or self._metals_can_close(state, position):
                found.append(self._tokens[position])
        return found

    def _can_grow(self, state: ChargeState) -> bool:
        grow = self._tables[state.position].grow
        charged = any(
            bits & grid[state.elements + 1][state.atoms] for bits, grid in zip(state.charges, grow, strict=True)
        )
        return charged or self._metals_can_close(state, state.position)

    def _closes(self, state: ChargeState) -> bool:
        """May ``<end>`` follow?"""
        if self._required and state.position < self._required[-1]:
            return False
        if state.metals and self._limits[0] - state.elements >= 2:
            return True
        if not self._summed(state)[1] & 1:
            return False
        # Mixed valence can balance A2B2 where AB fails; SMACT judges the reduced formula, so that counts
        divisor = _divisor(state.counts)
        reduced = {self._symbols[position]: count // divisor for position, count in state.counts if divisor > 1}
        return divisor <= 1 or is_balanced(reduced, self._rules)

    def _alive(self, state: ChargeState) -> bool:
        """Can a state of mixed valence that the tables let through really end? See `_closes`."""
        if state.metals and self._metals_suffice(state):
            return True
        if len(state.counts) > 1 and _divisor(state.counts[:-1]) == 1:
            return True  # whatever follows cannot be reduced
        if state not in self._alive_memo:
            if len(self._alive_memo) >= MEMO_SIZE:
                self._alive_memo.clear()
            self._alive_memo[state] = self._search(state)
        return self._alive_memo[state]

    def _search(self, state: ChargeState) -> bool:
        if self._closes(state):
            return True
        candidates = self._candidates(state)
        new_element = any(token != self._tokens[state.position] for token in candidates)
        if new_element and _divisor(state.counts) == 1:
            return True
        return any(self._alive(self.advance(state, token)) for token in candidates)

    def _metals_can_close(self, state: ChargeState, position: int) -> bool:
        """Can metals alone complete the composition after one more atom of the element at `position`?"""
        if not state.metals or not self._metallic[position]:
            return False
        new = position != state.position
        return self._metals_suffice(
            replace(state, position=position, atoms=state.atoms - 1, elements=state.elements - new)
        )

    def _metals_suffice(self, state: ChargeState) -> bool:
        required = [p for p in self._required if p > state.position]
        needed = max(len(required), 2 - (self._limits[0] - state.elements))
        available = sum(self._metallic[state.position + 1 :])
        fits = needed <= min(available, state.atoms, state.elements)
        return fits and all(self._metallic[p] for p in required)

    def _summed(self, state: ChargeState) -> tuple[int, int]:
        """Net charges of the prefix: those with cations only, and those with an anion among them."""
        if state.position < 0:
            return 1, 0  # charge zero
        cations = anions = 0
        for mode, bits in zip(self._modes[state.position], state.charges, strict=True):
            if mode.cation:
                cations |= bits
            else:
                anions |= bits
        return cations, anions

    def _is_tied(self, state: ChargeState, position: int) -> bool:
        return state.position >= 0 and tied(self._symbols[state.position], self._symbols[position])

    def _first_required(self, position: int) -> int:
        return next((p for p in self._required if p > position), len(self._symbols) - 1)


@lru_cache(maxsize=64)  # a masked model uses one for each length
def charge_grammar(constraints: Constraints, context_atoms: int) -> ChargeGrammar:
    """A `ChargeGrammar`, kept with its scores for the next call with the same constraints."""
    return ChargeGrammar(constraints, context_atoms)


def _divisor(counts: tuple[tuple[int, int], ...]) -> int:
    return math.gcd(*(count for _, count in counts))


def never_balanced(symbol: str) -> bool:
    """True for elements without states or electronegativity in SMACT: He, Ne, Ar, At, Rn, Fr, Pm, Fm to Lr."""
    return symbol not in oxidation_states() or pauling_electronegativity(symbol) is None


def _usable(constraints: Constraints) -> list[str]:
    """Elements that a sequence may hold, in order; names those that were asked for and can never pass."""

    def barred(symbol: str) -> bool:
        return never_balanced(symbol) and not (constraints.intermetallics and Element(symbol).is_metal)

    asked_for = constraints.required | (constraints.allowed or frozenset())
    if hopeless := sorted(filter(barred, asked_for)):
        raise ConstraintError(
            f"{', '.join(hopeless)} cannot be charge neutral and balanced: SMACT knows no oxidation state or "
            "electronegativity; leave them out, or sample without --constrained"
        )
    return electronegativity_order(symbol for symbol in constraints.element_pool() if not barred(symbol))


def _why_impossible(constraints: Constraints, atoms: int) -> str:
    pool = sorted(constraints.element_pool())
    which = f"of {', '.join(pool)}" if len(pool) <= 12 else "of the allowed elements"
    if constraints.required:
        which += f" with {', '.join(sorted(constraints.required))}"
    advice = [] if constraints.mixed_valence else ["--mixed-valence"]
    advice += [] if constraints.intermetallics else ["--intermetallics"]
    options = f", try {' or '.join(advice)}," if advice else ""
    return (
        f"no charge-neutral, electronegativity-balanced combination {which} has at most {atoms} atoms and "
        f"{constraints.max_elements} elements: widen the constraints{options} or sample without --constrained"
    )
