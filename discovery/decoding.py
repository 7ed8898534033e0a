"""Sampling from a language model of compositions: batched, seeded, with a key-value cache, under a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from discovery import vocabulary
from discovery.charge_grammar import charge_grammar
from discovery.errors import ConfigError, DiscoveryError
from discovery.generators.base import SamplingOptions
from discovery.grammar import FreeGrammar, Grammar, TiltedGrammar
from discovery.records import Sample
from discovery.vocabulary import END, SIZE, START

TOGETHER = 2048  # rows of several orders that the network reads in one step: bounds its memory
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
    [found] = sample_together(decoder, [Order(n, rng, options)])
    if isinstance(found, DiscoveryError):
        raise found
    return found


@dataclass(frozen=True)
class Order:
    """One request for samples among several that are decoded together."""

    n: int
    rng: np.random.Generator
    options: SamplingOptions


def sample_together(decoder: Decoder, orders: Sequence[Order]) -> list[list[Sample] | DiscoveryError]:
    """The samples of each order; where one cannot be met, its error as a value.

    The network reads the rows of all orders in one step. Each order draws from its own `rng`, in the same sequence as
    alone, so only the last digits of the network's sums can tell whether it was alone: for equal samples in any company
    use a network in double precision (`discovery.generators.together`).
    """
    found: list[list[Sample] | DiscoveryError] = []
    open_orders: list[_Stream] = []
    for order in orders:
        try:
            stream = _Stream(order, _checked_grammar(order, decoder.max_atoms))
            open_orders.append(stream)
            found.append(stream.samples)
        except DiscoveryError as error:
            found.append(error)
    while open_orders := [stream for stream in open_orders if stream.missing]:
        _sample_batch(decoder, _batch_of(open_orders))
    return found


def _checked_grammar(order: Order, max_atoms: int) -> Grammar[Any]:
    options = order.options
    if not options.temperature > 0 or options.batch_size < 1 or order.n < 0:
        raise ConfigError("sampling needs a temperature above 0, a batch size of 1 or more and n of 0 or more")
    if not 0 < options.top_p <= 1:
        raise ConfigError(f"top-p {options.top_p} is a share of the mass: give a value above 0, at most 1")
    return grammar_of(options, max_atoms)


class _Stream:
    """An order that is being worked on.

    Rows with the same beginning share it: the decoder reads each distinct prefix once. That spares a quarter of the
    products at 512 rows, since all begin alike and few elements come first; the draws are the same, one random number
    per row and step.
    """

    def __init__(self, order: Order, grammar: Grammar[Any]) -> None:
        self.samples: list[Sample] = []
        self._order = order
        self._grammar = grammar
        self._rows = _fresh_rows(0)
        self.prefixes = _Prefixes([], np.arange(0))  # those that the decoder follows, in its order

    @property
    def missing(self) -> int:
        """Samples still to be written."""
        return self._order.n - len(self.samples)

    @property
    def next_size(self) -> int:
        """Rows of its next batch."""
        return min(self._order.options.batch_size, self.missing)

    def begin(self) -> None:
        """Start the next batch."""
        self._rows = _fresh_rows(self.next_size)
        self.prefixes = _Prefixes([self._grammar.start()], np.array([START]))

    def extend(self, logits: NDArray[np.float64]) -> NDArray[np.int64]:
        """One token more in each unfinished row; returns which prefixes the decoder goes on with.

        Args:
            logits: of the prefixes, shape (prefixes, vocabulary).
        """
        rng, grammar = self._order.rng, self._grammar
        scores = np.stack([grammar.scores(state) for state in self.prefixes.states])
        rows = _extended(self._rows, logits, scores, rng, self._order.options)
        origins = survivors(rows.log_weight, rng) if grammar.selective else None
        rows = rows if origins is None else rows.of(origins)
        self._rows, self.prefixes, parents = _branched(rows, self.prefixes, grammar)
        return parents

    def finish(self) -> None:
        """Keep the batch's samples."""
        self.samples += [
            sample_of(tokens[tokens != NOTHING].tolist(), float(value))
            for tokens, value in zip(self._rows.tokens, self._rows.log_probability, strict=True)
        ]


def _fresh_rows(n: int) -> _Rows:
    """Rows that all continue the first prefix."""
    return _Rows(np.zeros((n, 0), dtype=np.int64), np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64))


def _batch_of(streams: Sequence[_Stream]) -> list[_Stream]:
    """The first streams whose next batches fit together; one at least."""
    sizes = np.cumsum([stream.next_size for stream in streams])
    return list(streams[: max(1, int((sizes <= TOGETHER).sum()))])


def _sample_batch(decoder: Decoder, streams: Sequence[_Stream]) -> None:
    """The next batch of each stream."""
    decoder.begin()
    for stream in streams:
        stream.begin()
    while active := [stream for stream in streams if len(stream.prefixes.states)]:
        tokens = np.concatenate([stream.prefixes.last for stream in active])
        starts = np.cumsum([0, *(len(stream.prefixes.last) for stream in active)])
        parts = np.split(decoder.step(tokens).astype(np.float64), starts[1:-1])
        kept = [start + stream.extend(part) for start, stream, part in zip(starts[:-1], active, parts, strict=True)]
        places = np.concatenate(kept)
        if len(places) and not np.array_equal(places, np.arange(len(tokens))):
            decoder.keep(places)
    for stream in streams:
        stream.finish()


def _extended(
    rows: _Rows,
    logits: NDArray[np.float64],
    scores: NDArray[np.float64],
    rng: np.random.Generator,
    options: SamplingOptions,
) -> _Rows:
    """The rows after one more token each; logits and scores are those of the prefixes, shape (prefixes, vocabulary)."""
    scored = _log_softmax(logits / options.temperature) + scores
    log_mass = np.log(np.exp(scored).sum(axis=1))
    scored = nucleus(scored, options.top_p)
    unfinished = np.flatnonzero(rows.prefix != NOTHING)
    which = rows.prefix[unfinished]
    drawn = draw(scored[which], rng)
    tokens = np.full((len(rows.tokens), 1), NOTHING)
    tokens[unfinished, 0] = drawn
    log_probability, log_weight = rows.log_probability.copy(), rows.log_weight.copy()
    log_probability[unfinished] += _log_softmax(logits)[which, drawn]
    log_weight[unfinished] += log_mass[which]
    return _Rows(np.hstack([rows.tokens, tokens]), log_probability, log_weight, rows.prefix)


def _branched(rows: _Rows, prefixes: _Prefixes, grammar: Grammar[Any]) -> tuple[_Rows, _Prefixes, NDArray[np.int64]]:
    """The distinct prefixes of the rows after their last token, and which former prefix each of them continues."""
    last = rows.tokens[:, -1]
    unfinished = np.flatnonzero((last != NOTHING) & (last != END))
    pairs, which = np.unique(rows.prefix[unfinished] * SIZE + last[unfinished], return_inverse=True)
    parents, tokens = np.divmod(pairs, SIZE)
    states = [
        grammar.advance(prefixes.states[parent], token) for parent, token in zip(parents, tokens.tolist(), strict=True)
    ]
    prefix = np.full(len(last), NOTHING)
    prefix[unfinished] = which
    return replace(rows, prefix=prefix), _Prefixes(states, tokens), parents


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


def nucleus(logits: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    """Logits of shape (rows, vocabulary), minus infinity outside the likeliest tokens with the share `top_p` together.

    The token that reaches the share is kept, so that one is always left (Holtzman et al., ICLR 2020).
    """
    if top_p >= 1:
        return logits
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    order = np.argsort(-weights, axis=1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=1) / weights.sum(axis=1, keepdims=True)
    kept = np.empty(logits.shape, dtype=bool)
    np.put_along_axis(kept, order, ordered.cumsum(axis=1) - ordered < top_p, axis=1)
    return np.where(kept, logits, -np.inf)


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
