"""The configuration of a campaign: frozen, checked on construction, TOML in and out."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from discovery.acquisition import ACQUISITIONS
from discovery.constraints import Constraints
from discovery.errors import ConfigError
from discovery.fidelity import Costs
from discovery.oracles.base import Budget

# Options that may differ when a campaign is resumed: they change how far or where it runs, not what it finds.
RESUMABLE = frozenset({"rounds", "workers", "local"})
GENERATOR, EXCHANGE, BOTH = PRIORS = ("generator", "ion-exchange", "both")  # what tells how likely a compound exists


@dataclass(frozen=True)
class CampaignConfig:
    """Everything that decides what a campaign does.

    Raises:
        ConfigError: a value outside of what is possible; the message names the option.
    """

    rounds: int = 5  # total number of rounds
    seed: int = 0  # of all randomness
    candidates_per_round: int = 2000  # raw samples drawn in each round
    batch_size: int = 16  # oracle calls in each round
    model: str = "gpt2"  # generator: a shipped name or a model folder
    surrogate: str = "ensemble"  # a shipped name or a model folder
    candidates: str | None = None  # file with a column `formula` in the generator's place
    oracle: str = "chgnet"  # chgnet, table:FILE or module:factory
    scheme: str | None = None  # of tables without a column `scheme`
    reference: str = "builtin"  # builtin, mp, optimade:URL or snapshot:FILE: see discovery.reference.loading
    acquisition: str = "stability"  # see discovery.acquisition
    scatter: float = 0.1  # eV/atom: what structures and the oracle's method add to the surrogate's own std when ranking
    prior: str = GENERATOR  # whose log-likelihood: of the generator, of ion exchange in known compounds, or both mixed
    prior_weight: float = 0.2  # weight of that log-likelihood beside the acquisition's logarithm
    tolerance: float = 0.1  # eV/atom above the hull that still counts as stable
    max_per_system: int = 2  # of a batch from one chemical system
    constrained: bool = True  # sample within charge neutrality and the Pauling test
    temperature: float = 1.0  # of sampling
    top_p: float = 1.0  # of sampling: share of the next token's mass that is drawn from; 1: all of it
    learn: bool = True  # refit the surrogate and fine-tune the generator after each round
    complete_hull: bool = True  # fill known phases without an energy with the surrogate's prediction, marked as such
    constraints: Constraints = field(default_factory=Constraints)
    budget: Budget = field(default_factory=Budget)
    costs: Costs | None = None  # of cheap looks and the oracle (see discovery.fidelity); None: no cheap looks
    workers: int | None = None  # validators; None: one per CPU
    local: bool = False  # run in this process, without Ray
    threads: int = 1  # torch threads of each worker: equal numbers give equal records

    def __post_init__(self) -> None:
        for name in ("rounds", "candidates_per_round", "batch_size", "max_per_system", "threads"):
            _at_least(name, getattr(self, name), 1)
        if self.workers is not None:
            _at_least("workers", self.workers, 1)
        _at_least("seed", self.seed, 0)
        if self.acquisition not in ACQUISITIONS:
            raise ConfigError(f"--acquisition {self.acquisition!r} is unknown: choose from {', '.join(ACQUISITIONS)}")
        if self.prior not in PRIORS:
            raise ConfigError(f"--prior {self.prior!r} is unknown: choose from {', '.join(PRIORS)}")
        if not 0 <= self.tolerance <= 10:
            raise ConfigError(f"--tolerance {self.tolerance} is in eV/atom: give a value from 0 to 10, such as 0.1")
        if not 0 <= self.scatter <= 10:
            raise ConfigError(f"scatter {self.scatter} is in eV/atom: give a value from 0 to 10, such as 0.1")
        if self.temperature <= 0:
            raise ConfigError(f"temperature {self.temperature} must be positive: 1 samples the model as it is")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p} is a share of the mass: give a value above 0, at most 1")

    def to_toml(self) -> str:
        """The configuration as TOML text; unset values are left out."""
        return tomli_w.dumps(self.plain())

    def plain(self) -> dict[str, Any]:
        """The configuration as nested dictionaries of TOML's types; unset values are left out."""
        values: dict[str, Any] = _plain(self)
        return values

    def differences(self, other: CampaignConfig) -> dict[str, tuple[object, object]]:
        """Fields, apart from those that may change on resume, that differ: name -> (own value, other value)."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in RESUMABLE]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def from_toml(text: str) -> CampaignConfig:
    """Read what `CampaignConfig.to_toml` wrote.

    Raises:
        ConfigError: no TOML, or a key that does not exist.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration is no valid TOML: {error}") from error
    constraints = _build(Constraints, values.pop("constraints", {}))
    budget = _build(Budget, values.pop("budget", {}))
    if "costs" in values:
        values["costs"] = _build(Costs, values["costs"])
    config: CampaignConfig = _build(CampaignConfig, {**values, "constraints": constraints, "budget": budget})
    return config


def load_config(path: Path) -> CampaignConfig:
    """Read a TOML file; see `from_toml`."""
    try:
        return from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}: give an existing configuration file") from error


def _build(kind: type[Any], values: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"unknown configuration keys {unknown}: known are {', '.join(known)}")
    sets = {name for name, f in known.items() if "frozenset" in str(f.type)}
    return kind(**{name: frozenset(value) if name in sets else value for name, value in values.items()})


def _plain(value: Any) -> Any:
    """Nested dataclasses as dictionaries of TOML types, None left out, sets sorted."""
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    return sorted(value) if isinstance(value, frozenset) else value


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"--{name.replace('_', '-')} {value} is too small: give {least} or more")
