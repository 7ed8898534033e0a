"""What a search is asked to do: frozen, checked on construction, kept in the storage to be taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from discovery.errors import ConfigError

Target = Literal["generator", "surrogate"]
SCHEDULERS = ("asha", "pbt", "none")
SAMPLERS = ("tpe", "gp", "nsga2", "qmc", "random")
MAY_DIFFER = frozenset(
    {"cpus", "gpus", "mlflow", "confirm"}
)  # when a search is taken up again: where it runs, not what it finds


@dataclass(frozen=True)
class Objective:
    """What trials are ranked by: a name among a trial's results."""

    name: str
    mode: Literal["min", "max"]
    meaning: str


@dataclass(frozen=True)
class Early:
    """What a trial reports while it is trained: the scheduler stops by it."""

    name: str
    meaning: str  # the lower the better


OBJECTIVES: Mapping[Target, Mapping[str, Objective]] = {
    "generator": {
        "yield": Objective("yield", "max", "yield per 1,000 samples"),
        "nll": Objective("nll", "min", "validation loss (nats per atom)"),
        "recovery": Objective("recovery", "max", "share of the held-out compounds recovered"),
    },
    "surrogate": {
        "nll": Objective("nll", "min", "negative log-likelihood of held-out energies (nats)"),
        "mae": Objective("mae", "min", "mean absolute error (eV/atom)"),
    },
}
SECOND: Mapping[Target, Objective] = {  # what --pareto weighs against the first
    "generator": Objective("train_seconds", "min", "training (seconds)"),
    "surrogate": Objective("miscalibration_area", "min", "miscalibration area"),
}
EARLY: Mapping[Target, Early] = {
    "generator": Early("nll", "validation loss (nats per atom)"),
    "surrogate": Early("mae", "validation MAE (eV/atom)"),
}


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a search finds, and what a trial may take of the cluster.

    Raises:
        ConfigError: a value outside of what is possible; the message names the option.
    """

    target: Target = "generator"
    model: str = "gpt2"  # family of language models
    trials: int = 20
    objective: str = "yield"  # a key of `OBJECTIVES` of the target
    pareto: bool = False  # search for the front of the objective against `SECOND`, too
    data: str | None = None  # file or folder; None: what the reference holds
    reference: str = "builtin"
    surrogate: str = "ensemble"  # judges the samples
    petaflop: float = 0.01  # arithmetic of each trial's training, 10**15 operations
    epochs: int | None = None  # passes over the data in its place; of a surrogate's training
    samples: int = 10_000  # drawn from each trained model: rates and recovery
    judged: int = 2000  # of them, by predicted energies
    confirm: int = 4000  # the same, drawn afresh from the best and the median trial; 0: none
    constrained: bool = False  # draw within charge neutrality and the Pauling test
    tolerance: float = 0.1  # eV/atom above the hull
    scheduler: str = "asha"
    sampler: str = "tpe"
    seed: int = 0
    cpus: float | None = None  # of a trial; None: see `tune.shares`
    gpus: float | None = None
    mlflow: str | None = None  # tracking URI

    def __post_init__(self) -> None:
        for name in ("trials", "samples", "judged"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} {getattr(self, name)} is too small: give 1 or more")
        if self.seed < 0 or self.confirm < 0:
            raise ConfigError("--seed and --confirm are 0 or more")
        if not self.petaflop > 0 or (self.epochs is not None and self.epochs < 1):
            raise ConfigError("a trial needs a budget: give a --petaflop above 0, or --epochs of 1 or more")
        if not 0 <= self.tolerance <= 10:
            raise ConfigError(f"--tolerance {self.tolerance} is in eV/atom: give a value from 0 to 10, such as 0.1")
        if self.objective not in OBJECTIVES[self.target]:
            known = ", ".join(OBJECTIVES[self.target])
            raise ConfigError(f"--objective {self.objective} is not one of a {self.target}: choose from {known}")
        if any(share is not None and share < 0 for share in (self.cpus, self.gpus)) or self.cpus == 0:
            raise ConfigError("--cpus-per-trial is above 0, --gpus-per-trial 0 or more: a fraction lets trials share")
        self._check_engine()

    def _check_engine(self) -> None:
        if self.scheduler not in SCHEDULERS or self.sampler not in SAMPLERS:
            raise ConfigError(f"--scheduler is one of {', '.join(SCHEDULERS)}, --sampler of {', '.join(SAMPLERS)}")
        if self.scheduler == "pbt" and (self.pareto or self.target == "surrogate" or self.trials < 4):
            raise ConfigError("--scheduler pbt breeds a population of 4 generators or more for one goal: use asha here")
        if self.pareto and self.sampler == "gp":
            raise ConfigError("--sampler gp knows one goal at a time here: use tpe or nsga2 with --pareto")

    @property
    def goal(self) -> Objective:
        """What trials are ranked by."""
        return OBJECTIVES[self.target][self.objective]

    @property
    def goals(self) -> tuple[Objective, ...]:
        """What is searched for: one goal, or two of which the front is wanted."""
        return (self.goal, SECOND[self.target]) if self.pareto else (self.goal,)

    @property
    def early(self) -> Early:
        """What a trial reports while it is trained."""
        return EARLY[self.target]

    @property
    def surrogate_epochs(self) -> int:
        """Passes over the data of a surrogate's training."""
        return self.epochs or 12

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_same(kept: Mapping[str, Any], plan: Plan, where: str) -> None:
    """Refuse to take up a search with other settings.

    Raises:
        ConfigError: names what differs.
    """
    names = [field.name for field in fields(Plan) if field.name not in MAY_DIFFER]
    changed = [
        f"{name} was {kept.get(name)!r}, is {getattr(plan, name)!r}"
        for name in names
        if kept.get(name) != getattr(plan, name)
    ]
    if changed:
        raise ConfigError(
            f"{where} holds another search ({'; '.join(changed)}): use the same options, or a new --storage"
        )
