"""The published defect, repeated on purpose: a causal network trained with masked-language noise.

    python -m benchmarks.masked_noise --model gpt2 --data DIR --out DIR [--epochs N] [--resume]

The causal models of Fu et al. (2023) were trained with the noise of masked models: 10 % of the tokens are drawn; of
these 80 % are read as ``<mask>``, 10 % as a random token, 10 % as they are, and they alone carry loss (Devlin et al.
2019). Everything else is as in ``discovery.train``, so that the two compare; the options are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import torch

from discovery import train
from discovery.generators.base import LanguageModel
from discovery.generators.causal import CausalGenerator
from discovery.generators.zoo import build
from discovery.options import exit_with
from discovery.vocabulary import FIRST_ELEMENT, MASK, PAD, SIZE, START

DRAWN = 0.1  # share of the tokens that carry loss
MASKED, RANDOM = 0.8, 0.1  # of those: read as <mask>, read as any element; the others are read as they are


def noised(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network reads of sequences of shape (batch, length), and where loss is carried, the same shape."""
    drawn = (torch.rand(tokens.shape, device=tokens.device) < DRAWN) & (tokens != PAD) & (tokens != START)
    kind = torch.rand(tokens.shape, device=tokens.device)
    elements = torch.randint(FIRST_ELEMENT, SIZE, tokens.shape, device=tokens.device)
    read = tokens.masked_fill(drawn & (kind < MASKED), MASK)
    return torch.where(drawn & (kind >= MASKED) & (kind < MASKED + RANDOM), elements, read), drawn


def masked_noise_loss(network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed loss (nats) of the drawn tokens, each predicted from the noised ones before it, and their number."""
    read, drawn = noised(tokens)
    targets = tokens.masked_fill(~drawn, PAD)[:, 1:]
    logits = network(input_ids=read[:, :-1], use_cache=False).logits.float()
    summed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
    )
    return summed, int((targets != PAD).sum())


class NoisyGenerator(CausalGenerator):
    """A causal model that learns with the noise; sampling, likelihood and files are those of any other."""

    def loss(self, network: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
        """See `masked_noise_loss`."""
        return masked_noise_loss(network, tokens)


def noisy(name: str, preset: str) -> LanguageModel:
    """An untrained causal model of the zoo that learns with the noise."""
    model = build(name, preset)
    if not isinstance(model, CausalGenerator):
        raise TypeError(f"{name} is no causal model: the noise is what masked models learn with")
    card = {**model.card, "objective": "masked-language noise (the published defect)"}
    return NoisyGenerator(model.name, model.network, card, model.step)


def main(argv: Sequence[str] | None = None) -> int:
    """Train as `discovery.train` does, with the other loss."""
    with mock.patch.object(train, "build", noisy):
        return train.main(None if argv is None else list(argv))


if __name__ == "__main__":
    exit_with(main)
