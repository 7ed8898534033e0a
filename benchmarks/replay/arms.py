"""The rows of every table: the loop, every baseline, and the loop without one ingredient at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.replay import askers
from benchmarks.replay.askers import Value
from benchmarks.replay.desk import HullRules

PLAIN = HullRules(binaries=False, candidates=False)
WHOLE = HullRules()


@dataclass(frozen=True)
class Arm:
    """Who asks, and what it may use."""

    asker: Value | Callable[..., Value]
    takes: tuple[str, ...] = ()  # arguments that make the asker: of "tolerance" and "seed"; "new": none; (): ready made
    learns: bool = False  # surrogate and hull take the answers
    rules: HullRules = PLAIN
    source: str = (
        ""  # in the free protocol: the baseline generator whose proposals are asked for; "": the language model
    )

    def make(self, tolerance: float, seed: int) -> Value:
        """A new asker for one run."""
        if not self.takes:
            return self.asker  # type: ignore[return-value]
        given = {"tolerance": tolerance, "seed": seed}
        return self.asker(**{name: given[name] for name in self.takes if name in given})  # type: ignore[call-arg,return-value]


def _loop(rules: HullRules = WHOLE, *, learns: bool = True, **without: bool) -> Arm:
    return Arm(partial(askers.Loop, **without), ("tolerance", "seed"), learns, rules)


BASELINES: dict[str, Arm] = {
    "random": Arm(askers.by_chance, source="random"),
    "pseudo-random": Arm(askers.charge_neutral_by_chance, source="pseudo-random"),
    "ion exchange": Arm(askers.ByIonExchange, ("new",), source="ion-exchange"),
    "forest with UCB": Arm(askers.forest_ucb, learns=True),
    "surrogate, no learning": Arm(askers.Stability, ("tolerance",)),
    "energy above hull": Arm(askers.energy_above_hull),
    "formation energy": Arm(askers.formation_energy),
    "likelihood": Arm(askers.likelihood),
    "fewest atoms": Arm(askers.fewest_atoms),
}
ENERGY_ONLY = ("forest with UCB", "surrogate, no learning", "energy above hull", "formation energy")
ABLATIONS: dict[str, Arm] = {
    "loop, no judge": _loop(judged=False),
    "loop, no likelihood": _loop(prior=False),
    "loop, fixed weights": _loop(weighed=False),
    "loop, known hull": _loop(PLAIN),
    "loop, no answers": _loop(learns=False, weighed=False),
}
LOOP = "loop"
ARMS: dict[str, Arm] = {LOOP: _loop(), **BASELINES, **ABLATIONS}
