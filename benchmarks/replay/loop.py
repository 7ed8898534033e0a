"""The loop as an asker: stability, likelihood and neighbours, all corrected by the answers, and how it fills a batch.

Two cases. Where the candidates are reported compounds, or asking for others costs nothing, what exists need not be
guessed: the surrogate's log-probability of stability stands, and the likelihood starts without weight. Where nearly
none of the candidates exists, what is likely to exist counts in full from the start, beside the surrogate's log-odds
with the scatter that the loop adds to its std. A judge that learned from reported compounds how far the surrogate can
be trusted (`discovery.judging`) can take the surrogate's place; it costs finds in both cases (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.desk import Desk
from discovery.acquisition import expected_depth
from discovery.bandit import Credit, interleaved
from discovery.composition import amounts
from discovery.judging import (
    Clues,
    Examples,
    Judge,
    Weights,
    filled,
    fitted_weights,
    log_odds,
    log_stability,
    trained_judge,
)
from discovery.neighbours import Labelled, informed, joint_batch, shifts
from discovery.reference.base import Phase
from discovery.surrogates.base import FloatArray

PRIOR_WEIGHT = 1.0  # of the log-likelihood before any label, where existence has to be guessed
SCATTER = 0.1  # eV/atom, beside the surrogate's std; the default of the loop
FRONT = 20_000  # candidates of a long list that the loop goes on with after its first ranking
SHORTLIST = 1500  # candidates that a batch is weighed for where its picks count; the others are far behind


@dataclass
class Loop:
    """The loop; every ingredient can be left out."""

    tolerance: float = 0.0
    seed: int = 0
    batch: int = 50
    judged: bool = False  # a judge in the place of the surrogate's own odds
    prior: bool = True  # the language model's likelihood as an expert of its own
    weighed: bool = True  # weights fitted to the answers
    neighbours: bool = True  # labels move the log-odds of similar compositions
    joint: bool = False  # a pick counts for less where the earlier ones of the batch will tell
    hull_aware: bool = False  # the earlier ones of the batch, where predicted stable, compete with the later ones
    depth: bool = False  # by how much a candidate is expected to lie below the tolerance counts too
    _known: Examples | None = field(default=None, repr=False)
    _first: Judge | None = field(default=None, repr=False)  # knows the known compounds alone

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Log-desirability of every candidate; -inf: not even on the shortlist."""
        del rng
        value, labelled, bias = self.values(desk)
        if len(value) > FRONT and not desk.asked:
            front = np.sort(np.argsort(-value, kind="stable")[:FRONT])
            desk.narrow(front)
            value = value[front]
        moved = shifts(labelled, desk.fractions(np.arange(len(value)))) if self.neighbours else 0.0
        if not (self.joint or self.hull_aware):
            return value + moved
        short = desk.open[np.argsort(-(value + moved)[desk.open], kind="stable")[:SHORTLIST]]
        out = np.full(len(value), -np.inf)
        if self.joint:
            latent = informed(labelled, desk.fractions(short), value[short] + bias)
            out[short] = first_of_all(latent.mean, joint_batch(latent, self.batch))
        else:
            out[short] = self._by_hull(desk, short, (value + moved)[short])
        return out

    def values(self, desk: Desk) -> tuple[FloatArray, Labelled, float]:
        """What judge and likelihood make of every candidate.

        Beside it the answers with what was believed of them by what is known alone, and what makes log-odds of a value.
        """
        asked, start = desk.asked_examples(self.tolerance), 0.0 if reported(desk) else PRIOR_WEIGHT
        before = self._odds_before(desk, asked.clues)
        weights = Weights(1.0, 0.0, 0.0)
        if self.prior:  # that reported compounds exist need not be guessed: then it starts at 0
            weights = fitted_weights(before if self.weighed else before[:0], asked, start)
        clues = desk.clues
        value = weights.value(self._odds_now(desk, asked, clues), clues.log_prior, clues.atoms)
        if self.depth:
            value = value + expected_depth(clues.above_hull, clues.std, self.tolerance)
        believed = weights.value(before, asked.clues.log_prior, asked.clues.atoms) + weights.bias
        return value, Labelled(desk.fractions(desk.asked_rows), believed, asked.stable), weights.bias

    def _odds_before(self, desk: Desk, clues: Clues) -> FloatArray:
        """By what is known alone."""
        if not self.judged:
            return self._own_odds(desk, clues)
        if self._first is None:
            self._known = desk.known_examples(self.tolerance, self.seed)
            self._first = trained_judge(self._known, None, self.tolerance, self.seed)
        return self._first.odds(clues)

    def _odds_now(self, desk: Desk, asked: Examples, clues: Clues) -> FloatArray:
        """By the answers too."""
        if not self.judged or self._known is None or self._first is None:
            return self._own_odds(desk, clues)
        judge = trained_judge(self._known, asked, self.tolerance, self.seed) if len(asked.stable) else self._first
        return judge.odds(clues)

    def _own_odds(self, desk: Desk, clues: Clues) -> FloatArray:
        """The surrogate's; for reported candidates its log-probability, with the std that was calibrated on such."""
        if reported(desk):
            return clues.log_stability(self.tolerance)
        return log_odds(np.exp(log_stability(clues.above_hull, np.hypot(clues.std, SCATTER), self.tolerance)))

    def _by_hull(self, desk: Desk, short: NDArray[np.int64], values: FloatArray) -> FloatArray:
        """Picks that are predicted stable join the hull that the later ones of the batch face."""
        mean, std, competing = desk.prediction.mean[short], desk.prediction.std[short], desk.competing[short].copy()
        elements = [frozenset(amounts(desk.candidates[row])) for row in short]
        hull, value, chosen = desk.hull, values.copy(), list[int]()
        for _ in range(min(self.batch, len(short))):
            pick = int(np.argmax(value))
            chosen.append(pick)
            value[pick] = -np.inf
            if mean[pick] - competing[pick] > self.tolerance:
                continue
            hull = hull.with_phases([Phase(desk.candidates[short[pick]], mean[pick], predicted=True)], hull.scheme)
            felt = np.array([i for i, own in enumerate(elements) if elements[pick] <= own], dtype=np.int64)
            after = -hull.energies_above_hull([desk.candidates[short[i]] for i in felt], np.zeros(len(felt)))
            believed = (log_stability(mean[felt] - hull_energy, std[felt], self.tolerance)
                        for hull_energy in (after, competing[felt]))  # fmt: skip
            value[felt] += next(believed) - next(believed)
            competing[felt] = after
        return first_of_all(values, chosen)


def reported(desk: Desk) -> bool:
    """Whether what is asked for and counts are reported compounds."""
    return desk.problem.compete or desk.problem.free


def first_of_all(values: FloatArray, chosen: list[int]) -> FloatArray:
    """Values that put the chosen rows before all others, in their order."""
    ordered = values.copy()
    ordered[chosen] = values.max(initial=0.0) + np.arange(len(chosen), 0, -1)
    return ordered


@dataclass
class Switching:
    """A bandit between the loop's value, the likelihood, the surrogate's stability and the energy above the hull."""

    tolerance: float = 0.0
    seed: int = 0
    batch: int = 50
    _loop: Loop | None = field(default=None, repr=False)
    _chose: dict[str, str] = field(default_factory=dict, repr=False)  # formula -> acquisition

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Values that put the drawn picks first."""
        self._loop = self._loop or Loop(self.tolerance, self.seed, self.batch)
        clues, rows = desk.clues, desk.open
        values = {
            "loop": self._loop.values(desk)[0][rows],
            "stability": clues.log_stability(self.tolerance)[rows],
            "energy above hull": -clues.above_hull[rows],
        }
        if not np.isnan(desk.log_prior).all():
            values["likelihood"] = filled(desk.log_prior)[rows]
        picks = interleaved(values, self._earned(desk, list(values)), self.batch, rng)
        self._chose |= {desk.candidates[rows[row]]: name for row, name in picks}
        out = np.full(len(desk.candidates), -np.inf)
        out[rows] = first_of_all(values["loop"], [row for row, _ in picks])
        return out

    def _earned(self, desk: Desk, names: list[str]) -> dict[str, Credit]:
        earned = dict.fromkeys(names, Credit())
        stable = desk.asked_examples(self.tolerance).stable.tolist()
        for formula, good in zip(desk.asked, stable, strict=True):
            name = self._chose[formula]
            earned[name] = earned[name].after(good)
        return earned
