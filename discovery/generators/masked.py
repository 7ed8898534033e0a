"""RoBERTa as a masked language model of compositions: writes by unmasking, completes templates, obeys the grammar.

The family and its size are those of Fu, Wei, Song et al. (Mach. Learn.: Sci. Technol. 4, 015001, 2023); how it is
trained so that it is a distribution over compositions is told in `discovery.generators.masked_network`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import RobertaForMaskedLM

from discovery import decoding, model_files, vocabulary
from discovery.composition import amounts
from discovery.errors import ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.generators.gaps import DEAD, Limits, allowed, draw_elements, refuse_top_p
from discovery.generators.masked_network import (
    ARCHITECTURE,
    MAX_ATOMS,
    LengthDecoder,
    element_log_probability,
    from_config,
    left_to_right_scores,
    log_length,
    masked_loss,
    untrained,
)
from discovery.generators.network import NetworkGenerator, load_parts, own_weights
from discovery.records import Sample
from discovery.templates import Template, accepts, check_fits, keep_accepted
from discovery.training import EpochReport, Hooks, TrainingConfig
from discovery.vocabulary import BLANK, END, FIRST_ELEMENT, MASK

SIZES: Mapping[str, tuple[int, int, int]] = {  # preset -> (layers, width, heads)
    "small": (4, 128, 4),
    "paper": (8, 180, 4),  # as published
}
PRIOR_FORMULAS = 1000.0  # what the lengths learned earlier count as, when a trained model is trained further


def roberta(preset: str) -> MaskedGenerator:
    """A masked model in a preset size; its weights follow torch's global seed."""
    return MaskedGenerator("roberta", untrained(*SIZES[preset]), {"preset": preset})


class MaskedGenerator(NetworkGenerator):
    """A masked language model as a `LanguageModel` and a `Filler`."""

    def training_sequence(self, formula: str) -> list[int]:
        """The atoms of the reduced formula in canonical order, and ``<end>``."""
        return [*vocabulary.encode(amounts(formula)), END]

    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """See `masked_loss`; the length counts as a token, as the causal models count their end token."""
        return masked_loss(network, tokens)

    def fits(self, formula: str) -> bool:
        """True where the formula's log-probability is exact: it has at most `MAX_ATOMS` atoms."""
        return len(self.training_sequence(formula)) - 1 <= MAX_ATOMS

    def config(self) -> Mapping[str, Any]:
        """The configuration of transformers, by which its `AutoModelForMaskedLM` loads the folder, too."""
        return {**self.network.config.to_dict(), "architectures": [ARCHITECTURE]}

    @cached_property
    def version(self) -> str:
        """Family name and a short hash of the weights and of the length histogram."""
        counts = torch.tensor(self.network.config.length_counts, dtype=torch.float64)
        return f"{self.name}-{model_files.short_hash({**own_weights(self.network), 'length_counts': counts})}"

    def fit(
        self,
        train_formulas: Sequence[str],
        valid_formulas: Sequence[str],
        config: TrainingConfig,
        hooks: Hooks | None = None,
    ) -> tuple[Self, list[EpochReport]]:
        """As in `NetworkGenerator`; the lengths of the formulas join the histogram.

        What a trained model knows of lengths counts as `PRIOR_FORMULAS` formulas: a few new ones shift it little.
        """
        counts = np.asarray(self.network.config.length_counts, dtype=np.float64)
        counts *= min(1.0, PRIOR_FORMULAS / max(counts.sum(), 1.0))
        for formula in filter(self.fits, train_formulas):
            counts[len(self.training_sequence(formula)) - 2] += 1
        network = copy.deepcopy(self.network)
        network.config.length_counts = counts.tolist()
        return super(MaskedGenerator, replace(self, network=network)).fit(train_formulas, valid_formulas, config, hooks)

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences; equal for an equal seed and batch size.

        Unmasked in random order, and the log-probability is that of the order drawn, p(n) included. Where
        `options.constrained` or the constraints name elements, written from left to right under the grammar of
        `discovery.decoding`, one length at a time; the grammar may close a sequence before the drawn length where no
        atom can follow. Its log-probability is then that of `log_probability`.
        """
        if decoding.grammar_of(options, MAX_ATOMS).selective:
            return self._under_grammar(n, rng, options)
        refuse_top_p(options)
        limits = Limits.of(options.constraints, MAX_ATOMS, ordered=False)
        lengths = self._draw_lengths(n, rng, (1, limits.atoms))
        canvases = [np.full(length, MASK) for length in lengths]
        return [
            decoding.sample_of([*atoms, END], value)
            for atoms, value in self._unmasked(canvases, (rng, options), limits)
        ]

    def fill(self, template: Template, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` completions, each in canonical order and within the constraints.

        Where a gap takes one or more atoms, the length is drawn from the histogram, and shared out at random.

        Raises:
            ConstraintError: there are none, or too few; see `discovery.templates.keep_accepted`.
        """
        refuse_top_p(options)
        check_fits(template, options.constraints, MAX_ATOMS, constrained=options.constrained)
        limits = Limits.of(options.constraints, MAX_ATOMS, ordered=True)
        accepted = accepts(options.constraints, constrained=options.constrained)

        def fill(rows: int) -> list[list[int]]:
            lengths = self._draw_lengths(rows, rng, (len(template.canvas), limits.atoms))
            canvases = [np.array(closed(template.canvas, length, rng)) for length in lengths]
            return [atoms for atoms, _ in self._unmasked(canvases, (rng, options), limits)]

        kept = keep_accepted(fill, n, accepted, template)
        scores = left_to_right_scores(self.network, kept)
        return [decoding.sample_of([*atoms, END], float(value)) for atoms, value in zip(kept, scores, strict=True)]

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probability of each formula, shape (n,): its length, and its atoms unmasked from left to right.

        The exact likelihood of the model under this order: p(n) times the product of p(x_i | x_1 .. x_i-1, n), all
        later atoms masked. A formula of more than `MAX_ATOMS` atoms gets the mean per token over its first `MAX_ATOMS`
        atoms, read as a whole sequence, times its length.
        """
        return left_to_right_scores(self.network, [self.training_sequence(formula)[:-1] for formula in formulas])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The generator of a model folder.

        Raises:
            WeightsError: a file is missing, truncated, or of another kind of model.
        """
        network, card = load_parts(folder, from_config)
        return cls(str(card.get("model", "roberta")), network, card)

    def _draw_lengths(self, n: int, rng: np.random.Generator, range_: tuple[int, int]) -> list[int]:
        """Numbers of atoms from the histogram within an inclusive range."""
        shortest, longest = range_
        weights = np.exp(log_length(self.network)[shortest - 1 : longest])
        drawn = shortest + rng.choice(len(weights), size=n, p=weights / weights.sum())
        return [int(length) for length in drawn]

    def _unmasked(
        self,
        canvases: Sequence[NDArray[np.int64]],
        chance: tuple[np.random.Generator, SamplingOptions],
        limits: Limits,
    ) -> list[tuple[list[int], float]]:
        """Atoms of each canvas and their log-probability in the order drawn, p(n) included; one length at a time."""
        rng, options = chance
        results: list[tuple[list[int], float]] = [([], 0.0)] * len(canvases)
        lengths = np.array([len(canvas) for canvas in canvases])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            of_length = float(log_length(self.network)[length - 1])
            for start in range(0, len(rows), options.batch_size):
                chunk = rows[start : start + options.batch_size]
                canvas = np.stack([canvases[row] for row in chunk])
                atoms, values = unmask(self.network, canvas, (rng, options.temperature), limits)
                for row, found, value in zip(chunk, atoms.tolist(), values.tolist(), strict=True):
                    results[row] = (found, of_length + value)
        return results

    def _under_grammar(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        shortest = _shortest(options)
        lengths = np.array(self._draw_lengths(n, rng, (shortest, min(MAX_ATOMS, options.constraints.max_atoms))))
        samples: dict[int, Sample] = {}
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            decoder = LengthDecoder(self.network, int(length))
            samples |= dict(zip(rows, decoding.sample(decoder, len(rows), rng, options), strict=True))
        ordered = [samples[row] for row in range(n)]
        atoms = [[vocabulary.TOKENS.index(token) for token in sample.sequence.split()[:-1]] for sample in ordered]
        scores = left_to_right_scores(self.network, atoms)
        return [replace(sample, log_probability=float(v)) for sample, v in zip(ordered, scores, strict=True)]


@torch.inference_mode()
def unmask(
    network: RobertaForMaskedLM,
    canvas: NDArray[np.int64],
    chance: tuple[np.random.Generator, float],
    limits: Limits,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Replace every MASK by an element, one per row and step, in random order.

    Args:
        network: the model.
        canvas: atoms and MASK, shape (rows, atoms), equally many masks in each row.
        chance: source of randomness and temperature.
        limits: honoured at every step; `DEAD` is written where no element may stand.

    Returns:
        The atoms, shape (rows, atoms), and the log-probability (temperature 1) of those that were drawn, shape (rows,).
    """
    rng, temperature = chance
    rows = np.arange(len(canvas))
    order = np.where(canvas == MASK, rng.random(canvas.shape), np.inf).argsort(axis=1)
    canvas, totals = canvas.copy(), np.zeros(len(canvas))
    for step in range(int((canvas[0] == MASK).sum())):
        places = order[:, step]
        log_what = element_log_probability(network, canvas, places)
        drawn = draw_elements(log_what / temperature, allowed(canvas, places, limits), rng)
        canvas[rows, places] = drawn
        totals += np.where(drawn == DEAD, -np.inf, log_what[rows, np.maximum(drawn - FIRST_ELEMENT, 0)])
    return canvas, totals


def closed(canvas: Sequence[int], length: int, rng: np.random.Generator) -> list[int]:
    """A template's canvas with one or more MASKs for each BLANK, so that it has `length` atoms if there is a BLANK."""
    blanks = [index for index, token in enumerate(canvas) if token == BLANK]
    extra = np.zeros(len(canvas), dtype=np.int64)
    if blanks:
        np.add.at(extra, rng.choice(blanks, size=length - len(canvas)), 1)
    whole: list[int] = []
    for token, more in zip(canvas, extra.tolist(), strict=True):
        whole += [MASK] * (1 + more) if token == BLANK else [token]
    return whole


def _shortest(options: SamplingOptions) -> int:
    """The smallest number of atoms in which anything can be written under the grammar, 2 at least."""
    for atoms in range(2, min(MAX_ATOMS, options.constraints.max_atoms)):
        try:
            decoding.grammar_of(options, atoms)
        except ConstraintError:
            continue
        return atoms
    return min(MAX_ATOMS, options.constraints.max_atoms)
