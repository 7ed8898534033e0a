"""Generators without a model: random compositions, and pseudo-random charge-neutral ones. Both honour the constraints.

They know nothing of likelihood: every log-probability is zero, a constant that changes no ranking. They learn nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from discovery import model_files, vocabulary
from discovery.charge_grammar import charge_grammar, never_balanced
from discovery.composition import pauling_electronegativity
from discovery.constraints import Constraints
from discovery.decoding import sample_of
from discovery.errors import ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.grammar import check_pool
from discovery.records import Sample
from discovery.validity import oxidation_states
from discovery.vocabulary import END

# Share of compositions with 2, 3, 4 and 5 elements; measured on the balanced compositions in MP (more: 2.5 %)
ELEMENT_NUMBERS = {2: 0.06, 3: 0.44, 4: 0.37, 5: 0.13}
LARGEST_COUNT = 8  # atoms of one element in a random composition
TRIES = 20_000  # draws of elements and oxidation states for one pseudo-random composition

Amounts = dict[str, int]


class Rule:
    """What generators without weights share: nothing is known of likelihood, nothing learned, nothing to move."""

    name: str  # as in the zoo of names

    @property
    def version(self) -> str:
        """The name: there are no weights."""
        return self.name

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Zeros: nothing is known of likelihood."""
        return np.zeros(len(formulas))

    def fine_tune(self, formulas: Sequence[str], rng: np.random.Generator, epochs: int, learning_rate: float) -> Self:
        """Itself: there is nothing to train."""
        del formulas, rng, epochs, learning_rate
        return self

    def on(self, device: str) -> Self:
        """Itself: there is nothing to move."""
        del device
        return self

    def save(self, folder: Path) -> None:
        """Write `card.json`, from which the folder loads again; there are no weights."""
        card = {"model": self.name, "version": self.version, "weights": None}
        model_files.write_json(folder / model_files.CARD, card)


@dataclass(frozen=True)
class BaselineGenerator(Rule):
    """A rule that draws compositions, as a `Generator`."""

    name: str
    draw: Callable[[Constraints, np.random.Generator], Amounts]
    check: Callable[[Constraints], None]  # raises ConstraintError where nothing can be drawn

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` compositions in canonical order; `options.constrained` changes nothing."""
        self.check(options.constraints)
        return [written(self.draw(options.constraints, rng)) for _ in range(n)]


def random_amounts(constraints: Constraints, rng: np.random.Generator) -> Amounts:
    """Random elements of the pool, each with 1 to `LARGEST_COUNT` atoms."""
    symbols = _random_elements(sorted(constraints.element_pool()), constraints, rng)
    left = constraints.max_atoms
    counts: Amounts = {}
    for index, symbol in enumerate(symbols):
        most = min(LARGEST_COUNT, left - (len(symbols) - index - 1))
        counts[symbol] = int(rng.integers(1, most + 1))
        left -= counts[symbol]
    return counts


def pseudo_random_amounts(constraints: Constraints, rng: np.random.Generator) -> Amounts:
    """Random elements in random oxidation states that pass the Pauling test, balanced with the fewest atoms.

    Raises:
        ConstraintError: none was found in `TRIES` draws.
    """
    states = oxidation_states()
    pool = sorted(symbol for symbol in constraints.element_pool() if not never_balanced(symbol))
    for _ in range(TRIES):
        symbols = _random_elements(pool, constraints, rng)
        charges = [int(rng.choice(states[symbol])) for symbol in symbols]
        if not _passes_pauling(symbols, charges):
            continue
        counts = _fewest_atoms(charges, constraints.max_atoms, rng)
        if counts is not None:
            return dict(zip(symbols, counts, strict=True))
    raise ConstraintError(f"no charge-neutral composition in {TRIES} random draws: widen the constraints")


RANDOM = BaselineGenerator("random", random_amounts, check_pool)
PSEUDO_RANDOM = BaselineGenerator(
    "pseudo-random",
    pseudo_random_amounts,
    lambda constraints: _check_balanced(replace(constraints, mixed_valence=False, intermetallics=False)),
)


def _check_balanced(constraints: Constraints) -> None:
    charge_grammar(constraints, min(constraints.max_atoms, 60))  # larger ones only add multiples


def _random_elements(pool: Sequence[str], constraints: Constraints, rng: np.random.Generator) -> list[str]:
    """The required elements and random others, as many as a draw from `ELEMENT_NUMBERS` says."""
    drawn = int(rng.choice(list(ELEMENT_NUMBERS), p=list(ELEMENT_NUMBERS.values())))
    largest = min(constraints.max_elements, constraints.max_atoms, len(pool))
    number = min(max(drawn, len(constraints.required), 2), largest)
    others = [symbol for symbol in pool if symbol not in constraints.required]
    missing = max(0, number - len(constraints.required))
    picked = rng.choice(len(others), size=missing, replace=False).tolist() if missing else list[int]()
    return sorted(constraints.required) + [others[index] for index in picked]


def _passes_pauling(symbols: Sequence[str], charges: Sequence[int]) -> bool:
    values = [pauling_electronegativity(symbol) or math.nan for symbol in symbols]
    cations = [value for value, charge in zip(values, charges, strict=True) if charge > 0]
    anions = [value for value, charge in zip(values, charges, strict=True) if charge < 0]
    return bool(cations) and bool(anions) and max(cations) < min(anions)


def _fewest_atoms(charges: Sequence[int], max_atoms: int, rng: np.random.Generator) -> list[int] | None:
    """Counts that sum to charge zero with the fewest atoms, ties at random; None where there are none."""
    grid, atoms = _count_grid(len(charges))
    neutral = np.flatnonzero((grid @ np.asarray(charges) == 0) & (atoms <= max_atoms))
    if not len(neutral):
        return None
    fewest = neutral[atoms[neutral] == atoms[neutral].min()]
    return [int(count) for count in grid[rng.choice(fewest)]]


@lru_cache(maxsize=8)
def _count_grid(elements: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All counts per element up to a limit that keeps the grid small, shape (n, elements), and their sums."""
    largest = {2: 12, 3: 12, 4: 8, 5: 6, 6: 4}.get(elements, 3)
    grid = np.indices((largest,) * elements).reshape(elements, -1).T + 1
    return grid, grid.sum(axis=1)


def written(amounts: Amounts) -> Sample:
    """The sample of a composition that a rule drew, in canonical order; its log-probability is a constant."""
    return sample_of([*vocabulary.encode(amounts), END], 0.0)
