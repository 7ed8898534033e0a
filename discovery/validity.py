"""Charge neutrality and electronegativity balance of a composition: SMACT's rules, searched exactly and fast.

The verdicts equal `smact.screening.smact_validity(c, use_pauling_test=..., include_alloys=False)` of SMACT 4.0 with
its default (filtered ICSD24) oxidation states. SMACT tries all combinations of states one by one; here the set of
reachable net charges is one integer used as a bit set: microseconds, however many states there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from smact import Element
from smact.screening import MIXED_VALENCE_ELEMENTS, ICSD24FilterConfig
from smact.utils.oxidation import ICSD24OxStatesFilter

from discovery.composition import SYMBOLS, amounts, electronegativity_order, is_metallic, pauling_electronegativity
from discovery.errors import CompositionError
from discovery.records import Verdict

StateSet = Literal["icsd24", "icsd24-medium", "smact14"]
OxidationStates = Mapping[str, tuple[int, ...]]  # symbol -> states; an element without states is missing


@dataclass(frozen=True)
class Rules:
    """Which compositions are accepted."""

    mixed_valence: bool = False  # atoms of SMACT's mixed-valence elements may differ in oxidation state
    intermetallics: bool = False  # accept compositions of metals only, whatever their charges
    states: StateSet = "icsd24"  # the table of oxidation states


@cache
def oxidation_states(name: StateSet = "icsd24") -> OxidationStates:
    """Oxidation states per element: SMACT's default filter of ICSD24 (``icsd24``), or its older list (``smact14``).

    ``icsd24-medium`` leaves out the states that less than 10 % of an element's entries in ICSD24 have.
    Passing ``oxidation_states_set="icsd24"`` to SMACT means another, unfiltered list; it is not used here.
    """
    if name == "smact14":
        found = {symbol: Element(symbol).oxidation_states_smact14 for symbol in SYMBOLS}
        return {symbol: tuple(states) for symbol, states in found.items() if states}
    config = ICSD24FilterConfig(commonality="medium") if name == "icsd24-medium" else ICSD24FilterConfig()
    table = ICSD24OxStatesFilter().filter(
        consensus=config.consensus, include_zero=config.include_zero, commonality=config.commonality
    )
    pairs = zip(table["element"], table["oxidation_state"], strict=True)
    parsed = {str(symbol): tuple(int(state) for state in str(states).split()) for symbol, states in pairs}
    return {symbol: states for symbol, states in parsed.items() if states}


def judge(formula: str, *, intermetallics: bool = False, mixed_valence: bool = False) -> Verdict:
    """The verdict on a formula, cached by its reduced formula.

    Args:
        formula: any formula; one that is no integer composition of two elements or more is turned down.
        intermetallics: accept compositions of metals only.
        mixed_valence: let atoms of SMACT's mixed-valence elements differ in oxidation state. SMACT gives up above a
            million combinations and says no; here the search always ends.
    """
    try:
        counts = amounts(formula)
    except CompositionError:
        return Verdict(False, False, False, "no integer composition")
    return verdict(counts, Rules(mixed_valence, intermetallics))


def verdict(counts: Mapping[str, int], rules: Rules) -> Verdict:
    """The verdict on element counts."""
    key = tuple(sorted(counts.items()))
    return _verdict(key, rules)


@lru_cache(maxsize=262144)
def _verdict(key: tuple[tuple[str, int], ...], rules: Rules) -> Verdict:
    counts = dict(key)
    if len(counts) < 2:
        return Verdict(False, False, False, "single element")
    neutral = is_neutral(counts, rules)
    balanced = neutral and is_balanced(counts, rules)
    if balanced:
        return Verdict(True, True, True, "ok")
    if rules.intermetallics and is_metallic("".join(counts)):
        return Verdict(neutral, False, True, "intermetallic")
    states = oxidation_states(rules.states)
    if any(symbol not in states for symbol in counts):
        return Verdict(False, False, False, "element without oxidation states")
    return Verdict(neutral, False, False, "electronegativities out of order" if neutral else "not charge neutral")


def is_neutral(counts: Mapping[str, int], rules: Rules) -> bool:
    """True where some choice of oxidation states sums to zero."""
    states = oxidation_states(rules.states)
    if any(symbol not in states for symbol in counts):
        return False
    zero = sum(count * max(map(abs, states[symbol])) for symbol, count in counts.items())
    charges = 1 << zero  # bit `zero + q` is set where net charge q can be reached
    for symbol, count in counts.items():
        charges = _add(charges, count, states[symbol], _is_mixed(symbol, rules))
    return bool(charges >> zero & 1)


def is_balanced(counts: Mapping[str, int], rules: Rules) -> bool:
    """True where a neutral choice also passes the Pauling test: every cation less electronegative than every anion.

    Equal electronegativities fail, and so does an element without one, as in SMACT.
    """
    states = oxidation_states(rules.states)
    if any(symbol not in states or pauling_electronegativity(symbol) is None for symbol in counts):
        return False
    zero = sum(count * max(map(abs, states[symbol])) for symbol, count in counts.items())
    only_cations, with_anions = 1 << zero, 0  # reachable charges before and after the first anion
    last: float | None = None
    for symbol in electronegativity_order(counts):
        value, mixed = pauling_electronegativity(symbol), _is_mixed(symbol, rules)
        before = with_anions if value == last else with_anions | only_cations
        with_anions = _add(before, counts[symbol], tuple(s for s in states[symbol] if s < 0), mixed)
        only_cations = _add(only_cations, counts[symbol], tuple(s for s in states[symbol] if s > 0), mixed)
        last = value
    return bool(with_anions >> zero & 1)


def _is_mixed(symbol: str, rules: Rules) -> bool:
    return rules.mixed_valence and symbol in MIXED_VALENCE_ELEMENTS


def _add(charges: int, count: int, states: tuple[int, ...], mixed: bool) -> int:
    """Charges reachable after `count` atoms: all in one state, or each in its own where `mixed`."""
    if not mixed:
        return _shifted(charges, tuple(count * state for state in states))
    for _ in range(count):
        charges = _shifted(charges, states)
    return charges


def _shifted(charges: int, shifts: tuple[int, ...]) -> int:
    reached = 0
    for shift in shifts:
        reached |= charges << shift if shift >= 0 else charges >> -shift
    return reached
