"""Records of a search that was never run, and supplies that need no files."""

from __future__ import annotations

from typing import Any

from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.reference.known import ListedFormulas
from tests.small import KNOWN, SCHEME, formula_energy, untrained_surrogate
from tune.plan import Plan
from tune.records import FAILED, FINISHED, STOPPED, Record
from tune.space import START
from tune.supplies import Judge, Supplies


def record(number: int, value: float, *, seconds: float = 10.0, **changes: Any) -> Record:
    """A finished trial with this yield; its loss falls from 2 to 2 - yield / 1000."""
    config = {**START, "peak_learning_rate": 1e-3 * number, "dropout": 0.01 * number}
    curve = tuple((12.5 * period, 2.0 - value * period / 8000) for period in range(1, 9))
    results = {
        "yield": value,
        "yield_low": 0.9 * value,
        "yield_high": 1.1 * value,
        "nll": curve[-1][1],
        "recovery": value / 1000,
        "train_seconds": seconds,
        "parameters": 1000.0 * number,
    }
    whole = Record(f"t{number}", number, config, FINISHED, (), curve, results, f"trials/t{number}/checkpoint")
    return whole.changed(**changes)


def stopped(number: int) -> Record:
    """A trial that was stopped at a quarter of its training."""
    return record(number, 1.0).changed(status=STOPPED, curve=((12.5, 3.0), (25.0, 2.9)), results={"nll": 2.9})


def failed(number: int, cause: str) -> Record:
    """A trial that failed at once."""
    return record(number, 1.0).changed(status=FAILED, causes=(cause,), curve=(), results={})


def small_supplies(tolerance: float = 0.1) -> Supplies:
    """A judge of random weights, binaries to learn from."""
    phases = tuple(Phase(formula, formula_energy(formula)) for formula in KNOWN)
    judge = Judge(untrained_surrogate((SCHEME,)), Hull(phases, SCHEME), ListedFormulas(KNOWN), tolerance)
    return Supplies(
        train={"data": KNOWN[:8]},
        valid=KNOWN[8:10],
        held_out=frozenset(KNOWN[10:]),
        familiar=frozenset(KNOWN[:10]),
        judge=judge,
        notes={},
    )


def small_plan(**changes: Any) -> Plan:
    """A plan of a small search."""
    return Plan(**{"trials": 4, "samples": 20, "judged": 20, "petaflop": 1e-9, "confirm": 0, **changes})
