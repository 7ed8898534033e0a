"""Formation energies as tokens: a sign and three digits, -2.11 eV/atom is ``- 2 1 1``, after the elements' vocabulary.

Two decimals: rounding errors (0.003 eV/atom) vanish beside those of the model, and a third would be noise to learn.
"""

from __future__ import annotations

import torch

from discovery import vocabulary

PLUS = vocabulary.SIZE  # the sign tokens, and after them the digits 0 to 9
MINUS = PLUS + 1
FIRST_DIGIT = MINUS + 1
FIRST_SCHEME = FIRST_DIGIT + 10
SCHEMES = 8  # tokens for the energy schemes, which close the question
PRETEXT = 4  # tokens for the made-up tasks of the warm-up, which close the question in the same way
SIZE = FIRST_SCHEME + SCHEMES + PRETEXT

LENGTH = 4  # tokens of an answer
LARGEST = 9.99  # eV/atom; no formation energy comes near


def encode(energies: torch.Tensor) -> torch.Tensor:
    """Tokens of energies (eV/atom, shape (n,)), shape (n, `LENGTH`); beyond `LARGEST` its digits stand."""
    hundredths = (energies.abs().clamp(max=LARGEST) * 100).round().long()
    digits = torch.stack([hundredths // 100, hundredths // 10 % 10, hundredths % 10], dim=1)
    signs = torch.where(energies < 0, MINUS, PLUS)[:, None]
    return torch.cat([signs, FIRST_DIGIT + digits], dim=1)


def decode(tokens: torch.Tensor) -> torch.Tensor:
    """Energies (eV/atom, shape (n,)) of tokens, shape (n, `LENGTH`)."""
    places = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64, device=tokens.device)
    size = ((tokens[:, 1:] - FIRST_DIGIT).double() * places).sum(dim=1)
    return torch.where(tokens[:, 0] == MINUS, -size, size)


def middle(tokens: torch.Tensor) -> torch.Tensor:
    """Mean energy (eV/atom, shape (n,)) of all answers that begin with a sign and two digits, shape (n, 3)."""
    nine, zero = (torch.full_like(tokens[:, :1], FIRST_DIGIT + digit) for digit in (9, 0))
    return 0.5 * (decode(torch.cat([tokens, nine], dim=1)) + decode(torch.cat([tokens, zero], dim=1)))


def choices(place: int) -> tuple[int, int]:
    """First and last-plus-one token that may stand at a place of an answer (0: the sign)."""
    return (PLUS, FIRST_DIGIT) if place == 0 else (FIRST_DIGIT, FIRST_SCHEME)
