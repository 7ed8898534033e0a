"""An oracle for the page's tests: the energies of the formula oracle, with a crystal of the right composition."""

from __future__ import annotations

import dataclasses
import math

from pymatgen.core import Lattice, Structure

from discovery.composition import amounts
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement
from tests.small import FormulaOracle


class CrystalOracle(FormulaOracle):
    """Puts the atoms of one formula unit on a cubic grid."""

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        answer = super().measure(formula, budget)
        if isinstance(answer, Failure):
            return answer
        return dataclasses.replace(answer, cif=str(crystal(formula).to(fmt="cif")))


def crystal(formula: str) -> Structure:
    """One formula unit, atoms 2 A apart."""
    symbols = [symbol for symbol, count in amounts(formula).items() for _ in range(count)]
    edge = math.ceil(len(symbols) ** (1 / 3))
    grid = [(i / edge, j / edge, k / edge) for i in range(edge) for j in range(edge) for k in range(edge)]
    return Structure(Lattice.cubic(2.0 * edge), symbols, grid[: len(symbols)])


def crystal_oracle() -> CrystalOracle:
    """For the option `oracle`: ``tests.browser.small_oracle:crystal_oracle``."""
    return CrystalOracle()
