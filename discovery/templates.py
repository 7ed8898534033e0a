"""Templates: compositions of which a part is given, such as ``Li ? O``, for models that can fill gaps.

A template is parts separated by spaces: an element with an optional count (``O3``: three atoms that are kept), ``?``
for one unknown atom (``?2`` for two), ``*`` for one or more unknown atoms. An unknown may be any element, also one that
is given: ``Sr Ti O ? ?`` can become SrTiO3.

The models read and write compositions in ascending electronegativity, so the place of an unknown says where it stands
in that order: in ``Li ? O`` it lies between Li and O, or is one of them. Given elements may be written in any order;
they are sorted, and each takes the unknowns along that follow it; unknowns before the first element stay first. What a
model fills in keeps the order, so that every result is a composition in canonical order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from discovery import vocabulary
from discovery.charge_grammar import never_balanced
from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError
from discovery.validity import judge
from discovery.vocabulary import BLANK, ELEMENTS, FIRST_ELEMENT, MASK, TOKENS, element_id

FIRST_TRIES = 2000  # completions after which a template that gave nothing is given up
TRIES_PER_SAMPLE = 100  # completions per wanted one, beyond these
ROUND = 512  # completions drawn at a time, at most
_PART = re.compile(r"(?P<what>[A-Z][a-z]?|\?)(?P<count>[0-9]*)|(?P<star>\*)")
_ADVICE = 'write parts such as "Li ? O" or "Sr Ti O3 *": elements, ? for one unknown atom, * for one or more'


@dataclass(frozen=True)
class Template:
    """A sequence with gaps."""

    canvas: tuple[int, ...]  # token ids in canonical order: atoms, MASK for one unknown atom, BLANK for one or more

    @classmethod
    def parse(cls, text: str) -> Template:
        """The template that a user wrote; see the head of this module.

        Raises:
            ConfigError: a part that is none, or nothing to fill.
        """
        groups: list[list[int]] = [[]]  # unknowns at the start, then each element with the unknowns after it
        for part in text.split():
            token, count = _read(part)
            if token >= FIRST_ELEMENT:
                groups.append([])
            groups[-1] += [token] * count
        canvas = [token for group in [groups[0], *sorted(groups[1:], key=lambda group: group[0])] for token in group]
        if MASK not in canvas and BLANK not in canvas:
            raise ConfigError(f"template {text!r} leaves nothing to fill: {_ADVICE}")
        return cls(tuple(canvas))

    def __str__(self) -> str:
        signs = {MASK: "?", BLANK: "*"}
        return " ".join(signs.get(token, TOKENS[token]) for token in self.canvas)

    @property
    def given(self) -> tuple[str, ...]:
        """Symbols of the atoms that are kept, one per atom."""
        return tuple(TOKENS[token] for token in self.canvas if token >= FIRST_ELEMENT)

    @property
    def open_ended(self) -> bool:
        """True where a gap may take any number of atoms."""
        return BLANK in self.canvas


def check_fits(template: Template, constraints: Constraints, context_atoms: int, *, constrained: bool) -> None:
    """Raise ConstraintError where a template contradicts the user's limits, whatever is filled in."""
    given = set(template.given)
    atoms = min(constraints.max_atoms, context_atoms)
    unknown = len(template.canvas) - len(template.given)
    if barred := sorted(given - constraints.element_pool()):
        raise ConstraintError(f"template gives {barred}, which the constraints forbid: drop one of the two")
    if len(template.canvas) > atoms:
        raise ConstraintError(f"template has {len(template.canvas)} atoms or more, {atoms} are possible: shorten it")
    if len(given) > constraints.max_elements:
        raise ConstraintError(f"template gives {len(given)} elements: raise --max-elements {constraints.max_elements}")
    if not template.open_ended and len(constraints.required - given) > unknown:
        raise ConstraintError(f"template has {unknown} gaps, too few for the required elements: add gaps")
    hopeless = sorted(filter(never_balanced, given))
    if constrained and hopeless and not constraints.intermetallics:
        raise ConstraintError(f"{hopeless} cannot be charge neutral and balanced: leave them or --constrained out")


def accepts(constraints: Constraints, *, constrained: bool) -> Callable[[Sequence[int]], bool]:
    """A test of completed sequences of atoms: within the user's limits, and valid where `constrained`."""

    def accepted(atoms: Sequence[int]) -> bool:
        amounts = vocabulary.amounts_of(atoms)
        if amounts is None or constraints.violation(amounts) is not None:
            return False
        formula = vocabulary.formula_text(amounts)
        rules = {"intermetallics": constraints.intermetallics, "mixed_valence": constraints.mixed_valence}
        return not constrained or judge(formula, **rules).accepted

    return accepted


def keep_accepted(
    fill: Callable[[int], list[list[int]]], n: int, accepted: Callable[[Sequence[int]], bool], template: Template
) -> list[list[int]]:
    """Exactly `n` accepted completions in the order in which they were drawn.

    Args:
        fill: draws so many completions of the template, as token ids of their atoms.
        n: completions wanted.
        accepted: whether one is kept.
        template: named in the error.

    Raises:
        ConstraintError: too few were accepted among `FIRST_TRIES` + `TRIES_PER_SAMPLE` * n, or none in `FIRST_TRIES`.
    """
    kept: list[list[int]] = []
    tried = 0
    while len(kept) < n:
        given_up = tried >= FIRST_TRIES + TRIES_PER_SAMPLE * n or (tried >= FIRST_TRIES and not kept)
        if given_up:
            raise ConstraintError(
                f"only {len(kept)} of {tried} completions of {str(template)!r} are within the constraints: use other "
                "or more gaps, widen the constraints, ask for fewer, or sample without --constrained"
            )
        drawn = fill(min(ROUND, max(32, 2 * (n - len(kept)))))
        tried += len(drawn)
        kept += [atoms for atoms in drawn if accepted(atoms)]
    return kept[:n]


def _read(part: str) -> tuple[int, int]:
    """Token and number of atoms of one part."""
    match = _PART.fullmatch(part)
    if match is None:
        raise ConfigError(f"{part!r} is no part of a template: {_ADVICE}")
    if match["star"]:
        return BLANK, 1
    count = int(match["count"] or 1)
    if count < 1:
        raise ConfigError(f"{part!r} has no atoms: give a count of 1 or more")
    if match["what"] == "?":
        return MASK, count
    if match["what"] not in ELEMENTS:
        raise ConfigError(f"{match['what']!r} is no element: {_ADVICE}")
    return element_id(match["what"]), count
