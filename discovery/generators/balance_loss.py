"""Teaching a free causal model which tokens can still lead to a balanced composition: a semantic loss.

At every prefix of a training sequence the charge grammar knows which tokens can follow. With m the mass that the model
gives to them, -ln m is the divergence of the model under the grammar's mask from the model itself: where it is zero,
free sampling and constrained sampling are the same (Xu et al., "A Semantic Loss Function for Deep Learning with
Symbolic Knowledge", ICML 2018, for one token). A list shows one continuation of each prefix; this shows all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.charge_grammar import charge_grammar
from discovery.constraints import Constraints
from discovery.vocabulary import END, PAD, SIZE

MEMORY = 200_000  # sequences whose masks are kept, about 200 bytes each


def unbalanced_loss(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Summed -ln of the mass on tokens that the grammar allows, in nats.

    Args:
        logits: of the next token after each but the last, shape (batch, length - 1, vocabulary).
        tokens: training sequences from ``<start>`` to ``<end>``, shape (batch, length), padded with PAD.
    """
    rows = tokens.cpu().numpy()
    allowed = torch.from_numpy(np.stack([_masks(row) for row in rows])[:, : logits.shape[1]]).to(logits.device)
    lost = logits.logsumexp(dim=-1) - logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=-1)
    return lost[tokens[:, 1:] != PAD].sum()


def _masks(row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Allowed tokens after each token of a padded sequence, shape (length, vocabulary); all where none is known."""
    body = tuple(row[row != PAD].tolist())
    packed = packed_masks(body)
    masks = np.ones((len(row), SIZE), dtype=bool)
    masks[: len(body)] = np.unpackbits(packed, axis=1, count=SIZE).astype(bool)
    return masks


@lru_cache(maxsize=MEMORY)
def packed_masks(sequence: Sequence[int]) -> NDArray[np.uint8]:
    """The masks after each token of a sequence, `numpy.packbits` of shape (length, vocabulary).

    After a token that the grammar does not allow, nothing is known: everything is allowed.
    """
    grammar = charge_grammar(Constraints(), Constraints.max_atoms)
    masks = np.ones((len(sequence), SIZE), dtype=bool)
    state: Any = grammar.start()
    for place, token in enumerate(sequence):
        if place:
            if token == END or not masks[place - 1, token]:
                break
            state = grammar.advance(state, token)
        masks[place] = np.isfinite(grammar.scores(state))
    return np.packbits(masks, axis=1)
