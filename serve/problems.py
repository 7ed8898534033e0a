"""Errors over HTTP: problem details (RFC 9457) that say what to do next.

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

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from discovery.errors import DiscoveryError, LedgerError

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("discovery.serve")


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


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[Mapping[str, Any]] = ()
) -> Response:
    """An answer with problem details.

    Args:
        status: of HTTP.
        detail: what is wrong and what to do next.
        headers: further headers.
        errors: one entry per wrong field of the request.
    """
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body["detail"] = detail
    if errors:
        body["errors"] = list(errors)
    return Response(json.dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def of_error(error: DiscoveryError) -> Response:
    """The answer for one of our errors."""
    if isinstance(error, Problem):
        return problem(error.status, str(error), error.headers)
    if isinstance(error, LedgerError):
        LOG.error("ledger: %s", error)
        return problem(500, str(error))
    return problem(422, str(error))


def install(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    @app.exception_handler(DiscoveryError)
    async def _ours(_: Request, error: DiscoveryError) -> Response:
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [{"at": ".".join(map(str, item["loc"])), "message": str(item["msg"])} for item in error.errors()]
        first = errors[0]
        return problem(422, f"{first['at']}: {first['message']}; see /docs for what is expected", errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        advice = {404: "there is nothing here; /docs lists what there is", 405: "use the method that /docs names"}
        return problem(error.status_code, advice.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
        return problem(500, "a defect of the service; its log has the details: please report it")
