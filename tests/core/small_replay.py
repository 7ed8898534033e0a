"""A replay in small: a made-up world in which chemistry decides what is stable, and models that learn it in seconds."""

import dataclasses
from collections.abc import Sequence
from itertools import combinations, product
from math import gcd
from pathlib import Path

import numpy as np
import torch

from benchmarks.replay.desk import Models
from benchmarks.replay.problem import Problem, complete_truth
from discovery.composition import amounts, reduced_formula
from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.surrogates.base import Labels, Prediction, Surrogate
from discovery.surrogates.from_labels import Preset, train_on_labels

SCHEME = "made-up"
CHARGES = {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Al": 3, "Y": 3, "Ti": 4, "S": -2, "O": -2, "F": -1, "Cl": -1}
CHI = {"Li": 1.0, "Na": 0.9, "K": 0.8, "Mg": 1.3, "Ca": 1.0, "Al": 1.6, "Y": 1.2, "Ti": 1.5, "S": 2.6, "O": 3.4,
       "F": 4.0, "Cl": 3.2}  # fmt: skip
RADII = {"Li": 0.8, "Na": 1.0, "K": 1.4, "Mg": 0.7, "Ca": 1.0, "Al": 0.5, "Y": 0.9, "Ti": 0.6}
PRESET = Preset(members=1, epochs=20, width=32, layers=2, pooled=32, batch_size=64, peak_rate=6e-3)


def energy(counts: dict[str, int]) -> float:
    """eV/atom: cations bind to anions, an unbalanced formal charge costs, and two cations fit each other or do not."""
    total = sum(counts.values())
    bonds = sum(
        counts[a] * counts[b] / total**2 * (CHI[a] - CHI[b]) ** 2
        for a, b in combinations(sorted(counts), 2)
        if CHARGES[a] * CHARGES[b] < 0
    )
    charge = sum(CHARGES[symbol] * n for symbol, n in counts.items()) / total
    sizes = sorted(RADII[symbol] for symbol in counts if CHARGES[symbol] > 0)
    fit = 0.1 - 0.4 * float(np.exp(-(((sizes[-1] / sizes[0] - 1.7) / 0.3) ** 2))) if len(sizes) == 2 else 0.1
    return -0.8 * bonds * (0.7 + 0.3 * float(np.exp(-((charge / 0.4) ** 2)))) + fit * (len(counts) == 3)


def world() -> dict[str, float]:
    """Formation energy of all binaries up to three atoms of a kind, and of all ternaries up to four of the last."""
    made = {}
    symbols = sorted(CHARGES)
    for a, b in combinations(symbols, 2):
        for m, n in product((1, 2, 3), repeat=2):
            made[reduced_formula(f"{a}{m}{b}{n}")] = energy({a: m // gcd(m, n), b: n // gcd(m, n)})
    for a, b, c in combinations(symbols, 3):
        for m, n, k in product((1, 2), (1, 2), (1, 2, 3, 4)):
            d = gcd(m, n, k)
            made[reduced_formula(f"{a}{m}{b}{n}{c}{k}")] = energy({a: m // d, b: n // d, c: k // d})
    return made


def small_problem() -> Problem:
    """Binaries and a third of the ternaries are known, the others withheld."""
    every = world()
    formulas = sorted(every)
    order = np.random.default_rng(0).random(len(formulas))
    known = {
        formula: every[formula]
        for formula, place in zip(formulas, order, strict=True)
        if sum(map(str.isupper, formula)) == 2 or place < 0.33
    }
    answers = {formula: every[formula] for formula in formulas if formula not in known}
    return Problem("small", SCHEME, known, tuple(answers), answers, complete_truth(known, answers, SCHEME))


def small_models(problem: Problem, folder: Path) -> Models:
    """A surrogate of the known part."""
    torch.set_num_threads(1)
    return Models(train_on_labels(problem.labels, PRESET, folder), None)


class SizeModel:
    """A language model that knows one thing: every atom more costs two nats."""

    def log_probability(self, formulas: Sequence[str]) -> np.ndarray:
        """-2 nats an atom."""
        return np.array([-2.0 * sum(amounts(formula).values()) for formula in formulas])


class Shuffled:
    """A surrogate whose opinions of stability belong to other compositions: as good a spread, no knowledge.

    Learning is switched off: a refit replays the known energies, which would mend it.
    """

    version = "shuffled"
    schemes = (SCHEME,)

    def __init__(self, surrogate: Surrogate, problem: Problem) -> None:
        self._surrogate = surrogate
        self._hull = Hull([Phase(formula, energy) for formula, energy in problem.known.items()], SCHEME)

    def predict(self, formulas: Sequence[str], scheme: str) -> Prediction:
        """The energies above the known hull, dealt out anew."""
        prediction = self._surrogate.predict(formulas, scheme)
        competing = -self._hull.energies_above_hull(formulas, np.zeros(len(formulas)))
        order = np.random.default_rng(1).permutation(len(formulas))
        return dataclasses.replace(prediction, mean=competing + (prediction.mean - competing)[order])

    def refit(self, new: Labels, replay: Labels, rng: np.random.Generator) -> "Shuffled":
        """Itself."""
        return self
