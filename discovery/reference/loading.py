"""References by name."""

from __future__ import annotations

from pathlib import Path

from discovery.errors import ConfigError
from discovery.reference.base import Reference
from discovery.reference.builtin import load_builtin
from discovery.reference.snapshot import load_snapshot

CHOICES = "builtin or snapshot:FILE"


def load_reference(name: str, scheme: str | None = None, completed: bool = True) -> Reference:
    """The reference of the option --reference.

    Args:
        name: ``builtin``, or ``snapshot:FILE``.
        scheme: of a snapshot's rows that name none (the option --scheme); the builtin reference has its own.
        completed: see `load_builtin`.

    Raises:
        ConfigError: no such reference; the message lists the choices.
        SchemeError: a snapshot without a scheme, or of several.
        DataError: its file cannot be read.
    """
    kind, _, path = name.partition(":")
    if kind == "snapshot" and path:
        return load_snapshot(Path(path), scheme)
    if name != "builtin":
        raise ConfigError(f"no reference {name!r}: choose {CHOICES}")
    return load_builtin(completed)
