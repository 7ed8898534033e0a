"""Known phases without an energy, as competitors with predicted ones.

A reference that holds a part of the known phases makes unstable compounds look stable. The surrogate's energies of the
missing known phases narrow that gap (by how much is measured in `quality`). Such phases are marked: `Phase.predicted`,
and a "*" behind their formula in `competing_phases`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.hull import Hull, HullPoint, System
from discovery.reference.base import KnownFormulas, Phase, Reference
from discovery.surrogates.base import Surrogate

KEPT_SYSTEMS = 100_000  # systems known to be complete, about 20 MB: a million formulas must not fill the memory

Predict = Callable[[Sequence[str]], NDArray[np.float64]]  # formulas -> formation energies, eV/atom


def missing_phases(hull: Hull, known: KnownFormulas, symbols: Sequence[str]) -> tuple[str, ...]:
    """Known reduced formulas within `symbols` that the hull has no energy for (as far as the enumeration reaches)."""
    return tuple(formula for formula in known.in_system(symbols) if hull.phase(formula) is None)


def has_unmeasured_phases(hull: Hull, known: KnownFormulas, symbols: Sequence[str]) -> bool:
    """True where known phases of the chemical system have no measured energy in the hull: a caveat for candidates."""
    phases = (hull.phase(formula) for formula in known.in_system(symbols))
    return any(phase is None or phase.predicted for phase in phases)


def complete_phases(hull: Hull, known: KnownFormulas, symbols: Sequence[str], predict: Predict) -> tuple[Phase, ...]:
    """The missing known phases of a chemical system with predicted energies."""
    return _predicted(missing_phases(hull, known, symbols), predict)


def completed_hull(reference: Reference, surrogate: Surrogate) -> CompletedHull:
    """The hull of a reference whose missing known phases take the surrogate's energies: what candidates face."""
    return CompletedHull(Hull(reference.phases, reference.scheme), reference.known, surrogate)


class CompletedHull:
    """A hull that fills in the missing known phases of a chemical system when it is first asked about it.

    It answers like `Hull`. The predictions are those of the surrogate given here and never change, so that two runs
    (and a resumed one) see the same hull; `predicted_by` makes the hull of another surrogate. Ask through `facing` (or
    `energies_above_hull`) for many compositions: then the surrogate is called once for all of them.
    """

    def __init__(self, hull: Hull, known: KnownFormulas, surrogate: Surrogate) -> None:
        self._measured = hull
        self._hull = hull  # grows by predicted phases as systems are asked for
        self._known = known
        self._surrogate = surrogate
        self._done: set[System] = set()

    @property
    def scheme(self) -> str:
        """Of the measured energies; the predicted ones are in the same scheme."""
        return self._hull.scheme

    def __len__(self) -> int:
        return len(self._hull)

    def facing(self, formulas: Sequence[str]) -> Hull:
        """A plain hull, complete for the chemical systems of these compositions: quick to send and to ask."""
        systems = {tuple(sorted(amounts(formula))) for formula in formulas} - self._done
        missing = sorted({formula for system in systems for formula in missing_phases(self._hull, self._known, system)})
        if missing:
            self._hull = self._hull.with_phases(_predicted(missing, self._predict), self.scheme)
        if len(self._done) + len(systems) > KEPT_SYSTEMS:
            self._done = set()
        self._done |= systems
        return self._hull

    def with_phases(self, phases: Sequence[Phase], scheme: str) -> CompletedHull:
        """A completed hull with more phases of the same scheme."""
        hull = CompletedHull(self._measured.with_phases(phases, scheme), self._known, self._surrogate)
        hull._hull, hull._done = self._hull.with_phases(phases, scheme), set(self._done)
        return hull

    def predicted_by(self, surrogate: Surrogate) -> CompletedHull:
        """The same measured phases, completed by another surrogate.

        Candidates and the phases that compete with them need energies of one surrogate: then errors that both share
        cancel. A refit that lowers everything rich in an element would make all of it look stable otherwise.
        """
        if surrogate.version == self._surrogate.version:
            return self
        return CompletedHull(self._measured, self._known, surrogate)

    def with_phase(self, phase: Phase, scheme: str) -> CompletedHull:
        """A completed hull with one more phase of the same scheme."""
        return self.with_phases((phase,), scheme)

    def phase(self, formula: str) -> Phase | None:
        """The phase of this composition, None where there is none."""
        return self.facing([formula]).phase(formula)

    def phases_in(self, symbols: Sequence[str]) -> tuple[Phase, ...]:
        """All compounds whose elements lie in `symbols`, predicted ones included."""
        return self.facing(["".join(symbols)]).phases_in(symbols)

    def energy_above_hull(self, formula: str, formation_energy_per_atom: float) -> HullPoint:
        """See `Hull.energy_above_hull`."""
        return self.facing([formula]).energy_above_hull(formula, formation_energy_per_atom)

    def points(self, formulas: Sequence[str], energies: Sequence[float] | NDArray[np.float64]) -> list[HullPoint]:
        """See `Hull.points`."""
        return self.facing(formulas).points(formulas, energies)

    def energies_above_hull(
        self, formulas: Sequence[str], energies: Sequence[float] | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Hull.energies_above_hull`."""
        return self.facing(formulas).energies_above_hull(formulas, energies)

    def hull_energy(self, formula: str) -> tuple[float, tuple[str, ...]]:
        """See `Hull.hull_energy`."""
        return self.facing([formula]).hull_energy(formula)

    def decomposition(self, formula: str) -> dict[str, float]:
        """See `Hull.decomposition`."""
        return self.facing([formula]).decomposition(formula)

    def _predict(self, formulas: Sequence[str]) -> NDArray[np.float64]:
        return self._surrogate.predict(formulas, self.scheme).mean


def _predicted(formulas: Sequence[str], predict: Predict) -> tuple[Phase, ...]:
    if not formulas:
        return ()
    energies = predict(formulas)
    return tuple(Phase(f, float(energy), predicted=True) for f, energy in zip(formulas, energies, strict=True))
