"""What the service refuses, with the status that HTTP has for it.

DiscoveryError
└── Problem                    an answer that is no success
    ├── UnauthorizedError      401, no token or an unknown one
    ├── ForbiddenError         403, a token that may not do this
    ├── NotFoundError          404
    ├── ConflictError          409, not in this state
    ├── TooLargeError          413
    ├── TooManyError           429, the client's share is used up
    └── BusyError              503, the service's capacity is used up
"""

from __future__ import annotations

from discovery.errors import DiscoveryError


class Problem(DiscoveryError):  # noqa: N818 - the name of the standard
    """An answer with a status of its own."""

    status = 500

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {}


class UnauthorizedError(Problem):
    """No token, or an unknown one."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """How to authenticate."""
        return {"WWW-Authenticate": 'Bearer realm="discovery"'}


class ForbiddenError(Problem):
    """Not with this token, or not from there."""

    status = 403


class NotFoundError(Problem):
    """There is no such thing."""

    status = 404


class ConflictError(Problem):
    """Not in the present state."""

    status = 409


class TooLargeError(Problem):
    """The request's body is beyond the limit."""

    status = 413


class TooManyError(Problem):
    """The client asks for more than its share."""

    status = 429
    retry_after_s = 1

    @property
    def headers(self) -> dict[str, str]:
        """When to try again."""
        return {"Retry-After": str(self.retry_after_s)}


class BusyError(TooManyError):
    """The service is at work for others, or not ready yet."""

    status = 503
    retry_after_s = 2
