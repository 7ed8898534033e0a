"""Formation energies as sentences: questions with and without the names of the features, answers as decimal numbers.

After Dinh et al. (NeurIPS 2022): ``###`` closes the question, ``@@@`` the answer. Names tell a model that has read
about chemistry what the numbers mean; without them the same question is bare regression.
"""

from __future__ import annotations

import math
import re

from discovery.composition import compound_amounts, electronegativity_order

ASKED, ANSWERED = "###", "@@@"
LARGEST = 20.0  # eV/atom; a number beyond it is no formation energy, and counts as unreadable
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d*)?)\s*")


def question(formula: str, scheme: str, *, names: bool) -> str:
    """The question for a formation energy.

    Raises:
        CompositionError: no composition.
    """
    counts = compound_amounts(formula)
    divisor = math.gcd(*counts.values())
    total = sum(counts.values())
    order = electronegativity_order(counts)
    written = "".join(f"{s}{counts[s] // divisor if counts[s] > divisor else ''}" for s in order)
    shares = [f"{counts[symbol] / total:.3f}" for symbol in order]
    if names:
        parts = ", ".join(f"{symbol} {share}" for symbol, share in zip(order, shares, strict=True))
        return f"{written} is {parts} by atoms. What is its formation energy ({scheme}) in eV/atom?{ASKED}"
    given = [f"x1={written}", *(f"x{number}={share}" for number, share in enumerate(shares, 2))]
    return f"When {', '.join(given)} and s={scheme}, what is y?{ASKED}"


def answer(energy: float) -> str:
    """The answer that is learned, energy in eV/atom."""
    return f" {energy:.2f}{ANSWERED}"


def parsed(text: str) -> float | None:
    """The energy (eV/atom) of an answer as a model wrote it; None where it is no plain number, or does not end."""
    body, end, _ = text.partition(ANSWERED)
    found = _NUMBER.fullmatch(body) if end else None
    if found is None:
        return None
    energy = float(found[1])
    return energy if abs(energy) <= LARGEST else None
