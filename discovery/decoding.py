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
from discovery.grammar import FreeGrammar, Grammar, TiltedGrammar
from discovery.records import Sample
from discovery.vocabulary import END, SIZE, START

NOTHING = -1  # no token, no prefix
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
        """Go on with these rows only, in this order; a row may occur several times."""


@dataclass(frozen=True)
class _Rows:
    """Sequences that are being written."""

    tokens: NDArray[np.int64]  # shape (rows, steps), NOTHING after the end
    log_probability: NDArray[np.float64]
    log_weight: NDArray[np.float64]  # logarithm of the model's (scored) mass on the allowed tokens, summed over steps
    prefix: NDArray[np.int64]  # which of the prefixes each row continues; NOTHING for a finished one

    def of(self, origins: NDArray[np.int64]) -> _Rows:
        """Other rows instead, with even weights."""
        even = np.zeros(len(origins))
        return _Rows(self.tokens[origins], self.log_probability[origins], even, self.prefix[origins])


@dataclass(frozen=True)
class _Prefixes:
    """The distinct beginnings of all unfinished rows, in the order in which the decoder follows them."""

    states: list[Any]  # of the grammar
    last: NDArray[np.int64]  # token of each


def grammar_of(options: SamplingOptions, max_atoms: int) -> Grammar[Any]:
    """The grammar that sampling options ask for.

    Raises:
        ConstraintError: nothing can be written within them.
    """
    grammar: Grammar[Any] = FreeGrammar(options.constraints, max_atoms)
    if options.constrained:
        grammar = charge_grammar(options.constraints, max_atoms)
    return TiltedGrammar(grammar, options.element_scores) if options.element_scores else grammar


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
    """One batch. Rows with the same beginning share it: the decoder reads each distinct prefix once.

    That spares a quarter of the products at 512 rows, since all begin alike and few elements come first; the draws are
    the same, one random number per row and step.
    """
    decoder.begin()
    rows = _Rows(np.zeros((n, 0), dtype=np.int64), np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64))
    prefixes = _Prefixes([grammar.start()], np.array([START]))
    while len(prefixes.states):
        logits = decoder.step(prefixes.last).astype(np.float64)
        rows = _extended(rows, logits, np.stack([grammar.scores(state) for state in prefixes.states]), rng, temperature)
        origins = survivors(rows.log_weight, rng) if grammar.selective else None
        rows = rows if origins is None else rows.of(origins)
        rows, prefixes = _branched(rows, prefixes, grammar, decoder)
    return [
        sample_of(tokens[tokens != NOTHING].tolist(), float(value))
        for tokens, value in zip(rows.tokens, rows.log_probability, strict=True)
    ]


def _extended(
    rows: _Rows, logits: NDArray[np.float64], scores: NDArray[np.float64], rng: np.random.Generator, temperature: float
) -> _Rows:
    """The rows after one more token each; logits and scores are those of the prefixes, shape (prefixes, vocabulary)."""
    scored = _log_softmax(logits / temperature) + scores
    log_mass = np.log(np.exp(scored).sum(axis=1))
    unfinished = np.flatnonzero(rows.prefix != NOTHING)
    which = rows.prefix[unfinished]
    drawn = draw(scored[which], rng)
    tokens = np.full((len(rows.tokens), 1), NOTHING)
    tokens[unfinished, 0] = drawn
    log_probability, log_weight = rows.log_probability.copy(), rows.log_weight.copy()
    log_probability[unfinished] += _log_softmax(logits)[which, drawn]
    log_weight[unfinished] += log_mass[which]
    return _Rows(np.hstack([rows.tokens, tokens]), log_probability, log_weight, rows.prefix)


def _branched(rows: _Rows, prefixes: _Prefixes, grammar: Grammar[Any], decoder: Decoder) -> tuple[_Rows, _Prefixes]:
    """The distinct prefixes of the rows after their last token, which the decoder then follows."""
    last = rows.tokens[:, -1]
    unfinished = np.flatnonzero((last != NOTHING) & (last != END))
    pairs, which = np.unique(rows.prefix[unfinished] * SIZE + last[unfinished], return_inverse=True)
    parents, tokens = np.divmod(pairs, SIZE)
    if len(parents) and not np.array_equal(parents, np.arange(len(prefixes.states))):
        decoder.keep(parents)
    states = [
        grammar.advance(prefixes.states[parent], token) for parent, token in zip(parents, tokens.tolist(), strict=True)
    ]
    prefix = np.full(len(last), NOTHING)
    prefix[unfinished] = which
    return replace(rows, prefix=prefix), _Prefixes(states, tokens)


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
