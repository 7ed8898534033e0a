"""Sampling from a language model of compositions: batched, seeded, with a key-value cache, under a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from discovery import vocabulary
from discovery.charge_grammar import charge_grammar
from discovery.errors import ConfigError
from discovery.generators.base import SamplingOptions
from discovery.grammar import FreeGrammar, Grammar
from discovery.records import Sample
from discovery.vocabulary import END, START

EFFECTIVE = 0.2  # smallest share of rows that may carry the weight; higher costs distinct samples


class Decoder(Protocol):
    """A language model as decoding sees it: it reads one token per row and step and keeps what it has read."""

    @property
    def max_atoms(self) -> int:
        """Atoms that fit into its context beside start and end token."""

    def begin(self) -> None:
        """Forget everything."""

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the next token, shape (rows, vocabulary), after one more token in each row, shape (rows,)."""

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows only, in this order."""


@dataclass(frozen=True)
class _Row:
    """A sequence that is being written."""

    state: Any  # of the grammar
    tokens: tuple[int, ...] = ()
    log_probability: float = 0.0
    log_weight: float = 0.0  # logarithm of the model's (scored) mass on the allowed tokens, summed over the steps

    @property
    def finished(self) -> bool:
        return self.tokens[-1:] == (END,)


def grammar_of(options: SamplingOptions, max_atoms: int) -> Grammar[Any]:
    """The grammar that sampling options ask for.

    Raises:
        ConstraintError: nothing can be written within them.
    """
    if options.constrained:
        return charge_grammar(options.constraints, max_atoms)
    return FreeGrammar(options.constraints, max_atoms)


def sample(decoder: Decoder, n: int, rng: np.random.Generator, options: SamplingOptions) -> list[Sample]:
    """Exactly `n` sequences in the order in which they were started.

    A sequence's log-probability is the model's own (temperature 1, no mask) for the tokens that were drawn, so that it
    compares with the likelihood of any other formula whatever the grammar allowed.
    """
    if not options.temperature > 0 or options.batch_size < 1 or n < 0:
        raise ConfigError("sampling needs a temperature above 0, a batch size of 1 or more and n of 0 or more")
    grammar = grammar_of(options, decoder.max_atoms)
    samples: list[Sample] = []
    while len(samples) < n:
        rows = min(options.batch_size, n - len(samples))
        samples += _sample_batch(decoder, rows, grammar, rng, options.temperature)
    return samples


def _sample_batch(
    decoder: Decoder, n: int, grammar: Grammar[Any], rng: np.random.Generator, temperature: float
) -> list[Sample]:
    decoder.begin()
    rows = [_Row(grammar.start())] * n
    reading = np.arange(n)  # the rows that the decoder follows, in its order
    while len(reading):
        last = np.array([(rows[index].tokens or (START,))[-1] for index in reading], dtype=np.int64)
        logits = decoder.step(last).astype(np.float64)
        for index, row in zip(
            reading, _extended([rows[i] for i in reading], logits, grammar, (rng, temperature)), strict=True
        ):
            rows[index] = row
        weights = np.array([row.log_weight for row in rows])
        origins = survivors(weights, rng) if grammar.selective else None
        if origins is not None:
            rows = [replace(rows[origin], log_weight=0.0) for origin in origins]
        reading = _follow(decoder, rows, reading, origins)
    return [sample_of(row.tokens, row.log_probability) for row in rows]


def _extended(
    rows: list[_Row], logits: NDArray[np.float64], grammar: Grammar[Any], chance: tuple[np.random.Generator, float]
) -> list[_Row]:
    """The rows after one more token each."""
    rng, temperature = chance
    scores = np.stack([grammar.scores(row.state) for row in rows])
    scored = _log_softmax(logits / temperature) + scores
    tokens = draw(scored, rng)
    own = _log_softmax(logits)[np.arange(len(rows)), tokens]
    mass = np.exp(scored).sum(axis=1)
    return [
        _Row(
            row.state if token == END else grammar.advance(row.state, token),
            (*row.tokens, token),
            row.log_probability + value,
            row.log_weight + log_mass,
        )
        for row, token, value, log_mass in zip(rows, tokens.tolist(), own.tolist(), np.log(mass).tolist(), strict=True)
    ]


def survivors(log_weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64] | None:
    """Which row each row goes on as; None where the weights are even enough to leave all as they are.

    Masking alone follows the model only one token far: under ``--chemsys Li-Fe-P-O`` it would write ``Li Li Li ...``,
    since the model wants other elements after each prefix and what is left of its mass is shared out anew. A row's
    weight is the mass that was allowed at its steps (with the bonus of elements still required, which every complete
    sequence has collected alike); where the effective number of rows falls below `EFFECTIVE`, rows are drawn again in
    proportion to it, so that the sequences approach the model's own distribution under the constraints: twisted
    sequential Monte Carlo with systematic resampling (Doucet & Johansen 2009). Free sampling never gets there.
    """
    weights = np.exp(log_weights - log_weights.max())
    if weights.sum() ** 2 >= EFFECTIVE * len(weights) * (weights**2).sum():
        return None
    points = (rng.random() + np.arange(len(weights))) / len(weights)
    origins = np.searchsorted(weights.cumsum() / weights.sum(), points, side="right")
    return np.minimum(origins, len(weights) - 1)  # rounding may leave the last sum below 1


def _follow(
    decoder: Decoder, rows: list[_Row], reading: NDArray[np.int64], origins: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Point the decoder at the unfinished rows; returns them."""
    unfinished = np.array([index for index, row in enumerate(rows) if not row.finished], dtype=np.int64)
    position = {int(index): place for place, index in enumerate(reading)}
    sources = unfinished if origins is None else origins[unfinished]
    places = np.array([position[int(source)] for source in sources], dtype=np.int64)
    if len(places) and not np.array_equal(places, np.arange(len(reading))):
        decoder.keep(places)
    return unfinished


def draw(logits: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One token per row from the softmax of logits of shape (rows, vocabulary); minus infinity is never drawn.

    By the inverse of the cumulative distribution: one uniform number per row, whatever the row allows.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    cumulative = weights.cumsum(axis=1)
    total = cumulative[:, -1:]
    # strictly between 0 and the total also after rounding, so that a token of weight zero is never reached
    points = np.minimum(rng.random((len(logits), 1)) * total, np.nextafter(total, 0.0))
    return np.asarray((cumulative > points).argmax(axis=1), dtype=np.int64)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def sample_of(tokens: Sequence[int], log_probability: float) -> Sample:
    """The sample of a finished sequence of token ids, ``<end>`` included where it was drawn."""
    amounts = vocabulary.amounts_of(tokens)
    formula = None if amounts is None else vocabulary.formula_text(amounts)
    return Sample(vocabulary.sequence_text(tokens), formula, log_probability)
