"""Tokens: one per element, in ascending Pauling electronegativity, after a few specials.

A composition is written one token per atom in that order and closed by ``<end>``: SrTiO3 is ``Sr Ti O O O <end>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from discovery.composition import SYMBOLS, electronegativity_order

SPECIALS: tuple[str, ...] = ("<pad>", "<start>", "<end>", "<mask>", "<blank>")
PAD, START, END, MASK, BLANK = range(len(SPECIALS))

ELEMENTS: tuple[str, ...] = tuple(electronegativity_order(SYMBOLS))
TOKENS: tuple[str, ...] = SPECIALS + ELEMENTS
SIZE = len(TOKENS)
FIRST_ELEMENT = len(SPECIALS)  # ids from here on are elements, in ascending electronegativity

_ID_OF = {token: index for index, token in enumerate(TOKENS)}


def element_id(symbol: str) -> int:
    """Token id of an element symbol."""
    return _ID_OF[symbol]


def encode(amounts: Mapping[str, int]) -> list[int]:
    """Element tokens of a composition in canonical order, one per atom, without specials."""
    ordered = sorted((_ID_OF[symbol], count) for symbol, count in amounts.items())
    return [token for token, count in ordered for _ in range(count)]


def sequence_text(ids: Sequence[int]) -> str:
    """What a file shows of a sequence: tokens separated by single spaces, specials written as they are."""
    return " ".join(TOKENS[index] for index in ids)


def amounts_of(ids: Sequence[int]) -> dict[str, int] | None:
    """Element -> count, in the order of first occurrence; None where the ids are no composition.

    A composition is at least one element token, then at most one ``<end>``, and nothing else.
    """
    body = ids[:-1] if ids and ids[-1] == END else ids
    if not body or any(index < FIRST_ELEMENT for index in body):
        return None
    amounts: dict[str, int] = {}
    for index in body:
        symbol = TOKENS[index]
        amounts[symbol] = amounts.get(symbol, 0) + 1
    return amounts


def formula_text(amounts: Mapping[str, int]) -> str:
    """Formula as written: elements in the mapping's order, amounts of one left out (``SrTiO3``)."""
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in amounts.items())
