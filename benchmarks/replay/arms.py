"""The rows of every table: the loop, every baseline, and the loop without one ingredient at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.replay import askers
from benchmarks.replay.askers import Value
from benchmarks.replay.desk import Rules
from benchmarks.replay.ladder import Ladder
from benchmarks.replay.loop import Loop, Switching
from discovery.fidelity import Costs


@dataclass(frozen=True)
class Budget:
    """How much is asked for, and what for."""

    calls: int
    batch: int
    tolerance: float = 0.0  # energy above hull that the askers aim at, eV/atom
    per_system: int = 1_000_000  # of a batch from one chemical system
    costs: Costs = Costs()  # noqa: RUF009 - frozen
    looks: Path = Path("runs/replay")  # where cheap looks are kept


LANGUAGE_MODEL, ION_EXCHANGE = "language model", "ion exchange"  # sources of proposals
PLAIN = Rules(binaries=False, candidates=False, exchange=False)
WHOLE = Rules()


@dataclass(frozen=True)
class Arm:
    """Who asks, and what it may use."""

    asker: Value | Callable[..., Value]
    takes: tuple[str, ...] = ()  # what makes the asker: "seed", and of the budget; "new": nothing; (): it is ready made
    learns: bool = False  # the hull takes the answers, and so does the surrogate where it is refitted
    refits: bool = True
    anew: bool = False  # a refit starts from the first surrogate and learns all answers, not from the last one
    chance: bool = True  # False: the same run for every seed, so that one is enough
    rules: Rules = PLAIN
    sources: tuple[str, ...] = ()  # in the free protocol: who proposes; (): the language model, and ion exchange in
    # equal parts where the rules mix its likelihood in

    def proposed_by(self) -> tuple[str, ...]:
        """Generators that write an equal part of the proposals each."""
        both = (LANGUAGE_MODEL, ION_EXCHANGE)
        return self.sources or (both if self.rules.exchange else both[:1])

    def make(self, budget: Budget, seed: int) -> Value:
        """A new asker for one run."""
        if not self.takes:
            return self.asker  # type: ignore[return-value]
        given = {"seed": seed, **vars(budget)}
        return self.asker(**{name: given[name] for name in self.takes if name in given})  # type: ignore[call-arg,return-value]


LOOP_TAKES = ("tolerance", "seed", "batch")


def _loop(rules: Rules = WHOLE, *, learns: bool = True, refits: bool = True, anew: bool = False, **other: bool) -> Arm:
    return Arm(partial(Loop, **other), LOOP_TAKES, learns, refits, anew, rules=rules)  # type: ignore[arg-type]


BASELINES: dict[str, Arm] = {
    "random": Arm(askers.by_chance, sources=("random",)),
    "pseudo-random": Arm(askers.charge_neutral_by_chance, sources=("pseudo-random",)),
    "ion exchange": Arm(askers.ByIonExchange, ("new",), sources=(ION_EXCHANGE,)),
    "ion exchange, closed form": Arm(askers.ByExchangeProbability, ("new",), sources=(ION_EXCHANGE,)),
    "forest with UCB": Arm(askers.ForestUCB, ("new",), learns=True, refits=False),
    "surrogate, no learning": Arm(askers.Stability, ("tolerance",), chance=False),
    "energy above hull": Arm(askers.energy_above_hull, chance=False),
    "formation energy": Arm(askers.formation_energy, chance=False),
    "likelihood": Arm(askers.likelihood, chance=False),
    "both likelihoods": Arm(askers.likelihood, chance=False, rules=replace(PLAIN, exchange=True)),
    "fewest atoms": Arm(askers.fewest_atoms),
}
ENERGY_ONLY = ("forest with UCB", "surrogate, no learning", "energy above hull", "formation energy")
ABLATIONS: dict[str, Arm] = {
    "loop, no likelihood": _loop(prior=False),
    "loop, no exchange": _loop(replace(WHOLE, exchange=False)),
    "loop, fixed weights": _loop(weighed=False),
    "loop, no neighbours": _loop(neighbours=False),
    "loop, no refits": _loop(refits=False),
    "loop, known hull": _loop(replace(PLAIN, exchange=True)),
    "loop, no answers": _loop(learns=False, weighed=False, neighbours=False),
}
STUDIED: dict[str, Arm] = {
    "surrogate, both sources": Arm(
        askers.Stability, ("tolerance",), chance=False, sources=(LANGUAGE_MODEL, ION_EXCHANGE)
    ),
    "loop, with judge": _loop(judged=True),
    "loop, refits anew": _loop(anew=True),
    "loop, joint batch": _loop(joint=True),
    "loop, hull-aware batch": _loop(hull_aware=True),
    "loop, expected improvement": _loop(depth=True),
    "loop, looks": Arm(Ladder, (*LOOP_TAKES, "costs", "looks"), learns=True, rules=WHOLE),
    "loop, bandit": Arm(Switching, LOOP_TAKES, learns=True, rules=WHOLE),
}
LOOP = "loop"
ARMS: dict[str, Arm] = {LOOP: _loop(), **BASELINES, **ABLATIONS, **STUDIED}
