"""Requests to the HTTP service: retried where nothing can happen twice, problems as `ServiceError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from discovery.errors import ConfigError, ServiceError

REFUSED = frozenset({429, 503})  # the service did nothing: safe to repeat, whatever the method
FIRST_WAIT_S = 0.5  # before the first repetition, where the service names no time; doubled each time
LONGEST_WAIT_S = 60.0  # also where the service names a longer time


class Connection:
    """One service at one address; use it in a ``with`` block.

    Args:
        url: such as ``http://127.0.0.1:8000``.
        token: bearer token; None where the service asks for none.
        timeout_s: of one answer.
        retries: repetitions of a request that was refused for now (429, 503) or, where it is safe, was not answered.
        transport: of httpx; for tests.
        sleep: waits for seconds; for tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is no address of a service: give one such as http://127.0.0.1:8000")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        self._retries = retries
        self._sleep = sleep

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def request(self, method: str, path: str, *, safe: bool | None = None, **options: Any) -> httpx.Response:
        """A successful answer.

        Args:
            method: of HTTP.
            path: below the service's address.
            safe: repeating the request changes nothing, so it may be repeated after a broken connection; by default
                that of GET and DELETE.
            options: of httpx, such as `json` and `params`.

        Raises:
            ServiceError: the service's problem, or no answer.
        """
        repeatable = method in ("GET", "DELETE") if safe is None else safe
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            wait = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S)
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if last or not (never_sent or repeatable):
                    raise self._unanswered(error) from error
            else:
                if answer.is_success:
                    return answer
                if last or answer.status_code not in REFUSED:
                    raise problem_of(answer)
                wait = retry_after(answer, wait)
            self._sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def lines(self, path: str, headers: dict[str, str]) -> Iterator[str]:
        """Lines of an answer as they arrive, until the service ends it; no time limit between them."""
        try:
            with self._http.stream("GET", path, headers=headers, timeout=httpx.Timeout(None, connect=10.0)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise problem_of(answer)
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: httpx.TransportError) -> ServiceError:
        return ServiceError(
            f"no answer from {self._http.base_url} ({error or type(error).__name__}): start it with `make serve`, "
            "or name another address"
        )


def problem_of(answer: httpx.Response) -> ServiceError:
    """The error that an answer describes."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    problem = body if isinstance(body, dict) else {}
    detail = problem.get("detail") or problem.get("title") or answer.reason_phrase
    return ServiceError(f"{detail} (HTTP {answer.status_code})", answer.status_code, problem)


def retry_after(answer: httpx.Response, otherwise: float) -> float:
    """Seconds that the header Retry-After asks for (a number or a date), at most `LONGEST_WAIT_S`."""
    text = answer.headers.get("Retry-After", "").strip()
    if not text:
        return otherwise
    if text.isdigit():
        return min(float(text), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return otherwise
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((aware - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT_S)
