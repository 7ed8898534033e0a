"""Ion exchange in known compounds: a baseline that beats many generative models on stable and novel compounds.

After Szymanski & Bartel, Mater. Horiz. (2025), with the data-mined probabilities of Hautier et al., Inorg. Chem. 50,
656 (2011), which ship with pymatgen. A known compound gets oxidation states; one or two of its ions are replaced by
others of the same charge, so charge neutrality stays. In that model ion s becomes t with a probability in proportion
to exp(lambda(s, t)), or stays with exp(lambda(s, s)): an exchange weighs the product of their ratios over its ions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.generators.baselines import Amounts, Rule, written
from discovery.generators.ions import INDEX, Ion, Weights, assigned_ions, rates
from discovery.grammar import check_pool
from discovery.records import Sample
from discovery.reference.builtin import load_builtin
from discovery.validity import Rules, is_balanced
from discovery.vocabulary import ELEMENTS

TRIES = 2_000  # exchanges in a row that may fail the Pauling test, before constrained sampling gives up


@dataclass(frozen=True)
class IonExchange(Rule):
    """Exchange of one or two ions in known compounds, as a `Generator`. It learns nothing."""

    parents: tuple[str, ...] | None = None  # reduced formulas; None: the phases of the shipped reference
    name: str = "ion-exchange"

    @cached_property
    def version(self) -> str:
        """The name with a hash of the parents: there are no weights."""
        return f"{self.name}-{hashlib.blake2b(' '.join(self._pool.formulas).encode(), digest_size=4).hexdigest()}"

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` compositions in canonical order; known ones may be among them.

        All are charge neutral by SMACT's default; `options.constrained` leaves out those that fail the Pauling test.
        A parent is drawn evenly from those that can meet the constraints, then an exchange by its probability.
        """
        check_pool(options.constraints)
        admits = _is_balanced if options.constrained else _anything
        parents = self._pool.near(options.constraints)
        return [written(_draw(parents, options.constraints, rng, admits)) for _ in range(n)]

    def save(self, folder: Path) -> None:
        """Write `card.json`, from which the folder loads again.

        Raises:
            ConfigError: the parents are not those of the shipped reference.
        """
        if self.parents is not None:
            raise ConfigError("an ion exchange over own parents has no file: make it again from its list of formulas")
        super().save(folder)

    @property
    def _pool(self) -> _Parents:
        return _shipped_parents() if self.parents is None else _parents_of(self.parents)


@dataclass(frozen=True)
class _Parents:
    """Known compounds with what the constraints ask of them."""

    formulas: tuple[str, ...]
    present: NDArray[np.bool_]  # which elements occur, shape (n, elements)
    atoms: NDArray[np.int64]  # per reduced formula unit, shape (n,)

    def near(self, constraints: Constraints) -> list[str]:
        """Those that two exchanges may bring within the constraints: an exchange changes neither size nor number."""
        pool, required = _mask(constraints.element_pool()), _mask(constraints.required)
        fits = (self.atoms <= constraints.max_atoms) & (self.present.sum(axis=1) <= constraints.max_elements)
        fits &= (self.present & ~pool).sum(axis=1) <= 2
        fits &= (required & ~self.present).sum(axis=1) <= 2
        return [self.formulas[index] for index in np.flatnonzero(fits)]


@cache
def _shipped_parents() -> _Parents:
    return _parents_of(tuple(phase.formula for phase in load_builtin().phases))


@lru_cache(maxsize=4)
def _parents_of(formulas: tuple[str, ...]) -> _Parents:
    found = [amounts(formula) for formula in formulas]
    sizes = np.array([sum(counts.values()) for counts in found], dtype=np.int64)
    return _Parents(formulas, np.array([_mask(frozenset(counts)) for counts in found]), sizes)


def _mask(symbols: frozenset[str]) -> NDArray[np.bool_]:
    mask = np.zeros(len(ELEMENTS), dtype=bool)
    mask[[INDEX[symbol] for symbol in symbols]] = True
    return mask


def _draw(
    parents: list[str], constraints: Constraints, rng: np.random.Generator, admits: Callable[[Amounts], bool]
) -> Amounts:
    """One exchange. Parents without any are taken from the list as they are met, so that it ends.

    Raises:
        ConstraintError: no parent is left, or too many exchanges in a row were not admitted.
    """
    failures = 0
    while parents and failures < TRIES:
        position = int(rng.integers(len(parents)))
        found = exchange(parents[position], constraints, rng)
        if found is None:
            parents[position] = parents[-1]
            parents.pop()
        elif admits(found):
            return found
        else:
            failures += 1
    raise ConstraintError(
        "no exchange of one or two ions in a known compound meets the constraints: widen them, or choose another "
        "generator"
    )


def exchange(parent: str, constraints: Constraints, rng: np.random.Generator) -> Amounts | None:
    """The parent's amounts with one or two ions replaced; None where the constraints admit no exchange."""
    ions = assigned_ions(parent)
    if ions is None:
        return None
    choices = _choices(ions, constraints)
    missing = constraints.required - {symbol for symbol, _ in ions}
    totals = np.array([_total(rates, missing) for _, rates in choices])
    if not totals.sum() > 0:
        return None
    places, rates = choices[_pick(totals, rng)]
    weights = _joint(rates, missing)
    cells = np.unravel_index(_pick(weights.ravel(), rng), weights.shape)
    renamed = {ions[place][0]: ELEMENTS[int(cell)] for place, cell in zip(places, cells, strict=True)}
    return {renamed.get(symbol, symbol): count for symbol, count in amounts(parent).items()}


def _choices(ions: Sequence[Ion], constraints: Constraints) -> list[tuple[tuple[int, ...], list[Weights]]]:
    """One or two places that may be filled anew, with the rates of the elements that may fill each."""
    symbols = frozenset(symbol for symbol, _ in ions)
    pool = constraints.element_pool()
    allowed = _mask(pool - symbols)
    filling = [rates(ion) * allowed for ion in ions]
    forced = {place for place, (symbol, _) in enumerate(ions) if symbol not in pool}
    free = [place for place, (symbol, _) in enumerate(ions) if symbol not in constraints.required]
    chosen = [*combinations(free, 1), *combinations(free, 2)]
    fewest = len(constraints.required - symbols)
    kept = [places for places in chosen if forced <= set(places) and fewest <= len(places)]
    return [(places, [filling[place] for place in places]) for places in kept]


def _total(rates: Sequence[Weights], missing: frozenset[str]) -> float:
    """Sum of `_joint`; in the common case without making it."""
    if missing or len(rates) == 1:
        return float(_joint(rates, missing).sum())
    first, second = rates
    return max(0.0, float(first.sum() * second.sum() - first @ second))


def _joint(rates: Sequence[Weights], missing: frozenset[str]) -> Weights:
    """Weights of the elements put on the places, shape (elements,) or its square; all `missing` ones are among them."""
    if len(rates) == 1:
        joint = rates[0]
    else:
        joint = np.outer(*rates)
        np.fill_diagonal(joint, 0.0)  # two ions of one element would merge
    for symbol in missing:
        holds = np.zeros(joint.shape, dtype=bool)
        for axis in range(joint.ndim):
            np.moveaxis(holds, axis, 0)[INDEX[symbol]] = True
        joint = np.where(holds, joint, 0.0)
    return joint


def _pick(weights: Weights, rng: np.random.Generator) -> int:
    """An index with a probability in proportion to its weight."""
    cumulated = np.cumsum(weights)
    return int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))


def _is_balanced(counts: Amounts) -> bool:
    return is_balanced(counts, Rules())


def _anything(counts: Amounts) -> bool:
    del counts
    return True


ION_EXCHANGE = IonExchange()
