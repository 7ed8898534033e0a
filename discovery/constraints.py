"""What a user demands of compositions; honoured during sampling and checked on every candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from discovery.composition import SYMBOLS
from discovery.errors import ConstraintError


@dataclass(frozen=True)
class Constraints:
    """Element and size limits of a composition.

    Raises:
        ConstraintError: unknown elements, an empty list, or demands that contradict each other.
    """

    allowed: frozenset[str] | None = None  # only these may occur; None: all
    required: frozenset[str] = frozenset()  # all of these must occur
    excluded: frozenset[str] = frozenset()  # none of these may occur
    exact_system: bool = False  # the elements must be exactly `allowed` (a chemical system)
    max_atoms: int = 30  # atoms per formula as written
    max_elements: int = 8  # distinct elements
    intermetallics: bool = False  # also admit compositions of metals only
    mixed_valence: bool = False  # an element may have several oxidation states (SMACT's mixed_valence)

    def __post_init__(self) -> None:
        self._check_symbols()
        if self.allowed is not None and not self.allowed - self.excluded:
            raise ConstraintError("no element is left: widen --elements or shorten --exclude-elements")
        for other, option in ((self.excluded, "--exclude-elements"), (self._not_allowed(), "outside --elements")):
            if clash := self.required & other:
                raise ConstraintError(f"required elements {sorted(clash)} are also excluded ({option}): drop one")
        if self.exact_system and self.allowed is not None and (clash := self.allowed & self.excluded):
            raise ConstraintError(f"--chemsys needs {sorted(clash)}, which --exclude-elements forbids: drop one")
        if self.max_elements < 2 or self.max_atoms < 2:
            raise ConstraintError("a compound has at least two elements and atoms: raise --max-elements or --max-atoms")
        needed = max(len(self.required), len(self.allowed or ()) if self.exact_system else 0)
        if needed > min(self.max_elements, self.max_atoms):
            raise ConstraintError(f"{needed} elements are demanded, more than --max-elements or --max-atoms allow")

    @classmethod
    def from_chemical_system(cls, text: str, **others: object) -> Constraints:
        """Constraints of a chemical system such as ``Li-Fe-O``: exactly these elements."""
        symbols = frozenset(part.strip() for part in text.split("-"))
        if len(symbols) < 2:
            raise ConstraintError(f"chemical system {text!r} needs two elements or more, such as Li-Fe-O")
        return cls(allowed=symbols, required=symbols, exact_system=True, **others)  # type: ignore[arg-type]

    def element_pool(self) -> frozenset[str]:
        """All symbols that may occur."""
        return (self.allowed if self.allowed is not None else frozenset(SYMBOLS)) - self.excluded

    def violation(self, amounts: Mapping[str, int]) -> str | None:
        """Why a composition breaks the constraints, in a few countable words; None where it does not."""
        present = set(amounts)
        if not present <= self.element_pool():
            return "element not allowed"
        if not self.required <= present:
            return "required element missing"
        if len(present) > self.max_elements:
            return "too many elements"
        if sum(amounts.values()) > self.max_atoms:
            return "too many atoms"
        return None

    def _not_allowed(self) -> frozenset[str]:
        return frozenset() if self.allowed is None else frozenset(SYMBOLS) - self.allowed

    def _check_symbols(self) -> None:
        named = {"--elements": self.allowed, "--require": self.required, "--exclude-elements": self.excluded}
        for name, symbols in named.items():
            if symbols is not None and (unknown := sorted(symbols - frozenset(SYMBOLS))):
                raise ConstraintError(f"{name} names unknown elements {unknown}: use symbols such as Li,Fe,O")
        if self.allowed is not None and not self.allowed:
            raise ConstraintError("--elements is empty: name the allowed elements or leave it out")
