"""The network of the blank language model, and its loss: a canvas of words and blanks, of which blanks are filled.

After Shen, Quach, Barzilay & Jaakkola, "Blank Language Models" (EMNLP 2020), and its use for compositions by Wei, Li,
Fu et al. (arXiv 2204.11953); our own implementation. One action fills one blank: *where* (a softmax over the blanks of
the canvas), *what* (a softmax over the elements, given where) and *how it goes on* (whether a blank is left on the left
and on the right of the new atom, given where and what). Writing begins with one blank and ends when none is left.

The original writes in any order. Here the network has a second mode, told by an embedding: writing from left to right,
where likelihoods are exact and a grammar can follow. Without it, left-to-right writing with what random orders teach
is biased towards short sequences, since a canvas of a prefix and one blank is rarer the more is still to come.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from discovery.errors import ConfigError
from discovery.vocabulary import BLANK, FIRST_ELEMENT, PAD, SIZE

WORDS = SIZE - FIRST_ELEMENT  # elements; a blank is filled with nothing else
SIDES = 4  # 2 * (blank on the left) + (blank on the right)


@dataclass(frozen=True)
class BlankConfig:
    """Size of the network, and the orders in which it learns to write."""

    layers: int
    width: int
    heads: int
    positions: int = 31  # tokens of a canvas: 30 atoms and a blank
    left_to_right: float = 0.5  # share of training sequences written from left to right; the others in any order
    dropout: float = 0.0  # in training, of what attention and feed-forward add

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads) < 1 or self.width % self.heads or self.positions < 2:
            raise ConfigError(f"{self} is no network: layers and heads of 1 or more, a width that the heads divide")
        if not 0 <= self.left_to_right <= 1:
            raise ConfigError(f"left_to_right is a share between 0 and 1, not {self.left_to_right}")


class Block(nn.Module):
    """One transformer layer, normalised before its two parts; every token sees the whole canvas."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor, visible: Tensor | None) -> Tensor:
        """States of shape (batch, length, width); `visible` of shape (batch, 1, 1, length), None where all are."""
        states = states + self._dropped(self._attend(self.attention_norm(states), visible))
        inner = functional.gelu(self.expand(self.feed_forward_norm(states)), approximate="tanh")
        contracted: Tensor = self.contract(inner)
        return states + self._dropped(contracted)

    def _dropped(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout, self.training) if self.dropout else states

    def _attend(self, states: Tensor, visible: Tensor | None) -> Tensor:
        batch, length, width = states.shape
        parts = self.queries_keys_values(states).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, length, width / heads) each
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        mixed_heads: Tensor = self.mix(mixed.transpose(1, 2).reshape(batch, length, width))
        return mixed_heads


class BlankNetwork(nn.Module):
    """A transformer encoder over canvases, and the three parts of an action."""

    def __init__(self, config: BlankConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tokens = nn.Embedding(SIZE, width)
        self.places = nn.Embedding(config.positions, width)
        self.modes = nn.Embedding(2, width)  # any order, left to right
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.where = nn.Linear(width, 1)
        self.what = nn.Linear(width, WORDS)
        self.sides_of_state, self.sides_of_word = nn.Linear(width, width), nn.Embedding(WORDS, width)
        self.sides = nn.Linear(width, SIDES)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, canvas: Tensor, straight: Tensor) -> Tensor:
        """States of canvases padded with PAD, shape (batch, length, width), each in its mode, shape (batch,)."""
        real = canvas != PAD
        visible = None if bool(real.all()) else real[:, None, None, :]
        states = self.tokens(canvas) + self.places.weight[: canvas.shape[1]] + self.modes(straight.long())[:, None]
        for block in self.blocks:
            states = block(states, visible)
        normed: Tensor = self.norm(states)
        return normed

    def log_where(self, states: Tensor, blank: Tensor) -> Tensor:
        """Log-probability of each place, shape (batch, length); minus infinity where `blank` is false."""
        scores = self.where(states).squeeze(-1).float().masked_fill(~blank, -torch.inf)
        return functional.log_softmax(scores, dim=-1)

    def log_what(self, states: Tensor) -> Tensor:
        """Log-probability of each element in a blank with the given state, shape (n, WORDS)."""
        return functional.log_softmax(self.what(states).float(), dim=-1)

    def log_sides(self, states: Tensor, words: Tensor) -> Tensor:
        """Log-probability of the blanks beside the words (from 0) in blanks with these states, shape (n, SIDES)."""
        return self._sides(self.sides_of_state(states) + self.sides_of_word(words))

    def log_sides_of_all(self, states: Tensor) -> Tensor:
        """The same for every word, shape (n, WORDS, SIDES)."""
        return self._sides(self.sides_of_state(states)[:, None, :] + self.sides_of_word.weight)

    def _sides(self, states: Tensor) -> Tensor:
        return functional.log_softmax(self.sides(functional.gelu(states, approximate="tanh")).float(), dim=-1)


@dataclass(frozen=True)
class Reading:
    """Sequences of which a part is written: what the loss needs. Shapes (batch, length) of the whole sequences."""

    canvas: Tensor  # token ids, runs of unwritten atoms as one BLANK, padded; shape (batch, longest canvas)
    place: Tensor  # of each atom, or of the blank that it is part of, on the canvas
    sides: Tensor  # for unwritten atoms: 2 * (unwritten on its left) + (unwritten on its right)


def read_partly(tokens: Tensor, hidden: Tensor) -> Reading:
    """The canvas of sequences of shape (batch, length), padded, where atoms marked `hidden` are not written yet."""
    before = functional.pad(hidden, (1, 0))[:, :-1]
    after = functional.pad(hidden, (0, 1))[:, 1:]
    kept = (tokens != PAD) & ~(hidden & before)  # a run of hidden atoms is kept once, as its blank
    place = kept.cumsum(dim=1) - 1
    canvas = torch.full_like(tokens, PAD)
    rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(tokens)
    canvas[rows[kept], place[kept]] = torch.where(hidden, BLANK, tokens)[kept]
    longest = int(kept.sum(dim=1).max())
    return Reading(canvas[:, :longest], place, 2 * before.long() + after.long())


def writing_ranks(tokens: Tensor, straight: Tensor) -> Tensor:
    """Rank of each atom in the order of writing, shape (batch, length): left to right where `straight`, else at random.

    Pads come last.
    """
    along = torch.arange(tokens.shape[1], device=tokens.device) / tokens.shape[1]
    keys = torch.where(straight[:, None], along, torch.rand(tokens.shape, device=tokens.device))
    return keys.masked_fill(tokens == PAD, 2.0).argsort(dim=1).argsort(dim=1)


def evenly_spread(rows: int, device: torch.device) -> Tensor:
    """Numbers uniform over [0, 1), one per row, stratified: one in each of `rows` equal parts, in random order."""
    return (torch.randperm(rows, device=device) + torch.rand(rows, device=device)) / rows


def blank_loss(network: BlankNetwork, tokens: Tensor) -> tuple[Tensor, int]:
    """Summed estimate of a bound on the negative log-likelihood (nats), and the number of tokens, ends included.

    A sequence x of n atoms can be written in n! orders s, and p(x) is the sum of p(x, s) over them. With s uniform
    over the orders and k over 0 .. n - 1,

        -ln p(x) <= E_s[-ln p(x, s)] - ln n!  =  n E_s,k[-ln p(action k + 1 | canvas after k actions)] - ln n!

    and since every remaining atom is as likely to come next, the expectation is averaged over all n - k of them, read
    from one canvas (Shen et al. 2020, eq. 5). A share of the sequences (`BlankConfig.left_to_right`) is written from
    left to right: one order, one next atom, no ln n!, and the likelihood itself in the place of a bound.
    """
    real = tokens != PAD
    lengths = real.sum(dim=1)
    straight = torch.rand(len(tokens), device=tokens.device) < network.config.left_to_right
    written = (evenly_spread(len(tokens), tokens.device) * lengths).long()[:, None]  # k
    rank = writing_ranks(tokens, straight)
    hidden = (rank >= written) & real
    scored = hidden & ((rank == written) | ~straight[:, None])
    weight = (lengths / scored.sum(dim=1))[:, None].expand_as(tokens)[scored]
    summed = (action_losses(network, tokens, (hidden, scored), straight) * weight).sum()
    log_orders = torch.lgamma(lengths + 1.0).masked_fill(straight, 0.0).sum()  # ln n!
    return summed - log_orders, int((lengths + 1).sum())


def action_losses(network: BlankNetwork, tokens: Tensor, marks: tuple[Tensor, Tensor], straight: Tensor) -> Tensor:
    """Negative log-probability (nats) of each atom that may be written next, shape (scored atoms,).

    Args:
        network: the model.
        tokens: atoms, shape (batch, length), padded.
        marks: which atoms are not written yet, and which of them are scored, each as the next one.
        straight: mode of each row, shape (batch,).
    """
    hidden, scored = marks
    reading = read_partly(tokens, hidden)
    states = network(reading.canvas, straight)
    where = network.log_where(states, reading.canvas == BLANK)
    rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(tokens)[scored]
    places, words = reading.place[scored], tokens[scored] - FIRST_ELEMENT
    chosen = states[rows, places]
    what = network.log_what(chosen).gather(1, words[:, None]).squeeze(1)
    sides = network.log_sides(chosen, words).gather(1, reading.sides[scored][:, None]).squeeze(1)
    return -(where[rows, places] + what + sides)
