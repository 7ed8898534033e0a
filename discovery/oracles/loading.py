"""Oracles by name: the option --oracle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discovery.errors import ConfigError, OracleError
from discovery.oracles.base import Oracle
from discovery.oracles.external import EXTERNAL, ExternalOracle
from discovery.oracles.potential import PotentialOracle
from discovery.oracles.table import TableOracle
from discovery.reference.base import Reference
from discovery.structures.potentials import CHGNET_SCHEME, call_factory, is_calculator, potential_from

CHOICES = "chgnet, table:FILE, or module:factory"


def load_oracle(name: str, reference: Reference, scheme: str | None = None) -> Oracle:
    """The oracle of the option --oracle; CHGNet itself is loaded at its first use.

    Args:
        name: ``chgnet``; ``table:FILE``; ``external``, which answers through the service alone; or ``module:factory``,
            where the factory takes no argument and returns an ASE calculator (its attribute `scheme` names its
            energies, else the option's text does) or an `Oracle`.
        reference: gives the elemental references, where it is of the potential's scheme.
        scheme: of table rows that name none (the option --scheme).

    Raises:
        ConfigError: no such oracle; the message lists the choices.
        OracleError: a factory that cannot be used.
        DataError: an unreadable table.
    """
    kind, _, rest = name.partition(":")
    if name == "chgnet":
        return PotentialOracle("chgnet", _elemental_references(CHGNET_SCHEME, reference))
    if name == EXTERNAL:
        return ExternalOracle()
    if kind == "table" and rest:
        return TableOracle(Path(rest), scheme)
    if not rest:
        raise ConfigError(f"no oracle {name!r}: choose {CHOICES}")
    return _from_factory(name, reference)


def potential_oracle() -> PotentialOracle:
    """CHGNet with the shipped elemental references, loaded at its first use: the cheap rung of every ladder."""
    from discovery.reference.builtin import load_builtin

    return PotentialOracle("chgnet", load_builtin().elemental_references)


def _from_factory(name: str, reference: Reference) -> Oracle:
    made = call_factory(name)
    if is_calculator(made):
        potential = potential_from(name, made)
        return PotentialOracle(name, _elemental_references(potential.scheme, reference), potential)
    if _is_oracle(made):
        return made  # type: ignore[no-any-return]
    raise OracleError(
        f"{name} gave a {type(made).__name__}: return an ASE calculator, or an object with name, scheme, can_measure "
        "and measure"
    )


def _is_oracle(thing: Any) -> bool:
    return all(hasattr(thing, attribute) for attribute in ("name", "scheme", "can_measure", "measure"))


def _elemental_references(scheme: str, reference: Reference) -> Mapping[str, float] | None:
    """Of the reference where it has the scheme, of the shipped table where that has; None: to be computed."""
    if scheme == reference.scheme and reference.elemental_references:
        return reference.elemental_references
    if scheme == CHGNET_SCHEME:
        from discovery.reference.builtin import load_builtin

        return load_builtin().elemental_references
    return None
