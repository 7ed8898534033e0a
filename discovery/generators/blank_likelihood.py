"""The blank language model written from left to right: its likelihood, and its decoder under a grammar.

In this mode of the network a blank can only be left on the right, so that the one blank is always last: every step is
conditioned on that. With p(w) for the element and p(l, r | w) for the blanks beside it, the next token after a prefix
is w with probability q(w) ~ p(w) p(l = 0 | w), and it is the last one with p(r = 0 | l = 0, w). These conditionals are
normalised: the probabilities of all sequences, ends included, sum to one. (The likelihood in any order is a sum over n!
orders, out of reach; an average over random ones scatters more than the differences that a ranking is made of.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.generators.blank_network import WORDS, BlankNetwork
from discovery.vocabulary import BLANK, END, FIRST_ELEMENT, PAD, SIZE, START

SCORING_BATCH = 512  # canvases


@torch.inference_mode()
def next_left_to_right(
    network: BlankNetwork, prefixes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probabilities of the next atom and of what follows it, given that writing goes from left to right.

    Args:
        network: the model.
        prefixes: token ids of the atoms so far, shape (rows, atoms).

    Returns:
        ln q(w), shape (rows, WORDS); and ln p(r | l = 0, w), shape (rows, WORDS, 2), r = 0 for the last atom.
    """
    canvas = np.pad(prefixes, ((0, 0), (0, 1)), constant_values=BLANK)
    straight = torch.ones(len(canvas), dtype=torch.bool)
    states = network(to_tensor(canvas, network), straight.to(network.where.weight.device))[:, -1]
    sides = network.log_sides_of_all(states)[:, :, :2].double()  # l = 0
    nothing_left = sides.logsumexp(dim=-1)
    words = torch.log_softmax(network.log_what(states).double() + nothing_left, dim=-1)
    return to_numpy(words), to_numpy(sides - nothing_left[:, :, None])


def left_to_right_scores(network: BlankNetwork, sequences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log-probability of each sequence of atoms written from left to right, shape (n,); see the head of this module.

    Sequences share the canvases of their common beginnings, so that thousands in few chemical systems cost little.
    """
    most = network.config.positions - 1
    lengths = np.array([len(atoms) for atoms in sequences], dtype=np.int64)
    longest = min(int(lengths.max(initial=0)), most)
    padded = np.full((len(sequences), longest), PAD, dtype=np.int64)
    for row, atoms in enumerate(sequences):
        padded[row, : len(atoms)] = atoms[:longest]
    totals = np.zeros(len(sequences))
    for place in range(longest):
        rows = np.flatnonzero(lengths > place)
        prefixes, which = np.unique(padded[rows, :place], axis=0, return_inverse=True)
        words = padded[rows, place] - FIRST_ELEMENT
        goes_on = (lengths[rows] > place + 1).astype(np.int64)
        totals[rows] += _steps(network, prefixes, (which.reshape(-1), words, goes_on))
    return np.asarray(totals * lengths / np.maximum(np.minimum(lengths, most), 1))


def _steps(
    network: BlankNetwork, prefixes: NDArray[np.int64], actions: tuple[NDArray[np.int64], ...]
) -> NDArray[np.float64]:
    """Log-probability of each action (index of its prefix, word, whether it goes on), shape (actions,)."""
    which, words, goes_on = actions
    totals = np.zeros(len(which))
    for start in range(0, len(prefixes), SCORING_BATCH):
        mine = np.flatnonzero((which >= start) & (which < start + SCORING_BATCH))
        log_words, log_next = next_left_to_right(network, prefixes[start : start + SCORING_BATCH])
        local, word = which[mine] - start, words[mine]
        totals[mine] = log_words[local, word] + log_next[local, word, goes_on[mine]]
    return totals


class LeftToRightDecoder:
    """A blank language model that writes at the end only: `discovery.decoding` sees one token after another."""

    def __init__(self, network: BlankNetwork, max_atoms: int) -> None:
        self._network = network
        self._max_atoms = max_atoms
        self.begin()

    @property
    def max_atoms(self) -> int:
        """Atoms that a canvas holds beside a blank."""
        return self._max_atoms

    def begin(self) -> None:
        """Forget everything."""
        self._prefixes = np.zeros((0, 0), dtype=np.int64)
        self._log_next = np.zeros((0, WORDS, 2))  # of each word in the last blank

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-probabilities of the next token, shape (rows, vocabulary); specials but ``<end>`` have none."""
        rows = np.arange(len(tokens))
        log_end, log_more = np.full(len(tokens), -np.inf), np.zeros(len(tokens))
        if tokens[0] == START:
            self._prefixes = np.zeros((len(tokens), 0), dtype=np.int64)
        else:
            log_end, log_more = self._log_next[rows, tokens - FIRST_ELEMENT].T
            self._prefixes = np.concatenate([self._prefixes, tokens[:, None]], axis=1)
        log_words, self._log_next = next_left_to_right(self._network, self._prefixes)
        logits = np.full((len(tokens), SIZE), -np.inf, dtype=np.float32)
        logits[:, FIRST_ELEMENT:] = log_words + log_more[:, None]
        logits[:, END] = log_end
        return logits

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows only."""
        self._prefixes, self._log_next = self._prefixes[rows], self._log_next[rows]


def to_tensor(values: NDArray[Any], network: BlankNetwork) -> torch.Tensor:
    """An array where the network is."""
    return torch.from_numpy(values).to(network.where.weight.device)


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float64]:
    """A tensor in double precision."""
    values: NDArray[np.float64] = tensor.double().cpu().numpy()
    return values
