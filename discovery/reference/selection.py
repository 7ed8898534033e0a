"""What to fetch from a database: chemical systems, patterns of them, and ids of entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

from discovery.composition import SYMBOLS, chemical_system
from discovery.constraints import Constraints
from discovery.errors import ConfigError

ANY = "*"  # any one element, in a pattern such as Li-*
MAX_SYSTEMS = 20_000  # of one selection: 200 requests
_ID = re.compile(r"[\w.:/+-]+")
_INLINE_ID = re.compile(r"[a-z]+-[a-z0-9]+")  # mp-149, mvc-2291: no chemical system begins with a small letter


@dataclass(frozen=True)
class Selection:
    """A set of entries of a database.

    `systems` holds chemical systems (``Fe-O``: entries of exactly these elements, in alphabetical order) and patterns
    (``Fe-*``: iron and one other element; ``*-*-*``: all ternaries).
    """

    systems: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Selection:
        """A list such as ``Li-Fe-O,Na-Cl,Mg-*,mp-149``; a system brings all systems within it, which it competes with.

        Raises:
            ConfigError: an empty list, an unknown element, or a single one.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise ConfigError("no chemical system is named: give a list such as Li-Fe-O,Na-Cl")
        ids = frozenset(part for part in parts if _INLINE_ID.fullmatch(part))
        systems = frozenset(key for part in parts if part not in ids for key in _expanded(part))
        return cls(systems, ids)

    @classmethod
    def of_ids(cls, ids: Iterable[str]) -> Selection:
        """Entries by their ids.

        Raises:
            ConfigError: no id, or something that is none.
        """
        found = frozenset(text.strip() for text in ids if text.strip())
        if bad := sorted(text for text in found if not _ID.fullmatch(text)):
            raise ConfigError(f"{bad[0]!r} is no id of an entry: write one id per line, such as mp-149")
        if not found:
            raise ConfigError("the list of ids is empty: write one id per line, such as mp-149")
        return cls(ids=found)

    @classmethod
    def of_formulas(cls, formulas: Iterable[str]) -> Selection:
        """The chemical systems of some compositions, with all systems within them."""
        systems = {chemical_system(formula) for formula in formulas}
        return cls(frozenset(key for system in systems for key in _expanded(system)))

    @classmethod
    def of_constraints(cls, constraints: Constraints) -> Selection | None:
        """All systems that candidates, and what competes with them, can have; None where any element may occur.

        Raises:
            ConfigError: too many for one selection.
        """
        if constraints.allowed is None:
            return None
        elements = sorted(constraints.element_pool())
        sizes = range(2, min(len(elements), constraints.max_elements) + 1)
        count = sum(comb(len(elements), size) for size in sizes)
        if count > MAX_SYSTEMS:
            raise ConfigError(
                f"{len(elements)} elements make {count:,} chemical systems, more than the {MAX_SYSTEMS:,} of one "
                "reference: lower --max-elements, or fetch patterns to a file (python -m discovery.reference fetch "
                "--systems '*-*,*-*-*') and give --reference snapshot:FILE"
            )
        return cls(frozenset(key for size in sizes for key in map("-".join, combinations(elements, size))))

    def __len__(self) -> int:
        return len(self.systems) + len(self.ids)

    def __or__(self, other: Selection) -> Selection:
        return Selection(self.systems | other.systems, self.ids | other.ids)

    def without(self, covered: Selection) -> Selection:
        """What of this selection `covered` does not hold."""
        left = (key for key in self.systems - covered.systems if not covered._matches(key))
        return Selection(frozenset(left), self.ids - covered.ids)

    def holds(self, system: str, material_id: str) -> bool:
        """True for an entry of a chemical system (alphabetical) that this selection asks for."""
        return system in self.systems or material_id in self.ids or self._matches(system)

    def chunks(self, size: int) -> Iterator[Selection]:
        """Parts of at most `size` systems or ids; a pattern is a part of its own (servers take one at a time)."""
        plain = sorted(key for key in self.systems if ANY not in key)
        for systems in _parts(plain, size):
            yield Selection(frozenset(systems))
        for key in sorted(self.systems - set(plain)):
            yield Selection(frozenset({key}))
        for ids in _parts(sorted(self.ids), size):
            yield Selection(ids=frozenset(ids))

    @cached_property
    def _patterns(self) -> Mapping[int, Sequence[frozenset[str]]]:
        """Number of elements -> the named ones of each pattern."""
        found: dict[int, list[frozenset[str]]] = {}
        for key in self.systems:
            if ANY in key:
                named, size = elements_of(key)
                found.setdefault(size, []).append(frozenset(named))
        return found

    def _matches(self, key: str) -> bool:
        """True where one of the patterns holds a system (or a narrower pattern)."""
        named, size = elements_of(key)
        return any(pattern <= set(named) for pattern in self._patterns.get(size, ()))


def elements_of(key: str) -> tuple[list[str], int]:
    """The named elements of a system or pattern, and how many elements there are in all."""
    parts = key.split("-")
    return [part for part in parts if part != ANY], len(parts)


def _expanded(text: str) -> list[str]:
    parts = [part.strip() for part in text.split("-")]
    named = [part for part in parts if part != ANY]
    if unknown := [part for part in named if part not in SYMBOLS]:
        raise ConfigError(f"{text!r} names the unknown element {unknown[0]!r}: write chemical systems like Li-Fe-O")
    if len(parts) < 2 or len(set(named)) < len(named):
        raise ConfigError(f"{text!r} is no chemical system: name two or more different elements, such as Li-Fe-O")
    if ANY in parts:
        return ["-".join([*sorted(named), *[ANY] * (len(parts) - len(named))])]
    sizes = range(2, len(named) + 1)
    return ["-".join(system) for size in sizes for system in combinations(sorted(named), size)]


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
