"""Sets of known compositions: hashed ones, which ship without their list, and listed ones."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discovery.composition import SYMBOLS, amounts, canonical_key, formula_hash, hash_table, reduced_formula, scrambled
from discovery.errors import DataError

Hashes = NDArray[np.uint64]
System = tuple[str, ...]  # element symbols in alphabetical order

CHUNKS = (500,)  # formula units tried at first: nearly all known phases have one of the commonest
SIEVE_BITS = 22  # of a hash that are looked up in a table of 4 MB before the hash itself is searched for


DERIVED = ("_table", "_sieve")  # made when first needed, and not sent to other processes


class ListedFormulas:
    """Known compositions given by name (a snapshot's own phases)."""

    def __init__(self, formulas: Iterable[str]) -> None:
        self._hashes = frozenset(formula_hash(amounts(formula)) for formula in formulas)
        self._by_system: dict[System, list[str]] = {}
        for formula in sorted({reduced_formula(formula) for formula in formulas}):
            self._by_system.setdefault(tuple(sorted(amounts(formula))), []).append(formula)

    def __contains__(self, formula: object) -> bool:
        return isinstance(formula, str) and formula_hash(amounts(formula)) in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def in_system(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """All known reduced formulas whose elements lie in `symbols`."""
        return tuple(formula for part in _sub_systems(symbols) for formula in self._by_system.get(part, ()))

    def count_in(self, symbols: Sequence[str]) -> int:
        """Number of known compositions whose elements lie in `symbols`."""
        return len(self.in_system(symbols))


class HashedFormulas:
    """Known compositions as 64-bit hashes, some of them flagged as phases of the Materials Project.

    A chance hit has a probability of (number of hashes) / 2**64, 2e-14 for 379,000 of them. Membership looks at all;
    `in_system` and `count_in` look at the flagged ones only, which have an energy and a structure in MP.

    Args:
        hashes: sorted hashes (`composition.formula_hash`) of all known compositions, shape (n,).
        in_mp: which of them are flagged, shape (n,).
        systems: sorted hashes of the chemical systems that have flagged compositions, shape (m,).
        counts: flagged compositions of exactly these systems, shape (m,).
        units: elements -> the formula units that occur among the flagged compositions of so many elements, amounts in
            alphabetical order of the elements, commonest first, shape (units, elements).
    """

    def __init__(
        self,
        hashes: Hashes,
        in_mp: NDArray[np.bool_],
        systems: Hashes,
        counts: NDArray[np.uint16],
        units: Mapping[int, NDArray[np.uint16]],
    ) -> None:
        self._hashes, self._in_mp, self._systems, self._counts, self._units = hashes, in_mp, systems, counts, units
        self._mp_hashes = hashes[in_mp]
        self._found: dict[System, tuple[str, ...]] = {}

    @classmethod
    def from_formulas(cls, formulas: Iterable[str], in_mp: Iterable[bool]) -> HashedFormulas:
        """Hashes of a list of formulas (each once) with their flags; single elements are left out."""
        compounds = [(amounts(f), bool(flag)) for f, flag in zip(formulas, in_mp, strict=True)]
        compounds = [(counts, flag) for counts, flag in compounds if len(counts) > 1]
        hashes = np.array([formula_hash(counts) for counts, _ in compounds], dtype=np.uint64)
        flags = np.array([flag for _, flag in compounds], dtype=bool)
        order = np.argsort(hashes)
        flagged = [counts for counts, flag in compounds if flag]
        of_systems = np.array([_system_hash(sorted(counts)) for counts in flagged], dtype=np.uint64)
        systems, sizes = np.unique(of_systems, return_counts=True)
        return cls(hashes[order], flags[order], systems, sizes.astype(np.uint16), _units(flagged))

    @classmethod
    def load(cls, path: Path) -> HashedFormulas:
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                hashes = data["hashes"]
                in_mp = np.unpackbits(data["in_mp"], count=len(hashes)).astype(bool)
                units = {int(name[5:]): data[name] for name in data.files if name.startswith("units")}
                return cls(hashes, in_mp, data["systems"], data["counts"], units)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} holds no known compositions ({error}): install the package again, or rebuild the reference"
            ) from error

    def save(self, path: Path) -> None:
        """Write an .npz of plain arrays."""
        arrays = {"hashes": self._hashes, "in_mp": np.packbits(self._in_mp)}
        arrays |= {"systems": self._systems, "counts": self._counts}
        arrays |= {f"units{size}": units for size, units in self._units.items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def __contains__(self, formula: object) -> bool:
        return isinstance(formula, str) and bool(_contains(self._hashes, [formula_hash(amounts(formula))])[0])

    def __len__(self) -> int:
        return len(self._hashes)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in DERIVED} | {"_found": {}}

    def in_mp(self, formula: str) -> bool:
        """True where the composition is flagged as a phase of the Materials Project."""
        return bool(_contains(self._mp_hashes, [formula_hash(amounts(formula))])[0])

    def count_in(self, symbols: Sequence[str]) -> int:
        """Number of flagged compositions whose elements lie in `symbols`, without finding out which."""
        return sum(self._count(part) for part in _sub_systems(symbols))

    def in_system(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """All flagged reduced formulas whose elements lie in `symbols`.

        Every formula unit that occurs is tried, commonest first, until the compositions of a system are all found; a
        system without any costs nothing. Results are kept.
        """
        return tuple(formula for part in _sub_systems(symbols) for formula in self._in_exact_system(part))

    def _in_exact_system(self, system: System) -> tuple[str, ...]:
        found = self._found.get(system)
        if found is None:
            wanted = self._count(system)
            if not wanted:
                return ()  # not kept: there are millions of such systems
            found = self._found[system] = self._search(system, wanted)
        return found

    def _search(self, system: System, wanted: int) -> tuple[str, ...]:
        """The flagged compositions of exactly these elements, found by trying the known formula units."""
        units = self._units[len(system)]
        numbers = [self._table[SYMBOLS.index(symbol)] for symbol in system]
        found: list[str] = []
        start = 0
        for end in (*CHUNKS, len(units)):
            if len(found) == wanted:
                break
            tried = units[start:end]
            hashes = scrambled(sum(number[tried[:, k]] for k, number in enumerate(numbers)))
            rows = np.flatnonzero(self._sieve[hashes >> np.uint64(64 - SIEVE_BITS)])
            rows = rows[_contains(self._mp_hashes, hashes[rows])]
            found += [canonical_key(dict(zip(system, unit, strict=True))) for unit in tried[rows].tolist()]
            start = end
        return tuple(sorted(reduced_formula(key) for key in found))

    @cached_property
    def _table(self) -> Hashes:
        return hash_table(max(int(units.max(initial=1)) for units in self._units.values()))

    @cached_property
    def _sieve(self) -> NDArray[np.bool_]:
        """True for the leading bits of all flagged hashes, which a trial in 50 meets by chance."""
        sieve = np.zeros(1 << SIEVE_BITS, dtype=bool)
        sieve[self._mp_hashes >> np.uint64(64 - SIEVE_BITS)] = True
        return sieve

    def _count(self, system: System) -> int:
        wanted = np.uint64(_system_hash(system))
        place = int(np.searchsorted(self._systems, wanted))
        return int(self._counts[place]) if place < len(self._systems) and self._systems[place] == wanted else 0


def _sub_systems(symbols: Sequence[str]) -> Iterable[System]:
    """All chemical systems of two or more elements within `symbols`, small ones first."""
    ordered = sorted(set(symbols))
    return (part for size in range(2, len(ordered) + 1) for part in combinations(ordered, size))


def _system_hash(system: Sequence[str]) -> int:
    return formula_hash(dict.fromkeys(system, 1))


def _contains(ordered: Hashes, wanted: Sequence[int] | Hashes) -> NDArray[np.bool_]:
    values = np.asarray(wanted, dtype=np.uint64)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[places] == values) if len(ordered) else np.zeros(len(values), dtype=bool)


def _units(compounds: Iterable[Mapping[str, int]]) -> dict[int, NDArray[np.uint16]]:
    """For each number of elements the amounts that occur, commonest first."""
    counted = Counter(tuple(counts[symbol] for symbol in sorted(counts)) for counts in compounds)
    ordered = sorted(counted, key=lambda unit: (-counted[unit], unit))
    sizes = sorted({len(unit) for unit in ordered})
    return {size: np.array([unit for unit in ordered if len(unit) == size], dtype=np.uint16) for size in sizes}
