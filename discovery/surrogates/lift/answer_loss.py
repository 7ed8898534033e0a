"""The loss of a question and its answer: the tokens of the question are read, but only those of the answer count.

Sequences are kept with signs: -(id + 1) for a token of the question, +(id + 1) for one of the answer, 0 for padding. So
the one training loop of the project (`discovery.training`) cuts batches without knowing where an answer begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def signed(question: Sequence[int], answer: Sequence[int]) -> list[int]:
    """One sequence with its signs."""
    return [*(-token - 1 for token in question), *(token + 1 for token in answer)]


def padded(sequences: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Signed sequences as one array of shape (n, longest), filled up with 0 on the right."""
    width = max((len(sequence) for sequence in sequences), default=0)
    rows = np.zeros((len(sequences), width), dtype=np.int32)  # vocabularies of text models exceed 16 bits
    for row, sequence in enumerate(sequences):
        rows[row, : len(sequence)] = sequence
    return rows


def answer_loss(model: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood (nats) of the answers' tokens, and their number.

    Args:
        model: a causal language model of transformers.
        tokens: signed sequences, shape (batch, length).
    """
    ids = (tokens.abs() - 1).clamp(min=0)
    rows, places = (tokens[:, 1:] > 0).nonzero(as_tuple=True)  # where the next token belongs to an answer
    # pads stand on the right, where a causal model's real tokens cannot see them: no attention mask needed
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits[rows, places].float()
    targets = ids[:, 1:][rows, places]
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), len(targets)


class Learning(torch.nn.Module):
    """A network whose state is that of the parameters that learn: frozen ones are neither kept nor written."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, **inputs: Any) -> Any:
        """As the network."""
        return self.network(**inputs)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override] # torch has two overloads
        """Parameters that learn, by name."""
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Copy parameters that learn; all of them must be there."""
        del strict, assign
        with torch.no_grad():
            for name, value in self.state_dict().items():
                value.copy_(state_dict[name])
