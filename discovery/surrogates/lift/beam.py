"""The distribution of all answers to some questions, summed up digit by digit.

The likeliest beginnings ``- 2 1`` of each question are followed to their last digit; the others count with the middle
of their answers, which is at most 0.05 eV/atom from each. So no probability is lost but that of signs and whole
numbers below `UNLIKELY`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.surrogates.base import FloatArray
from discovery.surrogates.lift import digits

BRANCHES = 6  # beginnings of an answer that are followed to the end, of each question
UNLIKELY = float(np.log(1e-3))  # log-probability below which a beginning is not followed
BEFORE_LAST = digits.LENGTH - 1  # tokens of a beginning that can be left at its middle


@dataclass(frozen=True)
class Leaves:
    """Answers, or beginnings left at their middle."""

    owners: torch.Tensor  # question of each, (n,)
    values: torch.Tensor  # eV/atom, (n,)
    scores: torch.Tensor  # log-probability, (n,)


@dataclass(frozen=True)
class Beam:
    """Beginnings of answers that are followed, and what has been left."""

    owners: torch.Tensor  # question of each beginning, ascending, (rows,)
    scores: torch.Tensor  # log-probability of each, (rows,)
    written: torch.Tensor  # its tokens, (rows, length)
    leaves: tuple[Leaves, ...] = ()

    @classmethod
    def begin(cls, questions: int) -> Beam:
        """Nothing is written."""
        return cls(torch.arange(questions), torch.zeros(questions).double(), torch.zeros(questions, 0).long())

    def grown(self, logits: torch.Tensor, first: int) -> tuple[torch.Tensor, Beam]:
        """Rows of the beginnings that are followed by one more token, and the beam with it.

        Args:
            logits: of the tokens that may come next, shape (rows, choices).
            first: the first of these tokens.
        """
        width = logits.shape[1]
        scores = (self.scores[:, None] + logits.log_softmax(dim=1)).flatten()
        rows = torch.arange(len(self.owners)).repeat_interleave(width)
        next_token = first + torch.arange(width).repeat(len(self.owners))
        every = Beam(self.owners[rows], scores, torch.cat([self.written[rows], next_token[:, None]], dim=1))
        length = every.written.shape[1]
        kept = every._followed(limit=length == BEFORE_LAST) if length < digits.LENGTH else torch.arange(len(rows))
        left = torch.ones(len(rows), dtype=torch.bool).scatter(0, kept, value=False)
        leaves = self.leaves
        if length == BEFORE_LAST:
            leaves = (*leaves, Leaves(every.owners[left], digits.middle(every.written[left]), scores[left]))
        return rows[kept], Beam(every.owners[kept], scores[kept], every.written[kept], leaves)

    def all_leaves(self) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Owner, value (eV/atom) and probability of what was left and what is complete."""
        parts = [*self.leaves, Leaves(self.owners, digits.decode(self.written), self.scores)]
        columns = zip(*((part.owners, part.values, part.scores) for part in parts), strict=True)
        owners, values, scores = (torch.cat(column) for column in columns)
        return owners.numpy(), values.numpy(), scores.exp().numpy()

    def _followed(self, *, limit: bool) -> torch.Tensor:
        """Places of the likely beginnings in ascending order: of each question the likeliest, and at most so many."""
        order = torch.from_numpy(np.lexsort((-self.scores.numpy(), self.owners.numpy())))
        sorted_owners = self.owners[order].contiguous()
        rank = torch.arange(len(order)) - torch.searchsorted(sorted_owners, sorted_owners)
        likely = self.scores[order] > UNLIKELY
        return order[(rank == 0) | (likely & (rank < BRANCHES) if limit else likely)].sort().values
