"""Tokens, rates and queues."""

from __future__ import annotations

import pytest

from discovery.errors import ConfigError
from serve.errors import BusyError, TooManyError
from serve.limits import Gate, RateLimiter
from serve.security import check_bind, is_loopback
from serve.settings import Settings
from serve.tokens import Tokens
from tests.serving import READ, WRITE, settings


def test_tokens_have_roles_and_are_kept_as_hashes() -> None:
    tokens = Tokens.parse(f" read:{READ}, write:{WRITE}")
    assert (tokens.role(READ), tokens.role(WRITE), tokens.role(READ + "x"), tokens.role("")) == (
        "read",
        "write",
        None,
        None,
    )
    assert READ not in repr(tokens)
    assert not Tokens.parse("")


@pytest.mark.parametrize("text", ["read:short", f"admin:{READ}", READ, "write:"])
def test_bad_tokens_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="DISCOVERY_API_TOKENS") as caught:
        Tokens.parse(text)
    assert READ not in str(caught.value)


def test_other_addresses_need_tokens(tmp_path: pytest.TempPathFactory) -> None:
    open_to_all = Settings(home=tmp_path)  # type: ignore[arg-type]
    check_bind("127.0.0.1", open_to_all)
    check_bind("::1", open_to_all)
    check_bind("0.0.0.0", settings(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="DISCOVERY_API_TOKENS"):
        check_bind("0.0.0.0", open_to_all)
    assert not is_loopback("example.org")


def test_a_client_that_is_too_quick_has_to_wait() -> None:
    now = [0.0]
    limiter = RateLimiter(rate=2.0, burst=3, clock=lambda: now[0])
    for _ in range(3):
        limiter.check("a")
    with pytest.raises(TooManyError):
        limiter.check("a")
    limiter.check("b")  # others do not wait
    now[0] += 0.5
    limiter.check("a")
    with pytest.raises(TooManyError):
        limiter.check("a")
    now[0] += 100.0
    for _ in range(3):
        limiter.check("a")


def test_a_full_queue_refuses_and_recovers() -> None:
    gate = Gate(requests=2, work=10)
    with gate.admit(4), gate.admit(4):
        with pytest.raises(BusyError), gate.admit(1):
            pass
        assert gate.inside == 2
    with gate.admit(9), pytest.raises(BusyError), gate.admit(2):
        pass
    with gate.admit(1000):  # one that is larger than the queue has its turn
        assert gate.inside == 1
    assert gate.inside == 0


def test_settings_come_from_the_environment(tmp_path: pytest.TempPathFactory) -> None:
    found = Settings.from_environment(
        {
            "DISCOVERY_HOME": str(tmp_path),
            "DISCOVERY_API_TOKENS": f"write:{WRITE}",
            "DISCOVERY_LEASE_SECONDS": "60",
            "DISCOVERY_QUEUE": "7",
            "DISCOVERY_ALLOWED_ORACLES": "a:b, c:d",
        }
    )
    assert found.lease_s == 60.0
    assert found.limits.queue == 7
    assert found.allowed_oracles == {"a:b", "c:d"}
    assert found.tokens.role(WRITE) == "write"
    for name, value in {"RATE": "fast", "QUEUE": "-1", "LEASE_SECONDS": "nan"}.items():
        with pytest.raises(ConfigError, match=f"DISCOVERY_{name}"):
            Settings.from_environment({f"DISCOVERY_{name}": value})
