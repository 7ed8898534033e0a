"""What an asker works with: the candidates' clues, kept up to date with the answers that came in."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.problem import Problem
from discovery.composition import amounts
from discovery.fidelity import Rung, fused, learned_rung
from discovery.generators.base import Generator
from discovery.generators.exchange_likelihood import exchange_likelihood, mixed
from discovery.hull import Hull
from discovery.judging import Clues, Examples
from discovery.neighbours import fractions_of
from discovery.ranking import AnyHull
from discovery.reference.base import Phase
from discovery.reference.competition import CompletedHull
from discovery.reference.implied import WithBinaries
from discovery.reference.known import ListedFormulas
from discovery.surrogates.base import FloatArray, Labels, Prediction, Surrogate
from discovery.surrogates.dataset import OWN_SHARES, split_of

EXAMPLES = 4000  # known compounds that the judge learns from
REPLAY = 2000  # known labels beside the new ones in a refit


@dataclass(frozen=True)
class Models:
    """What has seen the known part of a problem and nothing else."""

    surrogate: Surrogate
    generator: Generator | None  # None: no language model, no prior


@dataclass(frozen=True)
class Rules:
    """What a desk works with: which phases compete beside the known ones, and whose likelihood it is."""

    binaries: bool = True  # the charge-neutral ones of the elements, with predicted energies
    candidates: bool = True  # reported candidates, with predicted energies (problems with `compete` alone)
    exchange: bool = True  # the language model's likelihood is mixed with that of ion exchange in the known compounds


class Desks:
    """The desks of one problem: what all campaigns begin with is computed once for all of them."""

    def __init__(self, problem: Problem, models: Models) -> None:
        self.problem = problem
        self.models = models
        self._made: dict[Rules, Desk] = {}
        self._priors: dict[bool, FloatArray] = {}

    def new(self, rules: Rules) -> Desk:
        """A desk that nothing was told yet."""
        if rules not in self._made:
            made = next(iter(self._made.values()), None)
            prior = self._prior(rules.exchange)
            self._made[rules] = Desk(self.problem, self.models, rules, prior, None if made is None else made._predicted)
        return self._made[rules].copy()

    def _prior(self, exchange: bool) -> FloatArray:
        if exchange not in self._priors:
            self._priors[exchange] = log_prior(self.problem, self.models.generator, self.problem.candidates, exchange)
        return self._priors[exchange]


class Desk:
    """The state of one campaign in a replay; it is told answers and never sees a withheld label before."""

    def __init__(
        self,
        problem: Problem,
        models: Models,
        rules: Rules,
        prior: FloatArray | None = None,
        predicted: Prediction | None = None,
    ) -> None:
        """Nothing is asked yet; log-likelihoods (`prior`) and predictions where they are computed already."""
        self.problem = problem
        self.candidates = problem.candidates
        self.models = models
        self._first_surrogate = models.surrogate
        self._rules = rules
        self._row_of = {formula: row for row, formula in enumerate(self.candidates)}
        self.asked: dict[str, float | None] = {}  # in the order asked; None: no answer
        self._looks: dict[str, FloatArray] = {}  # rung -> formation energies, eV/atom, shape (n,); NaN: none
        self._looked: set[tuple[str, int]] = set()  # rung and row
        self._competes = rules.candidates and problem.compete  # every candidate, with a predicted energy
        self._forgotten: tuple[str, ...] = ()  # candidates that are asked for no more; reported ones still compete
        counted = [amounts(formula) for formula in self.candidates]
        self.atoms = np.array([sum(counts.values()) for counts in counted], dtype=np.float64)
        self._fractions = fractions_of(counted)  # (n, elements)
        if prior is None:
            prior = log_prior(problem, models.generator, self.candidates, rules.exchange)
        self.log_prior = prior  # nats, shape (n,)
        self._predicted = predicted or models.surrogate.predict(self.candidates, problem.scheme)
        self._grounds: AnyHull = Hull(_phases(problem.known), problem.scheme)  # without the candidates' predictions
        if rules.binaries:
            self._grounds = CompletedHull(self._grounds, WithBinaries(ListedFormulas(problem.known)), models.surrogate)
        self._hull = self._competitors()
        self.competing = self._faced(self.candidates)
        self.shown: dict[str, tuple[float, ...]] = {}  # clues of the asked ones as they were before the answer

    def copy(self) -> Desk:
        """A desk of its own with the same state."""
        desk = copy.copy(self)
        desk.asked, desk.shown, desk._looked = dict(self.asked), dict(self.shown), set(self._looked)
        desk._looks = {rung: energies.copy() for rung, energies in self._looks.items()}
        desk.competing = self.competing.copy()
        desk._hull = self._hull.with_phases((), self.problem.scheme)
        return desk

    def narrow(self, rows: NDArray[np.int64]) -> None:
        """Forget all candidates but some, before anything is asked: those far behind need not be predicted anew."""
        if self.asked:
            raise ValueError("candidates were asked for already")
        kept = set(rows.tolist())
        self._forgotten = tuple(formula for row, formula in enumerate(self.candidates) if row not in kept)
        self.candidates = tuple(self.candidates[row] for row in rows)
        self._row_of = {formula: row for row, formula in enumerate(self.candidates)}
        self.atoms, self._fractions, self.log_prior = self.atoms[rows], self._fractions[rows], self.log_prior[rows]
        self.competing = self.competing[rows]
        made = self._predicted
        self._predicted = Prediction(made.mean[rows], made.epistemic_std[rows], made.aleatoric_std[rows])

    @property
    def open(self) -> NDArray[np.int64]:
        """Rows of the candidates that were not asked for."""
        return np.array([i for i, formula in enumerate(self.candidates) if formula not in self.asked], dtype=np.int64)

    @property
    def clues(self) -> Clues:
        """Of all candidates, with the present models and hull."""
        prediction = self.prediction
        mean, elements = prediction.mean, (self._fractions > 0).sum(axis=1).astype(np.float64)
        return Clues(mean - self.competing, prediction.std, mean, self.log_prior, self.atoms, elements)

    def known_examples(self, tolerance: float, seed: int) -> Examples:
        """Known compounds that the surrogate was not trained on; stable: against the known hull, without themselves."""
        formulas = [formula for formula in self.problem.known if split_of(formula, OWN_SHARES) != "train"]
        drawn = np.random.default_rng(seed).permutation(len(formulas))[:EXAMPLES]
        chosen = [formulas[i] for i in sorted(drawn)]
        energies = np.array([self.problem.known[formula] for formula in chosen])
        prediction = self.models.surrogate.predict(chosen, self.problem.scheme)
        measured = Hull(_phases(self.problem.known), self.problem.scheme)
        stable = measured.energies_above_hull(chosen, energies) <= tolerance
        above = self._hull.energies_above_hull(chosen, prediction.mean)
        counted = [amounts(formula) for formula in chosen]
        sizes = np.array([sum(counts.values()) for counts in counted], dtype=np.float64)
        numbers = np.array([len(counts) for counts in counted], dtype=np.float64)
        prior = log_prior(self.problem, self.models.generator, chosen, self._rules.exchange)
        return Examples(Clues(above, prediction.std, prediction.mean, prior, sizes, numbers), stable)

    @property
    def asked_rows(self) -> NDArray[np.int64]:
        """Rows of the asked ones, in the order asked."""
        return np.array([self._row_of[formula] for formula in self.asked], dtype=np.int64)

    def asked_examples(self, tolerance: float) -> Examples:
        """The answers, with the clues as they were before; no answer counts as not stable."""
        rows = [self.shown[formula] for formula in self.asked]
        columns = np.array(rows).T if rows else np.zeros((6, 0))
        stable = [e is not None and e - self.competing[self._row_of[f]] <= tolerance for f, e in self.asked.items()]
        return Examples(Clues(*columns), np.array(stable, dtype=bool))

    @property
    def prediction(self) -> Prediction:
        """Of the surrogate, after the looks."""
        made = self._predicted
        for name, energies in self._looks.items():
            mean, std = fused(made.mean, made.std, energies, self.rung(name))
            shrink = std / made.std
            made = Prediction(mean, made.epistemic_std * shrink, made.aleatoric_std * shrink)
        return made

    def rung(self, name: str) -> Rung:
        """What the answers say about the looks of a rung."""
        looks = self._looks.get(name, np.full(len(self.candidates), np.nan))
        answers = [(looks[self._row_of[formula]], energy) for formula, energy in self.asked.items()]
        return learned_rung(name, [look - e for look, e in answers if e is not None and not np.isnan(look)])

    def has_look(self, name: str, row: int) -> bool:
        """Whether a candidate got a look of that rung, successful or not."""
        return (name, row) in self._looked

    def look(self, name: str, row: int, energy: float) -> None:
        """A look's formation energy, eV/atom; NaN where it gave none."""
        self._looks.setdefault(name, np.full(len(self.candidates), np.nan))[row] = energy
        self._looked.add((name, row))

    @property
    def hull(self) -> AnyHull:
        """The phases that compete at present; a copy."""
        return self._hull.with_phases((), self.problem.scheme)

    def fractions(self, rows: NDArray[np.int64]) -> FloatArray:
        """Atomic fractions of some candidates, shape (n, elements)."""
        return self._fractions[rows]

    def tell(self, formula: str, energy: float | None) -> None:
        """An answer: a phase that competes from now on, or none."""
        self.shown[formula] = self._clues_of(self._row_of[formula])
        self.asked[formula] = energy

    def _clues_of(self, row: int) -> tuple[float, ...]:
        """Fields of `Clues` for one candidate, in order."""
        prediction = self.prediction if self._looks else self._predicted
        mean, std = float(prediction.mean[row]), float(prediction.std[row])
        above, elements = mean - float(self.competing[row]), float((self._fractions[row] > 0).sum())
        return above, std, mean, float(self.log_prior[row]), float(self.atoms[row]), elements

    def learn(
        self, new: Mapping[str, float | None], rng: np.random.Generator, *, refit: bool = True, anew: bool = False
    ) -> None:
        """After a batch: the hull takes the finds, and the surrogate the labels.

        `anew` lets the first surrogate learn all answers, in the place of the last one those of this batch.
        """
        labels = {formula: energy for formula, energy in new.items() if energy is not None}
        if not labels:
            return
        self._grounds = self._grounds.with_phases(_phases(labels), self.problem.scheme)
        if not refit:
            self._compete(labels)
            return
        if anew:
            labels = {formula: energy for formula, energy in self.asked.items() if energy is not None}
        start = self._first_surrogate if anew else self.models.surrogate
        surrogate = start.refit(self._labels(labels), self._replay(labels, rng), rng)
        self.models = replace(self.models, surrogate=surrogate)
        self._predicted = surrogate.predict(self.candidates, self.problem.scheme)
        self._grounds = self._grounds.predicted_by(surrogate)
        self._hull = self._competitors()  # what competes by prediction has moved, too
        self.competing = self._faced(self.candidates)

    def _competitors(self) -> AnyHull:
        """Known compounds and answers, and what competes with an energy that the present surrogate predicts."""
        scheme, surrogate = self.problem.scheme, self.models.surrogate
        if not self._competes:
            return self._grounds.with_phases((), scheme)
        means = [*self._predicted.mean.tolist(), *surrogate.predict(self._forgotten, scheme).mean.tolist()]
        rows = zip((*self.candidates, *self._forgotten), means, strict=True)
        return self._grounds.with_phases([Phase(formula, energy, predicted=True) for formula, energy in rows], scheme)

    def _faced(self, formulas: Sequence[str]) -> FloatArray:
        """Energies of what competes with some compositions, eV/atom."""
        return -self._hull.energies_above_hull(formulas, np.zeros(len(formulas)))

    def _compete(self, labels: Mapping[str, float]) -> None:
        """Put the finds into the hull; only candidates whose elements hold all of a find's can feel it."""
        self._hull = self._hull.with_phases(_phases(labels), self.problem.scheme)
        present, touched = self._fractions > 0, np.zeros(len(self.candidates), dtype=bool)
        for formula in labels:
            touched |= present[:, fractions_of([amounts(formula)])[0] > 0].all(axis=1)
        rows = np.flatnonzero(touched)
        self.competing[rows] = self._faced([self.candidates[row] for row in rows])

    def _labels(self, labels: Mapping[str, float]) -> Labels:
        ordered = sorted(labels)
        energies = np.array([labels[formula] for formula in ordered])
        return Labels(tuple(ordered), energies, (self.problem.scheme,) * len(ordered))

    def _replay(self, new: Mapping[str, float], rng: np.random.Generator) -> Labels:
        """Labels of earlier batches, and some of the known ones."""
        earlier = {f: e for f, e in self.asked.items() if e is not None and f not in new}
        known = list(self.problem.known)
        drawn = rng.choice(len(known), min(REPLAY, len(known)), replace=False)
        return self._labels({**{known[i]: self.problem.known[known[i]] for i in drawn}, **earlier})


def _phases(energies: Mapping[str, float]) -> list[Phase]:
    return [Phase(formula, energy) for formula, energy in energies.items()]


def log_prior(problem: Problem, generator: Generator | None, formulas: Sequence[str], exchange: bool) -> FloatArray:
    """Log-likelihood of each formula, nats, shape (n,); NaN where there is no language model.

    With `exchange` the mean of two probabilities: of the language model, and of ion exchange in the known compounds.
    """
    if generator is None or not formulas:
        return np.full(len(formulas), np.nan)
    written = generator.log_probability(formulas)
    return mixed(written, exchange_log_probability(problem, formulas)) if exchange else written


def exchange_log_probability(problem: Problem, formulas: Sequence[str]) -> FloatArray:
    """Of ion exchange in the known compounds, nats, shape (n,); -inf where nothing becomes the formula."""
    return exchange_likelihood(tuple(sorted(problem.known))).log_probability(formulas)
