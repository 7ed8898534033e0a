"""One campaign of a replay: ask, look up, learn, until the calls are spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.replay.arms import ARMS, ION_EXCHANGE, LANGUAGE_MODEL, Arm, Budget
from benchmarks.replay.desk import Desk, Desks, Models
from benchmarks.replay.ladder import Ladder
from benchmarks.replay.problem import Problem, Withheld
from discovery.acquisition import select_batch
from discovery.composition import chemical_system
from discovery.errors import ConfigError
from discovery.generators.base import Generator, SamplingOptions
from discovery.generators.baselines import PSEUDO_RANDOM, RANDOM
from discovery.generators.ion_exchange import IonExchange
from discovery.metrics import reduced

PROPOSALS = 20_000  # raw samples of a generator in the free protocol
PASSES = 10  # batches of free proposals in a row without any answer, before a run ends


@dataclass(frozen=True)
class Run:
    """One arm, one seed."""

    arm: str
    problem: str
    seed: int
    calls: tuple[str, ...]  # reduced formulas in the order asked
    energies: tuple[float | None, ...]  # true energy above the complete hull of each, eV/atom; None: no answer
    outside: tuple[str, ...] = ()  # free proposals that the table does not know: listed, not scored
    kinds: tuple[str, ...] = ()  # class of chemistry of each call
    looks_cost: float = 0.0  # of all cheap looks

    def scored(self) -> np.ndarray:
        """Energies with NaN for no answer, shape (calls,)."""
        return np.array([np.nan if energy is None else energy for energy in self.energies], dtype=np.float64)


def simulate(name: str, desks: Desks, budget: Budget, seed: int) -> Run:
    """Run the arm called `name` on a problem; all its randomness comes from `seed`."""
    arm, problem = ARMS[name], desks.problem
    rng = np.random.default_rng([seed, 1])
    if not problem.candidates:
        problem = proposed(problem, arm, desks.models, rng)
        desks = Desks(problem, desks.models)
    desk = desks.new(arm.rules)
    withheld = Withheld(problem.answers)
    asker = arm.make(budget, seed)
    calls: dict[str, float | None] = {}
    outside: list[str] = []
    idle = 0
    while len(calls) < budget.calls and len(desk.asked) < len(desk.candidates) and idle < PASSES:
        batch = _batch(desk, asker(desk, rng), min(budget.batch, budget.calls - len(calls)), budget.per_system)
        if not batch:
            raise ConfigError(
                f"arm {name!r} ranks by a likelihood and there is none: give it a language model, or leave it out"
            )
        answers = {formula: withheld.ask(formula) for formula in batch}
        for formula, energy in answers.items():
            desk.tell(formula, energy)
            if energy is None and problem.free:
                outside.append(formula)
            else:
                calls[formula] = problem.truth.get(formula)
        idle = 0 if any(energy is not None for energy in answers.values()) else idle + problem.free
        if arm.learns and len(calls) < budget.calls:
            desk.learn(answers, rng, refit=arm.refits, anew=arm.anew)
    kinds = tuple(kind_of(formula) for formula in calls)
    looks_cost = asker.cost if isinstance(asker, Ladder) else 0.0
    return Run(name, problem.name, seed, tuple(calls), tuple(calls.values()), tuple(outside), kinds, looks_cost)


def proposed(problem: Problem, arm: Arm, models: Models, rng: np.random.Generator) -> Problem:
    """The problem with the distinct new proposals of an arm's generators as its list."""
    options, names = SamplingOptions(constrained=True), arm.proposed_by()
    each = PROPOSALS // len(names)
    samples = [s for name in names for s in _source(name, problem, models).sample(each, rng, options)]
    formulas = dict.fromkeys(formula for sample in samples if (formula := reduced(sample)) is not None)
    return replace(problem, candidates=tuple(formula for formula in formulas if formula not in problem.known))


def kind_of(formula: str) -> str:
    """Class of chemistry, by its most electronegative of the usual anions."""
    elements = set(chemical_system(formula).split("-"))
    for name, members in KINDS.items():
        if elements & members:
            return name
    return "other"


KINDS = {
    "fluoride": {"F"},
    "oxide": {"O"},
    "halide": {"Cl", "Br", "I"},
    "nitride": {"N"},
    "chalcogenide": {"S", "Se", "Te"},
    "pnictide": {"P", "As", "Sb"},
}


def kept(path: Path, make: Callable[[], Run]) -> Run:
    """The run of a file, or a new one that is written there as a whole: a killed replay goes on where it was."""
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        return Run(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    run = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(run)) + "\n", encoding="utf-8")
    partial.replace(path)
    return run


def _batch(desk: Desk, values: np.ndarray, size: int, per_system: int) -> list[str]:
    rows = desk.open
    systems = [chemical_system(desk.candidates[row]) for row in rows] if per_system < len(rows) else [""] * len(rows)
    chosen = select_batch(values[rows], systems, size, per_system)
    return [desk.candidates[rows[i]] for i in chosen]


def _source(name: str, problem: Problem, models: Models) -> Generator:
    if name == ION_EXCHANGE:
        return IonExchange(tuple(sorted(problem.known)))
    if name != LANGUAGE_MODEL:
        return {"random": RANDOM, "pseudo-random": PSEUDO_RANDOM}[name]
    if models.generator is None:
        raise ConfigError("the free protocol needs a language model: give --language-epochs")
    return models.generator
