"""An oracle with cheap rungs below it: a budget with a rung is answered by the potential, one without by the oracle."""

from __future__ import annotations

from discovery.oracles.base import Budget, Oracle
from discovery.oracles.potential import PotentialOracle
from discovery.records import Failure, Measurement


class LadderOracle:
    """The campaign's oracle, and a potential for looks (see `discovery.fidelity`)."""

    def __init__(self, dear: Oracle, cheap: PotentialOracle) -> None:
        self._dear = dear
        self._cheap = cheap

    @property
    def name(self) -> str:
        """The oracle's own."""
        return self._dear.name

    @property
    def scheme(self) -> str:
        """Of the oracle's energies; those of looks name their own."""
        return self._dear.scheme

    @property
    def gives_energy_above_hull(self) -> bool:
        """As the oracle does."""
        return bool(getattr(self._dear, "gives_energy_above_hull", False))

    def can_measure(self, formula: str) -> bool:
        """Whether the oracle can: a candidate without a prototype is asked without a look."""
        return self._dear.can_measure(formula)

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """A look where the budget names a rung, the oracle's answer otherwise."""
        if budget.rung is None:
            return self._dear.measure(formula, budget)
        if not self._cheap.can_measure(formula):
            return Failure(formula, self._cheap.name, "no prototype")
        return self._cheap.measure(formula, budget)
