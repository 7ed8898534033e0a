"""Answers that all routes may give besides their own."""

from __future__ import annotations

from typing import Any

from serve.problems import MEDIA_TYPE
from serve.schemas import ProblemDetails

REASONS = {
    400: "the body is no JSON",
    401: "no token, or an unknown one",
    403: "the token may not do this",
    404: "there is no such thing",
    405: "another method is needed",
    409: "not in the present state",
    413: "the body is too large",
    422: "a value that cannot be",
    429: "more than the client's share",
    500: "a defect of the service",
    503: "no capacity is left, or it is not ready yet",
}
RETRIED = (429, 503)


def _documented(status: int, text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    answer: dict[str, Any] = {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
    if status in RETRIED:
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return answer


PROBLEMS: dict[int | str, dict[str, Any]] = {status: _documented(status, text) for status, text in REASONS.items()}
