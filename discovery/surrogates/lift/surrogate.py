"""A language model that answers with energies, as a `Surrogate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from discovery.errors import SchemeError
from discovery.model_files import CARD, CONFIG, short_hash, write_json, write_weights
from discovery.surrogates.base import FloatArray, Labels, Prediction
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.drift import Watch
from discovery.surrogates.ensemble import lossless_half
from discovery.surrogates.features import encode
from discovery.surrogates.lift.base import Answerer, Answers, Example, examples_of
from discovery.surrogates.lift.refit import refit_answerer
from discovery.surrogates.recalibration import nearest_scheme, unseen_std, watched

KIND = "language-interfaced"
COUNTS = "element_counts"


@dataclass(frozen=True)
class Asked:
    """How a scheme is asked for."""

    scheme: str  # in the question
    offset: float  # eV/atom, added to the answer


@dataclass(frozen=True)
class Prior:
    """Labels of the training: what is said where no answer was a number."""

    mean: float  # eV/atom
    std: float  # eV/atom


@dataclass(frozen=True)
class LiftSurrogate:
    """Formation energies as the answers of a language model. Immutable."""

    answerer: Answerer
    calibrations: Mapping[str, SchemeCalibration]
    element_counts: Tensor  # (103,), training compositions that hold each element
    prior: Prior
    asked: Mapping[str, Asked]  # scheme -> how it is asked for; learned ones come last
    name: str = "lift"
    card: Mapping[str, object] = field(default_factory=dict)
    watches: Mapping[str, Watch] = field(default_factory=dict)  # of the calibration of schemes that got labels

    @property
    def schemes(self) -> tuple[str, ...]:
        """Trained schemes, then learned offsets."""
        return tuple(self.asked)

    @cached_property
    def version(self) -> str:
        """Name and a short hash of weights and offsets."""
        return f"{self.name}-{short_hash(self._tensors())}"

    def answers(self, formulas: Sequence[str], scheme: str) -> Answers:
        """What the language model says, uncalibrated, and how many answers were no number.

        Raises:
            SchemeError: an unknown scheme.
            CompositionError: a formula that is no composition.
        """
        self._check(scheme)
        answers = self.answerer.answers(formulas, self.asked[scheme].scheme)
        return replace(answers, centre=answers.centre + self.asked[scheme].offset)

    def predict(self, formulas: Sequence[str], scheme: str) -> Prediction:
        """Calibrated prediction: the median of the answers is the `mean`, their spread the aleatoric part.

        The epistemic part is that of elements without training data, and where no answer was a number, for which the
        mean of the training labels stands, their standard deviation.
        """
        return self.calibrated(self.answers(formulas, scheme), formulas, scheme)

    def calibrated(self, answers: Answers, formulas: Sequence[str], scheme: str) -> Prediction:
        """The prediction that answers to these questions amount to."""
        silent = np.isnan(answers.centre)
        aleatoric = self.calibrations[scheme].apply(answers.spread, answers.spread)[1]
        unseen = unseen_std(self.element_counts, encode(formulas)) if len(formulas) else np.zeros(0)
        return Prediction(
            np.where(silent, self.prior.mean, answers.centre),
            np.where(silent, self.prior.std, unseen),
            np.where(silent, 0.0, aleatoric),
        )

    def interval(self, scheme: str, level: float) -> float:
        """Half-width of the central interval in units of the total std: errors follow Student's t, not a normal."""
        self._check(scheme)
        return self.calibrations[scheme].interval(level)

    def recalibrated(self, new: Labels) -> tuple[LiftSurrogate, dict[str, float]]:
        """The surrogate after a look at labels that it has not learned, and what was seen.

        Beside what `recalibration.watched` reports: `unreadable_answers`, the share that was no number.
        """
        calibrations, watches, seen = watched(self, self.calibrations, self.watches, new)
        if seen:
            seen |= {"unreadable_answers": self._unreadable(new)}
        return replace(self, calibrations=calibrations, watches=watches), seen

    def refit(self, new: Labels, replay: Labels, rng: np.random.Generator) -> LiftSurrogate:
        """A new surrogate that learned `new` beside `replay`; the calibration stays (see `recalibrated`)."""
        if not new.formulas:
            return self
        extended = self._with_schemes(sorted(set(new.schemes) - set(self.schemes)), new)
        fresh, old = (extended.examples(labels) for labels in (new, replay))
        answerer = refit_answerer(extended.answerer, fresh, old, rng)
        return replace(extended, answerer=answerer, card={**self.card, "refitted_from": self.version})

    def examples(self, labels: Labels) -> list[Example]:
        """Labels as questions and answers; those of schemes that are not known are left out."""
        known = (example for example in examples_of(labels) if example.scheme in self.asked)
        ways = ((example, self.asked[example.scheme]) for example in known)
        return [Example(example.formula, way.scheme, example.energy - way.offset) for example, way in ways]

    def on(self, device: str) -> LiftSurrogate:
        """The same surrogate computing on `device`, such as "cuda"; itself where it lies there already."""
        if self.answerer.device == torch.device(device):
            return self
        return replace(self, answerer=self.answerer.on(device))

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` (half precision where that loses nothing), `config.json` and `card.json`."""
        config = {
            "kind": KIND,
            "name": self.name,
            "answerer": {"kind": self.answerer.kind, **self.answerer.config()},
            "asked": {scheme: asdict(way) for scheme, way in self.asked.items()},
            "prior": asdict(self.prior),
            "calibration": {scheme: values.to_dict() for scheme, values in self.calibrations.items()},
            "watches": {scheme: asdict(watch) for scheme, watch in self.watches.items()},
            "version": self.version,
        }
        stored = {**self.answerer.tensors(), COUNTS: self.element_counts}
        write_weights(folder, {key: lossless_half(value) for key, value in stored.items()})
        write_json(folder / CONFIG, config)
        write_json(folder / CARD, self.card)

    def _unreadable(self, labels: Labels) -> float:
        """Share of answers about labelled compositions that was no number."""
        asked = list(zip(labels.schemes, labels.formulas, strict=True))
        wrong = total = 0
        for scheme in sorted(set(labels.schemes) & set(self.schemes)):
            answers = self.answers([formula for name, formula in asked if name == scheme], scheme)
            wrong += int(answers.unreadable.sum())
            total += answers.asked * len(answers.unreadable)
        return wrong / total if total else 0.0

    def _check(self, scheme: str) -> None:
        if scheme not in self.asked:
            raise SchemeError(f"the surrogate does not know scheme {scheme!r}: use one of {', '.join(self.schemes)}")

    def _with_schemes(self, schemes: Sequence[str], new: Labels) -> LiftSurrogate:
        """One more scheme for each name: asked for as the nearest known one, plus a constant offset."""
        surrogate = self
        for scheme in schemes:
            rows = [i for i, name in enumerate(new.schemes) if name == scheme]
            formulas, energies = [new.formulas[i] for i in rows], new.formation_energy_per_atom[rows]
            known = surrogate.schemes
            place, offset = nearest_scheme(surrogate._means(formulas), known, energies)
            near = surrogate.asked[known[place]]
            surrogate = replace(
                surrogate,
                asked={**surrogate.asked, scheme: Asked(near.scheme, near.offset + offset)},
                calibrations={**surrogate.calibrations, scheme: surrogate.calibrations[known[place]]},
            )
        return surrogate

    def _means(self, formulas: Sequence[str]) -> Callable[[str], FloatArray]:
        """Scheme -> predicted means of these formulas, eV/atom."""
        return lambda scheme: self.predict(formulas, scheme).mean

    def _tensors(self) -> dict[str, Tensor]:
        offsets = torch.tensor([way.offset for way in self.asked.values()], dtype=torch.float64)
        return {**self.answerer.tensors(), COUNTS: self.element_counts, "offsets": offsets}
