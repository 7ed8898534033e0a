"""Errors over HTTP: problem details (RFC 9457) that say what to do next."""

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
from serve.errors import Problem

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("discovery.serve")


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
