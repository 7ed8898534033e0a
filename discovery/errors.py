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
├── LedgerError                a damaged or foreign campaign database, or one of another campaign
└── OracleError                an oracle that cannot work at all (one candidate's failure is a `Failure`, not an error)
"""


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


class LedgerError(DiscoveryError):
    """A campaign database that is damaged, foreign, or holds another campaign."""


class OracleError(DiscoveryError):
    """An oracle that cannot be started."""
