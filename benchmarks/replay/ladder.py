"""The loop with cheap looks: a potential's energy of a prototype before a label is asked for, where that pays.

CHGNet was trained on nearly all compounds of the Materials Project: with it a replay on MP's labels shows how looks
are asked and what a look is worth, not what it would say about compounds that nobody has calculated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.replay.desk import Desk
from benchmarks.replay.loop import Loop
from discovery.fidelity import Costs, Question, total, worth_a_look
from discovery.looks import Looks
from discovery.oracles.base import Budget
from discovery.oracles.loading import potential_oracle
from discovery.oracles.potential import PotentialOracle
from discovery.records import Measurement
from discovery.surrogates.base import FloatArray

SCATTER = 0.1  # eV/atom beside the surrogate's own std, as in the loop


@dataclass
class Ladder:
    """Looks where they pay, then asks like the loop."""

    costs: Costs
    looks: Path  # folder in which looks are kept: a look is the same for every run
    tolerance: float = 0.0
    seed: int = 0
    batch: int = 50
    calls: dict[str, int] = field(default_factory=dict)  # looks of each rung in this run
    _loop: Loop | None = field(default=None, repr=False)
    _kept: Looks | None = field(default=None, repr=False)
    _oracle: PotentialOracle | None = field(default=None, repr=False)

    def __call__(self, desk: Desk, rng: np.random.Generator) -> FloatArray:
        """Log-desirability of every candidate, after the looks."""
        self._loop = self._loop or Loop(self.tolerance, self.seed, self.batch)
        for name in self.costs.rungs:
            rows = desk.open
            clues = desk.clues.rows(rows)
            question = Question(clues.above_hull, np.hypot(clues.std, SCATTER), self.tolerance, self.batch)
            paying = worth_a_look(question, desk.rung(name), self.costs.of(name), self.costs.dft)
            new = [row for row in rows[paying].tolist() if not desk.has_look(name, row)]
            for row in new:
                desk.look(name, row, self._energy(name, desk.candidates[row]))
            self.calls[name] = self.calls.get(name, 0) + len(new)
        return self._loop(desk, rng)

    @property
    def cost(self) -> float:
        """Of all looks of this run."""
        return total(self.costs, self.calls)

    def _energy(self, rung: str, formula: str) -> float:
        """Formation energy by the potential, eV/atom; NaN where there is no structure."""
        kept = self._kept = self._kept or Looks(self.looks)
        if (rung, formula) not in kept:
            self._oracle = self._oracle or potential_oracle()
            can = self._oracle.can_measure(formula)
            answer = self._oracle.measure(formula, Budget(rung=rung)) if can else None
            kept.add(rung, formula, 0, answer.formation_energy_per_atom if isinstance(answer, Measurement) else None)
        return float(kept.energies(rung, [formula], before=1)[0])
