"""The oracle outside: a laboratory, a DFT queue or a person, which is asked and tells through the service."""

from __future__ import annotations

from discovery.errors import OracleError
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement

EXTERNAL = "external"


class ExternalOracle:
    """Can measure everything, but not from here."""

    name = EXTERNAL
    scheme = ""  # each label names its own

    def can_measure(self, formula: str) -> bool:  # noqa: ARG002 - the Protocol's signature
        """Always True: what cannot be measured is told as a failure."""
        return True

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:  # noqa: ARG002
        """Refuse.

        Raises:
            OracleError: always.
        """
        raise OracleError(f"{formula} is to be measured outside: ask for it and tell its energy through the service")
