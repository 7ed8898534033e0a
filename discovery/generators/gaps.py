"""What may stand in a gap of a sequence whose other atoms are partly written, and how an element is drawn for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discovery.constraints import Constraints
from discovery.decoding import draw
from discovery.errors import ConfigError
from discovery.generators.base import SamplingOptions
from discovery.vocabulary import ELEMENTS, FIRST_ELEMENT, SIZE, START, element_id

WORDS = len(ELEMENTS)
DEAD = START  # written where no element may stand: a sequence with it is no composition, and is turned down


@dataclass(frozen=True)
class Limits:
    """The user's limits, as far as they can be kept atom by atom in any order of writing."""

    pool: NDArray[np.bool_]  # elements that may occur, shape (WORDS,)
    elements: int  # distinct ones
    atoms: int
    ordered: bool  # hold the sequence to ascending electronegativity

    @classmethod
    def of(cls, constraints: Constraints, context_atoms: int, *, ordered: bool) -> Limits:
        """Limits of a user's constraints; `ordered` as above."""
        pool = np.zeros(WORDS, dtype=bool)
        pool[[element_id(symbol) - FIRST_ELEMENT for symbol in constraints.element_pool()]] = True
        return cls(pool, constraints.max_elements, min(constraints.max_atoms, context_atoms), ordered)


def allowed(canvas: NDArray[np.int64], places: NDArray[np.int64], limits: Limits) -> NDArray[np.bool_]:
    """Elements that may be written at one place of each row, shape (rows, WORDS).

    Args:
        canvas: token ids, shape (rows, length); specials stand for gaps and ends.
        places: index of the gap, shape (rows,).
        limits: to be kept.
    """
    rows = np.arange(len(canvas))
    present = np.zeros((len(canvas), SIZE), dtype=bool)
    present[rows[:, None], canvas] = True
    present = present[:, FIRST_ELEMENT:]
    crowded = present.sum(axis=1) >= limits.elements
    free: NDArray[np.bool_] = limits.pool & (present | ~crowded[:, None])
    if not limits.ordered:
        return free
    # ids ascend with electronegativity, so the largest written id on the left is that of the nearest atom
    element = canvas >= FIRST_ELEMENT
    lowest = np.maximum.accumulate(np.where(element, canvas, FIRST_ELEMENT), axis=1)[rows, places]
    reversed_ids = np.where(element, canvas, SIZE - 1)[:, ::-1]
    highest = np.minimum.accumulate(reversed_ids, axis=1)[:, ::-1][rows, places]
    ids = np.arange(FIRST_ELEMENT, SIZE)
    return np.asarray(free & (ids >= lowest[:, None]) & (ids <= highest[:, None]))


def refuse_top_p(options: SamplingOptions) -> None:
    """Gaps are filled in any order, where no nucleus of a next token exists.

    Raises:
        ConfigError: one was asked for.
    """
    if options.top_p != 1:
        raise ConfigError("top-p cuts what is written from left to right: leave it out, or sample with --constrained")


def draw_elements(
    log_what: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One element token per row from unnormalised log-probabilities (rows, WORDS); `DEAD` where none is free."""
    scores = np.where(free, log_what, -np.inf)
    dead = ~free.any(axis=1)
    scores[dead] = 0.0
    return np.where(dead, DEAD, FIRST_ELEMENT + draw(scores, rng))
