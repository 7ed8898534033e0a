"""What a reference is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Phase:
    """A known compound with an energy."""

    formula: str  # reduced formula
    formation_energy_per_atom: float  # eV/atom, of the lowest polymorph, elements at 0
    material_id: str = ""
    predicted: bool = False  # energy from the surrogate, not from the scheme's own method


class KnownFormulas(Protocol):
    """The set of compositions that count as known."""

    def __contains__(self, formula: object) -> bool: ...

    def __len__(self) -> int: ...

    def in_system(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Known reduced formulas whose elements all lie in `symbols` (as far as an enumeration reaches)."""


@dataclass(frozen=True)
class Reference:
    """Known phases of one scheme, and the larger set of known compositions."""

    name: str  # "builtin", "snapshot:FILE", "mp", ...
    version: str  # release, date or content hash
    scheme: str
    phases: tuple[Phase, ...]
    known: KnownFormulas
    elemental_references: Mapping[str, float]  # eV/atom of each element's reference in total energies; {} if unused
    false_stable_rates: Mapping[float, float]  # tolerance (eV/atom) -> measured rate; {} where never measured
    attribution: str = ""  # licence and citation of the data
    notes: tuple[str, ...] = ()  # what a reader has to know: corrections, entries that were left out and why

    def false_stable_rate(self, tolerance: float) -> float | None:
        """Share of truly unstable compounds (DFT, above `tolerance`) that look stable against this reference.

        Linear between the measured tolerances, the nearest one outside of them; None where never measured.
        """
        if not self.false_stable_rates:
            return None
        import numpy as np

        measured = sorted(self.false_stable_rates)
        return float(np.interp(tolerance, measured, [self.false_stable_rates[t] for t in measured]))
