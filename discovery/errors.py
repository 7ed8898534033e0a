"""The exception tree.

DiscoveryError                 anything that this package says is wrong; the message names the remedy
├── UsageError                 a wrong call: exit status 2
│   ├── CompositionError       unknown element, unparsable or fractional formula
│   ├── ConstraintError        empty, contradictory or impossible constraint
│   └── ConfigError            an option or a configuration file with a value that cannot be
├── DataError                  a file that cannot be read, or lacks what it must hold
│   ├── SchemeError            energies of different or unnamed schemes
│   ├── WeightsError           a missing, truncated or foreign weight file
│   └── FetchError             a database on the network that cannot be reached, or gives no whole answer
├── ServiceError               the HTTP service turned a request down, or does not answer
├── LedgerError                a damaged or foreign campaign database, or one of another campaign
└── OracleError                an oracle that cannot work at all (one candidate's failure is a `Failure`, not an error)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DiscoveryError(Exception):
    """Root of all errors raised on purpose by this package."""

    exit_status = 1


class UsageError(DiscoveryError):
    """The call was wrong; nothing was done."""

    exit_status = 2


class CompositionError(UsageError):
    """A formula that is no integer composition of known elements."""


class ConstraintError(UsageError):
    """A constraint that no composition can satisfy."""


class ConfigError(UsageError):
    """A configuration value outside of what is possible."""


class DataError(DiscoveryError):
    """A file that cannot be read or lacks what it must hold."""


class SchemeError(DataError):
    """Energies without a scheme, or of schemes that must not meet."""


class WeightsError(DataError):
    """Model weights that are missing, truncated or of another model."""


class FetchError(DataError):
    """A database on the network that cannot be reached, or gives no whole answer."""


class ServiceError(DiscoveryError):
    """What the HTTP service answered in place of a result (problem details, RFC 9457), or that it did not answer.

    Args:
        message: says what to do next; the problem's `detail`.
        status: of HTTP; 0 where no answer came.
        problem: the whole problem document.
    """

    def __init__(self, message: str, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = dict(problem or {})


class LedgerError(DiscoveryError):
    """A campaign database that is damaged, foreign, or holds another campaign."""


class OracleError(DiscoveryError):
    """An oracle that cannot be started."""
