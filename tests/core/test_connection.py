"""Requests are repeated exactly where nothing can happen twice, and problems keep what the service said."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from discovery.connection import LONGEST_WAIT_S, Connection, retry_after
from discovery.errors import ConfigError, ServiceError


class Script:
    """Answers one after the other; errors are raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.waits = []

    def handle(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connection(self, **options):
        return Connection(
            "http://127.0.0.1:1", transport=httpx.MockTransport(self.handle), sleep=self.waits.append, **options
        )


def refused(status=503, **headers):
    return httpx.Response(status, headers=headers, json={"title": "Busy", "detail": "try again later"})


def fine():
    return httpx.Response(200, json={"ok": True})


def test_refused_requests_wait_as_long_as_the_service_says():
    script = Script(refused(429, **{"Retry-After": "3"}), refused(), fine())
    assert script.connection().request("POST", "/v1/campaigns", json={}).json() == {"ok": True}
    assert script.waits == [3.0, 1.0]  # then the own time, doubled once


def test_it_gives_up_after_the_retries_with_what_the_service_said():
    script = Script(*[refused() for _ in range(3)])
    with pytest.raises(ServiceError, match="try again later") as caught:
        script.connection(retries=2).request("GET", "/v1/campaigns")
    assert (caught.value.status, caught.value.problem["title"], len(script.requests)) == (503, "Busy", 3)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500, 502])
def test_other_problems_are_not_repeated(status):
    script = Script(httpx.Response(status, json={"detail": "mend it"}))
    with pytest.raises(ServiceError, match="mend it") as caught:
        script.connection().request("GET", "/")
    assert caught.value.status == status
    assert script.waits == []


def test_an_answer_that_is_no_problem_document_is_still_an_error():
    script = Script(httpx.Response(502, text="<html>"))
    with pytest.raises(ServiceError, match=r"Bad Gateway.*502"):
        script.connection().request("GET", "/")


@pytest.mark.parametrize(
    ("method", "safe", "error", "repeated"),
    [
        ("GET", None, httpx.ReadTimeout("slow"), True),
        ("DELETE", None, httpx.ReadError("cut"), True),
        ("POST", None, httpx.ReadTimeout("slow"), False),  # it may have happened
        ("POST", True, httpx.ReadTimeout("slow"), True),
        ("POST", None, httpx.ConnectError("nobody there"), True),  # it cannot have happened
    ],
)
def test_a_broken_connection_is_taken_up_again_only_where_that_is_safe(method, safe, error, repeated):
    script = Script(error, fine())
    if repeated:
        assert script.connection().request(method, "/", safe=safe).json() == {"ok": True}
    else:
        with pytest.raises(ServiceError, match="no answer"):
            script.connection().request(method, "/", safe=safe)
    assert len(script.requests) == 1 + repeated


def test_the_token_goes_with_every_request():
    script = Script(fine())
    script.connection(token="s3cret").request("GET", "/")
    assert script.requests[0].headers["Authorization"] == "Bearer s3cret"


def test_retry_after_may_be_a_date_and_is_bounded():
    def seconds(text):
        return retry_after(httpx.Response(503, headers={"Retry-After": text}), 7.0)

    assert 25 < seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=30))) <= 30
    assert seconds(format_datetime(datetime.now(UTC) - timedelta(hours=1))) == 0
    assert seconds("86400") == LONGEST_WAIT_S
    assert seconds("soon") == 7.0


def test_an_address_without_a_scheme_is_refused():
    with pytest.raises(ConfigError, match="give one such as"):
        Connection("localhost:8000")
