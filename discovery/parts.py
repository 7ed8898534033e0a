"""From a configuration to what a campaign starts from: models, reference, hull, oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.acquisition import JUDGED
from discovery.campaign import Parts
from discovery.config import CampaignConfig
from discovery.constraints import Constraints
from discovery.errors import ConfigError, DataError, SchemeError
from discovery.formulas import read_formulas
from discovery.generators.base import Generator
from discovery.generators.zoo import load_generator
from discovery.hull import Hull
from discovery.oracles.base import Oracle
from discovery.oracles.ladder import LadderOracle
from discovery.oracles.loading import load_oracle, potential_oracle
from discovery.oracles.potential import PotentialOracle
from discovery.ranking import AnyHull
from discovery.reference.base import Reference
from discovery.reference.competition import CompletedHull
from discovery.reference.implied import WithBinaries
from discovery.reference.loading import load_reference
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate


@dataclass(frozen=True)
class Loaders:
    """Where parts come from: a service that runs many campaigns keeps what it has loaded."""

    reference: Callable[[str, str | None, bool, Constraints | None, Sequence[str]], Reference] = load_reference
    surrogate: Callable[[str], Surrogate] = load_surrogate
    generator: Callable[[str], Generator] = load_generator
    hull: Callable[[Reference], Hull] = lambda reference: Hull(reference.phases, reference.scheme)


def load_parts(config: CampaignConfig, load: Loaders | None = None) -> Parts:
    """Load everything that a configuration names.

    Args:
        config: of a campaign.
        load: where models and reference come from; None: their files.

    Raises:
        DiscoveryError: whatever is missing, damaged or does not fit together, before anything is written.
    """
    load = load or Loaders()
    # Read first: a bad row must show before anything is fetched or written.
    given = [] if config.candidates is None else read_formulas(Path(config.candidates))
    reference = load.reference(config.reference, config.scheme, config.complete_hull, config.constraints, given)
    surrogate = load.surrogate(config.surrogate)
    generator = load.generator(config.model)  # with a list of candidates, its likelihood is the prior of what exists
    if reference.scheme not in surrogate.schemes:
        raise SchemeError(
            f"the surrogate {config.surrogate} predicts {', '.join(surrogate.schemes)}, but the reference "
            f"{config.reference} is {reference.scheme!r}: give a reference of one of these schemes"
        )
    oracle = load_campaign_oracle(config, reference)
    check_oracle(oracle, reference, config)
    measured = load.hull(reference)
    hull: AnyHull = measured
    if config.complete_hull:
        hull = CompletedHull(measured, reference.known, surrogate)
    ranking_hull: AnyHull | None = None
    if config.acquisition == JUDGED and not (config.complete_hull and isinstance(reference.known, WithBinaries)):
        ranking_hull = CompletedHull(measured, WithBinaries(reference.known), surrogate)
    inputs = {
        "generator": generator.version,
        "surrogate": surrogate.version,
        "reference": f"{reference.name} {reference.version}",
        "oracle": f"{oracle.name} {oracle.scheme}",
        "candidates": "" if config.candidates is None else _digest(config.candidates),
        "labels": _digest(config.oracle.removeprefix("table:")) if config.oracle.startswith("table:") else "",
    }
    return Parts(reference, hull, generator, surrogate, inputs, ranking_hull)


def load_campaign_oracle(config: CampaignConfig, reference: Reference) -> Oracle:
    """The oracle of a campaign; cheap, since a potential is loaded at its first use."""
    oracle = load_oracle(config.oracle, reference, config.scheme)
    if config.costs is None or not config.costs.rungs:
        return oracle
    if isinstance(oracle, PotentialOracle):
        raise ConfigError(
            f"--costs with --oracle {config.oracle}: a potential is the cheap rung itself; leave --costs out, or give "
            "an expensive oracle, such as table:FILE or module:factory"
        )
    return LadderOracle(oracle, potential_oracle())


def check_oracle(oracle: Oracle, reference: Reference, config: CampaignConfig) -> None:
    """Refuse an oracle whose energies the reference's hull cannot take.

    Raises:
        ConfigError: another scheme, and no energies above hull with the labels.
    """
    gives_hull_energies = bool(getattr(oracle, "gives_energy_above_hull", False))
    if oracle.scheme in ("", reference.scheme) or gives_hull_energies:
        return
    raise ConfigError(
        f"the oracle {config.oracle} gives energies of scheme {oracle.scheme!r}, --reference {config.reference} holds "
        f"{reference.scheme!r}: give --reference snapshot:FILE with energies of the oracle's scheme, or labels with a "
        "column energy_above_hull"
    )


def _digest(path: str) -> str:
    """Short content hash of an input file, so that a resumed campaign finds the same."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}: give an existing file") from error
