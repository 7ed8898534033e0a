"""Who asks: the loop, the loop without one of its ingredients, and every baseline.

An asker is a function of the desk and the random state; it returns a value for every candidate, larger is asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.desk import Desk, exchange_log_probability
from discovery.acquisition import CONFIDENCE
from discovery.composition import amounts
from discovery.constraints import Constraints
from discovery.generators.base import SamplingOptions
from discovery.generators.ion_exchange import IonExchange
from discovery.metrics import reduced
from discovery.surrogates.base import FloatArray
from discovery.surrogates.features import element_properties, encode
from discovery.validity import judge as verdict_of

EXCHANGES = 20_000  # draws of the ion-exchange baseline for one list
UNWRITTEN = -1e6  # log-probability that stands for -inf, nats
FOREST_ROWS = 4000  # known compounds that the baseline's forest is trained on, beside all answers

Value = Callable[[Desk, np.random.Generator], FloatArray]


def by_chance(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """Any candidate."""
    return rng.random(len(desk.candidates))


def charge_neutral_by_chance(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """Any candidate that is charge neutral and balanced, then the others."""
    return rng.random(len(desk.candidates)) + _balanced(desk.candidates)


@lru_cache(maxsize=4)
def _balanced(formulas: tuple[str, ...]) -> FloatArray:
    return np.array([float(verdict_of(formula).accepted) for formula in formulas])


@dataclass
class ByIonExchange:
    """Candidates in the order in which ion exchange in the known compounds writes them, then the others by chance."""

    _value: FloatArray | None = field(default=None, repr=False)

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Drawn once: it learns nothing."""
        if self._value is None:
            self._value = rng.random(len(desk.candidates))
            row_of = {formula: row for row, formula in enumerate(desk.candidates)}
            for place, formula in enumerate(_exchanged(desk, rng)):
                if formula in row_of and self._value[row_of[formula]] < 1.0:
                    self._value[row_of[formula]] = 2.0 + EXCHANGES - place
        return self._value


@dataclass
class ByExchangeProbability:
    """Candidates by the probability with which ion exchange writes them, then the others by chance."""

    _log_p: FloatArray | None = field(default=None, repr=False)

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Computed once: it learns nothing."""
        if self._log_p is None:
            self._log_p = exchange_log_probability(desk.problem, desk.candidates)
        return np.where(np.isfinite(self._log_p), self._log_p, UNWRITTEN - rng.random(len(self._log_p)))


def _exchanged(desk: Desk, rng: np.random.Generator) -> list[str]:
    """Formulas that ion exchange writes within what all candidates have in common."""
    elements = [frozenset(amounts(formula)) for formula in desk.candidates]
    limits = Constraints(
        allowed=frozenset().union(*elements),
        required=frozenset.intersection(*elements),
        max_atoms=int(desk.atoms.max()),
        max_elements=max(map(len, elements)),
    )
    generator = IonExchange(tuple(sorted(desk.problem.known)))
    samples = generator.sample(EXCHANGES, rng, SamplingOptions(constraints=limits))
    return [formula for sample in samples if (formula := reduced(sample)) is not None]


def fewest_atoms(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """A control: small formulas first, ties by chance."""
    return -desk.atoms + rng.random(len(desk.candidates))


def likelihood(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """The language model alone."""
    del rng
    return desk.log_prior


def formation_energy(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """The lowest predicted formation energy: Bartel's trap."""
    del rng
    return -desk.prediction.mean


def energy_above_hull(desk: Desk, rng: np.random.Generator) -> FloatArray:
    """The lowest predicted energy above the hull."""
    del rng
    return -desk.clues.above_hull


@dataclass
class Stability:
    """Probability of stability by the surrogate."""

    tolerance: float = 0.0

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Log-probability."""
        del rng
        return desk.clues.log_stability(self.tolerance)


@dataclass
class ForestUCB:
    """A random forest on composition features, one std of its trees more optimistic than its mean; learns all answers.

    The std between trees as uncertainty: as usual for this baseline (e.g. Lookman et al., npj Comput. Mater. 5, 21).
    """

    _value: FloatArray | None = field(default=None, repr=False)
    _learned: int = 0  # answers behind the value

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Trained anew after every batch that gave an answer."""
        answers = {formula: energy for formula, energy in desk.asked.items() if energy is not None}
        if self._value is None or len(answers) > self._learned:
            self._value, self._learned = self._ranked(desk, answers, rng), len(answers)
        return self._value

    @staticmethod
    def _ranked(desk: Desk, answers: dict[str, float], rng: np.random.Generator) -> FloatArray:
        from sklearn.ensemble import RandomForestRegressor

        known = list(desk.problem.known)
        chosen = [known[i] for i in rng.permutation(len(known))[:FOREST_ROWS]]
        energies = [desk.problem.known[formula] for formula in chosen] + list(answers.values())
        forest = RandomForestRegressor(60, min_samples_leaf=2, max_features=0.3, random_state=int(rng.integers(2**31)))
        forest.fit(composition_features((*chosen, *answers)), energies)
        features = composition_features(desk.candidates)
        trees = np.stack([tree.predict(features) for tree in forest.estimators_])
        value: FloatArray = -(trees.mean(axis=0) - desk.competing - CONFIDENCE * trees.std(axis=0))
        return value


@lru_cache(maxsize=4)
def composition_features(formulas: tuple[str, ...]) -> FloatArray:
    """Mean, spread, smallest and largest of each elemental property over the atoms, shape (n, 4 x properties).

    As in Magpie (Ward et al., npj Comput. Mater. 2, 16028 (2016)), with the properties of our surrogate.
    """
    properties = element_properties().double().numpy()
    fractions = encode(formulas).fractions()
    mean = fractions @ properties
    spread = np.sqrt(np.maximum(fractions @ properties**2 - mean**2, 0.0))
    present = fractions > 0
    low, high = (_extreme(present, properties, sign) for sign in (1.0, -1.0))
    return np.column_stack([mean, spread, low, high])


def _extreme(present: NDArray[np.bool_], properties: FloatArray, sign: float) -> FloatArray:
    """Smallest (sign 1) or largest (sign -1) value of each property among the elements present."""
    columns = [np.where(present, sign * properties[:, k], np.inf).min(axis=1) for k in range(properties.shape[1])]
    return sign * np.column_stack(columns)
