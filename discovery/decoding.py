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
from discovery.grammar import FreeGrammar, Grammar
from discovery.records import Sample
from discovery.vocabulary import END, START

TOGETHER = 2048  # rows of several orders that the network reads in one step: bounds its memory
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
    return grammar_of(options, max_atoms)


class _Stream:
    """An order that is being worked on."""

    def __init__(self, order: Order, grammar: Grammar[Any]) -> None:
        self.samples: list[Sample] = []
        self._order = order
        self._grammar = grammar
        self._rows: list[_Row] = []
        self.reading = np.arange(0)  # those of its rows that the decoder follows, in its order

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
        self._rows = [_Row(self._grammar.start())] * self.next_size
        self.reading = np.arange(len(self._rows))

    def last_tokens(self) -> list[int]:
        """The last token of each row that the decoder follows."""
        return [(self._rows[index].tokens or (START,))[-1] for index in self.reading]

    def extend(self, logits: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draw one token per followed row; returns which of the followed rows the decoder goes on with."""
        rng, rows = self._order.rng, self._rows
        chance = (rng, self._order.options.temperature)
        for index, row in zip(
            self.reading, _extended([rows[i] for i in self.reading], logits, self._grammar, chance), strict=True
        ):
            rows[index] = row
        weights = np.array([row.log_weight for row in rows])
        origins = survivors(weights, rng) if self._grammar.selective else None
        if origins is not None:
            self._rows = [replace(rows[origin], log_weight=0.0) for origin in origins]
        self.reading, places = _follow(self._rows, self.reading, origins)
        return places

    def finish(self) -> None:
        """Keep the batch's samples."""
        self.samples += [sample_of(row.tokens, row.log_probability) for row in self._rows]


def _batch_of(streams: Sequence[_Stream]) -> list[_Stream]:
    """The first streams whose next batches fit together; one at least."""
    sizes = np.cumsum([stream.next_size for stream in streams])
    return list(streams[: max(1, int((sizes <= TOGETHER).sum()))])


def _sample_batch(decoder: Decoder, streams: Sequence[_Stream]) -> None:
    """The next batch of each stream."""
    decoder.begin()
    for stream in streams:
        stream.begin()
    while active := [stream for stream in streams if len(stream.reading)]:
        followed = [len(stream.reading) for stream in active]
        tokens = [token for stream in active for token in stream.last_tokens()]
        logits = decoder.step(np.array(tokens, dtype=np.int64)).astype(np.float64)
        starts = np.cumsum([0, *followed[:-1]])
        parts = np.split(logits, starts[1:])
        kept = [start + stream.extend(part) for start, stream, part in zip(starts, active, parts, strict=True)]
        places = np.concatenate(kept)
        if len(places) and not np.array_equal(places, np.arange(len(tokens))):
            decoder.keep(places)
    for stream in streams:
        stream.finish()


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
    rows: list[_Row], reading: NDArray[np.int64], origins: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The unfinished rows, and where among those that were read each of them comes from."""
    unfinished = np.array([index for index, row in enumerate(rows) if not row.finished], dtype=np.int64)
    position = {int(index): place for place, index in enumerate(reading)}
    sources = unfinished if origins is None else origins[unfinished]
    return unfinished, np.array([position[int(source)] for source in sources], dtype=np.int64)


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
