"""Compositions: parsing, canonical form and the order of elements.

A composition here is a `pymatgen.core.Composition` with integer amounts and at least two elements.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element
from smact import Element as SmactElement
from smact import ordered_elements

from discovery.errors import CompositionError

SYMBOLS: tuple[str, ...] = tuple(ordered_elements(1, 103))
with warnings.catch_warnings():
    # pymatgen warns at the first look at an element without electronegativity, and sorts every formula by it
    warnings.simplefilter("ignore")
    for _symbol in SYMBOLS:
        Element(_symbol).X  # noqa: B018 (pymatgen keeps it)
_ATOM = re.compile(r"([A-Z][a-z]?)([0-9]*)")
_GROUP = re.compile(r"\(((?:[A-Z][a-z]?[0-9]*)+)\)([0-9]*)")
_PLAIN = re.compile(r"(?:[A-Z][a-z]?[0-9]*)+")


def parse(formula: str) -> Composition:
    """Integer composition of a formula such as ``SrTiO3`` or ``Ca(OH)2``.

    Raises:
        CompositionError: unparsable text, an unknown element, fractional amounts, or fewer than two elements.
    """
    composition = parse_any(formula)
    if len(composition) < 2:
        raise CompositionError(f"{formula!r} has fewer than two elements: give a compound such as NaCl")
    return composition


@lru_cache(maxsize=65536)
def parse_any(formula: str) -> Composition:
    """Like `parse`, but elements pass too."""
    try:
        composition = Composition(formula.strip(), strict=True)
    except (ValueError, TypeError, KeyError) as error:
        raise CompositionError(f"{formula!r} is no chemical formula ({error}): write it like SrTiO3") from error
    unknown = [element.symbol for element in composition if element.symbol not in _SYMBOL_SET]
    if unknown or not composition:
        raise CompositionError(f"{formula!r} has no element or unknown ones {unknown}: use symbols from H to Lr")
    if any(not float(amount).is_integer() for amount in composition.values()):
        raise CompositionError(f"{formula!r} has fractional amounts: multiply it until all are integers")
    return composition


def reduced_formula(composition: Composition | str) -> str:
    """The join key of all tables: pymatgen's reduced formula (``Fe4O6`` becomes ``Fe2O3``)."""
    if isinstance(composition, str):
        return _reduced_formula_of_text(composition)
    return str(composition.reduced_formula)


@lru_cache(maxsize=262144)
def _reduced_formula_of_text(formula: str) -> str:
    return str(parse_any(formula).reduced_formula)


def amounts(formula: str) -> dict[str, int]:
    """Element symbol -> atoms in the *reduced* formula unit."""
    whole = _plain_amounts(formula)
    if whole is None:
        whole = {str(symbol): round(amount) for symbol, amount in parse_any(formula).get_el_amt_dict().items()}
    divisor = math.gcd(*whole.values())
    return {symbol: amount // divisor for symbol, amount in whole.items()}


def compound_amounts(formula: str) -> dict[str, int]:
    """`amounts` of a compound.

    Raises:
        CompositionError: see `parse`.
    """
    counts = amounts(formula)
    if len(counts) < 2:
        raise CompositionError(f"{formula!r} has fewer than two elements: give a compound such as NaCl")
    return counts


def _plain_amounts(formula: str) -> dict[str, int] | None:
    """Atoms of a formula with integer amounts and parentheses, None for any other text.

    20 times as quick as the general parser, which takes seconds for the 22,000 phases of a hull.
    """
    flat = formula.strip()
    while "(" in flat and (opened := _GROUP.sub(_without_parentheses, flat)) != flat:
        flat = opened
    if _PLAIN.fullmatch(flat) is None:
        return None
    counts: dict[str, int] = {}
    for symbol, number in _ATOM.findall(flat):
        counts[symbol] = counts.get(symbol, 0) + (int(number) if number else 1)
    return counts if counts.keys() <= _SYMBOL_SET and all(counts.values()) else None


def _without_parentheses(group: re.Match[str]) -> str:
    times = int(group[2] or 1)
    return "".join(f"{symbol}{int(number or 1) * times}" for symbol, number in _ATOM.findall(group[1]))


def is_compound(formula: str) -> bool:
    """Whether a formula that can be read holds two elements or more: each symbol begins with a capital.

    Elements that occur twice (as in HOH) count twice; reduced formulas have none of these.
    """
    return sum(map(str.isupper, formula)) > 1


def chemical_system(formula: str) -> str:
    """Elements in alphabetical order, joined by ``-``."""
    return "-".join(sorted(amounts(formula)))


def canonical_key(amounts_by_symbol: Mapping[str, int]) -> str:
    """Alphabetical reduced formula with every amount written (``Fe2O3``, ``Cl1Na1``): unique, and cheap to make."""
    divisor = math.gcd(*amounts_by_symbol.values())
    return "".join(f"{symbol}{amounts_by_symbol[symbol] // divisor}" for symbol in sorted(amounts_by_symbol))


def formula_hash(amounts_by_symbol: Mapping[str, int]) -> int:
    """64-bit hash of a composition, the same for all its multiples: known ones ship as these, without their list.

    The sum of one pseudo-random number for each element and amount (Zobrist hashing), scrambled once more. Unlike a
    hash of text it can be computed for arrays of compositions (`hash_table`, `scrambled`).
    """
    divisor = math.gcd(*amounts_by_symbol.values())
    total = sum(_mixed(_INDEX[symbol] << 32 | amount // divisor) for symbol, amount in amounts_by_symbol.items())
    return _mixed(total & _64_BITS)


def hash_table(largest: int) -> NDArray[np.uint64]:
    """The number of each element and amount in `formula_hash`, shape (103, largest + 1)."""
    keys = np.arange(len(SYMBOLS), dtype=np.uint64)[:, None] << np.uint64(32) | np.arange(largest + 1, dtype=np.uint64)
    return scrambled(keys)


def scrambled(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al., OOPSLA 2014): every bit of a key changes half of the bits."""
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mixed(key: int) -> int:
    """`scrambled` of one key, ten times quicker than for an array of one."""
    x = (key + 0x9E3779B97F4A7C15) & _64_BITS
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _64_BITS
    return x ^ (x >> 31)


@cache
def pauling_electronegativity(symbol: str) -> float | None:
    """SMACT's Pauling electronegativity (it differs from pymatgen's for 13 elements; the Pauling test is SMACT's)."""
    value = SmactElement(symbol).pauling_eneg
    return None if value is None else float(value)


def electronegativity_order(symbols: Iterable[str]) -> list[str]:
    """Ascending Pauling electronegativity, ties by symbol, elements without a value last."""
    return sorted(symbols, key=_order_key)


def _order_key(symbol: str) -> tuple[float, str]:
    value = pauling_electronegativity(symbol)
    return (math.inf if value is None else value, symbol)


def is_metallic(formula: str) -> bool:
    """True where every element is a metal: an intermetallic, which charge neutrality does not describe."""
    return all(Element(symbol).is_metal for symbol in amounts(formula))


_SYMBOL_SET = frozenset(SYMBOLS)
_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_64_BITS = 2**64 - 1
