"""The blank language model of compositions (BLMM): writes in any order, completes templates, obeys the charge grammar.

After Shen et al. 2020 and Wei et al. 2022, see `discovery.generators.blank_network`. Two ways of writing:

- *In its own order* (free sampling, templates): a blank, an element and new blanks are drawn until no blank is left.
- *From left to right* (likelihood, constrained decoding): see `discovery.generators.blank_likelihood`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from discovery import decoding, vocabulary
from discovery.composition import amounts
from discovery.generators.base import SamplingOptions
from discovery.generators.blank_likelihood import LeftToRightDecoder, left_to_right_scores, to_numpy, to_tensor
from discovery.generators.blank_network import BlankConfig, BlankNetwork, blank_loss
from discovery.generators.gaps import DEAD, Limits, allowed, draw_elements, refuse_top_p
from discovery.generators.network import NetworkGenerator, load_parts
from discovery.records import Sample
from discovery.templates import Template, accepts, check_fits, keep_accepted
from discovery.vocabulary import BLANK, END, FIRST_ELEMENT, MASK, PAD

ARCHITECTURE = "BlankNetwork"
SIZES: Mapping[str, BlankConfig] = {
    "small": BlankConfig(layers=4, width=128, heads=4),
    "paper": BlankConfig(layers=6, width=512, heads=8),  # as published
}


def blmm(preset: str) -> BlankGenerator:
    """A blank language model in a preset size; its weights follow torch's global seed."""
    return BlankGenerator("blmm", BlankNetwork(SIZES[preset]).eval(), {"preset": preset})


class BlankGenerator(NetworkGenerator):
    """A blank language model as a `LanguageModel` and a `Filler`."""

    def training_sequence(self, formula: str) -> list[int]:
        """The atoms of the reduced formula in canonical order; the canvas needs neither start nor end."""
        return vocabulary.encode(amounts(formula))

    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """See `blank_loss`; a sequence counts its atoms and one more, as the causal models count their end token."""
        return blank_loss(network, tokens)  # type: ignore[arg-type]

    @property
    def max_atoms(self) -> int:
        """Atoms that a canvas holds beside a blank."""
        return int(self.network.config.positions) - 1

    def fits(self, formula: str) -> bool:
        """True where the formula's log-probability is exact: its atoms fit into the canvas."""
        return len(self.training_sequence(formula)) <= self.max_atoms

    def config(self) -> Mapping[str, Any]:
        """`BlankConfig`, and the name of the network."""
        return {"architectures": [ARCHITECTURE], **asdict(self.network.config)}

    def sample(self, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` raw sequences; equal for an equal seed and batch size.

        Written in the model's own order; from left to right, under the grammar of `discovery.decoding`, where
        `options.constrained` or the constraints name elements. Either way the log-probability of a sequence is that of
        `log_probability`, for its tokens as they were written.
        """
        if decoding.grammar_of(options, self.max_atoms).selective:
            return decoding.sample(LeftToRightDecoder(self.network, self.max_atoms), n, rng, options)
        refuse_top_p(options)
        limits = Limits.of(options.constraints, self.max_atoms, ordered=False)
        drawn = self._in_own_order((BLANK,), n, (rng, options), limits)
        return self._scored(drawn)

    def fill(self, template: Template, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
        """Exactly `n` completions, each in canonical order and within the constraints.

        Raises:
            ConstraintError: there are none, or too few; see `discovery.templates.keep_accepted`.
        """
        refuse_top_p(options)
        check_fits(template, options.constraints, self.max_atoms, constrained=options.constrained)
        limits = Limits.of(options.constraints, self.max_atoms, ordered=True)
        accepted = accepts(options.constraints, constrained=options.constrained)

        def fill(rows: int) -> list[list[int]]:
            return self._in_own_order(template.canvas, rows, (rng, options), limits)

        return self._scored(keep_accepted(fill, n, accepted, template))

    def log_probability(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        """Natural log-probability of each formula written from left to right, end included, shape (n,).

        A formula longer than the canvas gets the mean per atom over the part that fits times its length.
        """
        return left_to_right_scores(self.network, [self.training_sequence(formula) for formula in formulas])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The generator of a model folder.

        Raises:
            WeightsError: a file is missing, truncated, or of another kind of model.
        """
        network, card = load_parts(folder, _from_config)
        return cls(str(card.get("model", "blmm")), network, card)

    def _in_own_order(
        self,
        canvas: Sequence[int],
        n: int,
        chance: tuple[np.random.Generator, SamplingOptions],
        limits: Limits,
    ) -> list[list[int]]:
        rng, options = chance
        drawn: list[list[int]] = []
        while len(drawn) < n:
            rows = np.tile(np.array(canvas, dtype=np.int64), (min(options.batch_size, n - len(drawn)), 1))
            drawn += write(self.network, rows, (rng, options.temperature), limits)
        return drawn

    def _scored(self, sequences: Sequence[list[int]]) -> list[Sample]:
        living = [atoms for atoms in sequences if DEAD not in atoms]
        scores = iter(left_to_right_scores(self.network, living))
        values = [-np.inf if DEAD in atoms else float(next(scores)) for atoms in sequences]
        return [decoding.sample_of([*atoms, END], value) for atoms, value in zip(sequences, values, strict=True)]


@torch.inference_mode()
def write(
    network: BlankNetwork, canvas: NDArray[np.int64], chance: tuple[np.random.Generator, float], limits: Limits
) -> list[list[int]]:
    """Fill blanks in the model's own order until none is left.

    Args:
        network: the model.
        canvas: token ids, shape (rows, length); BLANK takes one or more atoms, MASK exactly one.
        chance: source of randomness and temperature.
        limits: honoured at every step; a row without any element to write gets `DEAD` in its place.

    Returns:
        Token ids of the atoms of each row.
    """
    done: list[list[int]] = [[]] * len(canvas)
    active = np.arange(len(canvas))
    while len(active):
        canvas = _fill_one(network, canvas, chance, limits)
        finished = ~((canvas == BLANK) | (canvas == MASK)).any(axis=1)
        for row, atoms in zip(active[finished], canvas[finished], strict=True):
            done[row] = atoms[atoms != PAD].tolist()
        active, canvas = active[~finished], canvas[~finished]
    return done


def _fill_one(
    network: BlankNetwork, canvas: NDArray[np.int64], chance: tuple[np.random.Generator, float], limits: Limits
) -> NDArray[np.int64]:
    """The canvases after one action each."""
    rng, temperature = chance
    rows = np.arange(len(canvas))
    seen = to_tensor(np.where(canvas == MASK, BLANK, canvas), network)
    states = network(seen, torch.zeros(len(canvas), dtype=torch.bool, device=seen.device))
    places = decoding.draw(to_numpy(network.log_where(states, seen == BLANK)) / temperature, rng)
    chosen = states[to_tensor(rows, network), to_tensor(places, network)]
    what = to_numpy(network.log_what(chosen)) / temperature
    words = draw_elements(what, allowed(canvas, places, limits), rng)
    log_sides = to_numpy(network.log_sides(chosen, to_tensor(np.maximum(words - FIRST_ELEMENT, 0), network)))
    room = limits.atoms - (canvas != PAD).sum(axis=1)
    room[(canvas[rows, places] == MASK) | (words == DEAD)] = 0
    new_blanks = np.array([0, 1, 1, 2])
    sides = decoding.draw(np.where(new_blanks <= room[:, None], log_sides / temperature, -np.inf), rng)
    return insert(canvas, places, words, sides)


def insert(
    canvas: NDArray[np.int64], places: NDArray[np.int64], words: NDArray[np.int64], sides: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Canvases (rows, length) with the token at each row's place replaced by [BLANK] word [BLANK], as `sides` says."""
    rows = np.arange(len(canvas))
    wide = np.full((*canvas.shape, 3), PAD, dtype=np.int64)  # room on both sides of each token
    wide[:, :, 1] = canvas
    wide[rows, places, 1] = words
    wide[rows, places, 0] = np.where(sides & 2, BLANK, PAD)
    wide[rows, places, 2] = np.where(sides & 1, BLANK, PAD)
    flat = wide.reshape(len(canvas), -1)
    order = (flat == PAD).argsort(axis=1, kind="stable")
    longest = int((flat != PAD).sum(axis=1).max(initial=0))
    return np.take_along_axis(flat, order, axis=1)[:, :longest]


def _from_config(architecture: str, config: dict[str, Any]) -> BlankNetwork | None:
    if architecture != ARCHITECTURE:
        return None
    named = [field.name for field in fields(BlankConfig) if field.name in config]  # older folders lack later fields
    return BlankNetwork(BlankConfig(**{name: config[name] for name in named}))
