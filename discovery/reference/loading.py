"""References by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from discovery.constraints import Constraints
from discovery.errors import ConfigError
from discovery.reference.base import Reference
from discovery.reference.builtin import load_builtin
from discovery.reference.selection import Selection
from discovery.reference.snapshot import load_snapshot

CHOICES = "builtin, mp[:Li-Fe-O,...], optimade:URL or snapshot:FILE"


def load_reference(
    name: str,
    scheme: str | None = None,
    completed: bool = True,
    constraints: Constraints | None = None,
    formulas: Sequence[str] = (),
) -> Reference:
    """The reference of the option --reference.

    Args:
        name: ``builtin``; ``mp`` or ``mp:Li-Fe-O,Na-Cl`` (Materials Project); ``optimade:URL``; ``snapshot:FILE``.
        scheme: of a snapshot's rows, or an OPTIMADE provider's energies, that name none (the option --scheme).
        completed: see `load_builtin`.
        constraints: of the candidates; their elements are fetched where the name says nothing of it.
        formulas: candidates that are given; their chemical systems are fetched too.

    Raises:
        ConfigError: no such reference; the message lists the choices.
        SchemeError: energies without a scheme, or of several.
        DataError: its file cannot be read, or the database not be reached.
    """
    kind, _, rest = name.partition(":")
    if name == "builtin":
        return load_builtin(completed)
    if kind == "snapshot" and rest:
        return load_snapshot(Path(rest), scheme)
    if kind == "mp" and (rest or name == "mp"):
        from discovery.reference.materials_project import load_materials_project

        return load_materials_project(Selection.parse(rest) if rest else _wanted(constraints, formulas), name)
    if kind == "optimade" and rest:
        from discovery.reference.optimade import load_optimade

        named = "#" in rest and "systems=" in rest
        return load_optimade(rest, None if named else _wanted(constraints, formulas), scheme)
    raise ConfigError(f"no reference {name!r}: choose {CHOICES}")


def _wanted(constraints: Constraints | None, formulas: Sequence[str]) -> Selection | None:
    """What the candidates need; None where nothing limits them."""
    wanted = None if constraints is None else Selection.of_constraints(constraints)
    return Selection.of_formulas(formulas) | (wanted or Selection()) if formulas else wanted
