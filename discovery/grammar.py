"""Which tokens may follow a prefix: the user's limits, and (constrained) charge neutrality and the Pauling test.

A grammar is a small automaton: a hashable state, the scores of the tokens in it, and the state after a token. Sampling
adds the scores to the model's logits, so that nothing has to be filtered afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from discovery.constraints import Constraints
from discovery.errors import ConstraintError
from discovery.vocabulary import ELEMENTS, END, FIRST_ELEMENT, SIZE, element_id

# Shape (SIZE,): minus infinity for forbidden tokens, 0 for allowed ones, BONUS for an element that is still required
Scores = NDArray[np.float64]
BONUS = math.log(25.0)  # one over the typical chance that a given element occurs in a compound (3.5 of 93 do)
State = TypeVar("State")


class Grammar(Protocol[State]):
    """An automaton over tokens. Every state that it hands out can still end in an allowed sequence."""

    @property
    def selective(self) -> bool:
        """False where only the size is limited: then sequences are drawn independently, whatever their weight."""

    def start(self) -> State:
        """The state before the first element."""

    def scores(self, state: State) -> Scores:
        """Scores of the tokens that may follow; one at least is allowed. The array is shared: do not write to it."""

    def advance(self, state: State, token: int) -> State:
        """The state after an allowed token that is not ``<end>``."""


def scores_of(allowed: NDArray[np.bool_], missing: Sequence[int]) -> Scores:
    """Scores of the allowed tokens, with the bonus for the missing required ones among them."""
    scores = np.where(allowed, 0.0, -np.inf)
    scores[list(missing)] += BONUS
    return scores


def check_pool(constraints: Constraints) -> None:
    """Raise ConstraintError where fewer than two elements may occur."""
    if len(pool := sorted(constraints.element_pool())) < 2:
        raise ConstraintError(f"only {pool[0]} may occur, but a compound has two elements: allow another one")


@dataclass(frozen=True)
class FreeState:
    """What the size and element limits need to know of a prefix."""

    present: frozenset[int] = frozenset()  # token ids of the elements so far
    atoms: int = 0
    last: int = 0


class FreeGrammar:
    """The user's element and size limits, and nothing else: elements may come in any order, specials may occur.

    Where elements are required, the sequence is held to ascending order, since an element that was passed over could
    only be written where the model never saw one.
    """

    def __init__(self, constraints: Constraints, context_atoms: int) -> None:
        self._atoms = min(constraints.max_atoms, context_atoms)
        self._elements = constraints.max_elements
        self._required = frozenset(element_id(symbol) for symbol in constraints.required)
        pool = constraints.element_pool()
        self._pool = np.zeros(SIZE, dtype=bool)
        self._pool[[element_id(symbol) for symbol in pool]] = True
        self._specials = len(pool) == len(ELEMENTS) and not self._required
        self._memory: dict[tuple[object, ...], Scores] = {}
        check_pool(constraints)
        if len(self._required) > self._atoms:
            raise ConstraintError(f"{len(self._required)} elements do not fit into {self._atoms} atoms: require fewer")

    @property
    def selective(self) -> bool:
        """True where elements are demanded or forbidden."""
        return not self._specials

    def start(self) -> FreeState:
        """Nothing written yet."""
        return FreeState()

    def advance(self, state: FreeState, token: int) -> FreeState:
        """One atom more; a special is counted as an atom, so that the sequence stays finite."""
        present = state.present if token < FIRST_ELEMENT or token in state.present else state.present | {token}
        return FreeState(present, state.atoms + 1, token)

    def scores(self, state: FreeState) -> Scores:
        """Tokens within the limits."""
        full = state.atoms >= self._atoms
        crowded = len(state.present) >= self._elements
        if not self._required and not crowded:
            return self._memo(("plain", full, state.atoms == 0), state)
        return self._memo((state.present, self._atoms - state.atoms, state.last), state)

    def _memo(self, key: tuple[object, ...], state: FreeState) -> Scores:
        if key not in self._memory:
            self._memory[key] = scores_of(self._allowed(state), sorted(self._required - state.present))
        return self._memory[key]

    def _allowed(self, state: FreeState) -> NDArray[np.bool_]:
        missing = self._required - state.present
        room = self._atoms - state.atoms - len(missing)
        mask = np.zeros(SIZE, dtype=bool)
        mask[END] = not missing and (state.atoms > 0 or self._specials)
        if state.atoms >= self._atoms:
            return mask
        new = self._pool.copy()
        if len(state.present) + len(missing) >= self._elements or room < 1:
            new[:] = False
            new[list(missing)] = True
        old = list(state.present) if room >= 1 else []
        new[list(state.present)] = False
        new[old] = True
        if self._specials:
            new[:FIRST_ELEMENT] = [token != END for token in range(FIRST_ELEMENT)]
        if self._required:
            new[: state.last] = False
            new[min(missing, default=SIZE) + 1 :] = False
        return mask | new


@dataclass(frozen=True)
class TiltedState(Generic[State]):
    """A state of another grammar, and the elements that its prefix holds."""

    inner: State
    present: frozenset[int] = frozenset()  # token ids


class TiltedGrammar(Generic[State]):
    """Another grammar's language, with a weight for every element that a composition holds.

    Where p is the model's distribution, sequences are drawn from one in proportion to p(x) times the product of the
    weights of the distinct elements of x: each weight is given once, with the first atom of its element. `decoding`
    draws rows again where the rest of the mass differs much between them, as for any selective grammar.
    """

    def __init__(self, inner: Grammar[State], log_weights: Sequence[float]) -> None:
        self._inner = inner
        self._bonus = np.zeros(SIZE)
        self._bonus[FIRST_ELEMENT:] = log_weights

    @property
    def selective(self) -> bool:
        """True: the mass of a prefix depends on what may follow it."""
        return True

    def start(self) -> TiltedState[State]:
        """Nothing written yet."""
        return TiltedState(self._inner.start())

    def advance(self, state: TiltedState[State], token: int) -> TiltedState[State]:
        """One atom more."""
        return TiltedState(self._inner.advance(state.inner, token), state.present | {token})

    def scores(self, state: TiltedState[State]) -> Scores:
        """Those of the other grammar, and the weights of the elements that are not there yet."""
        bonus = self._bonus.copy()
        bonus[list(state.present)] = 0.0
        return self._inner.scores(state.inner) + bonus
