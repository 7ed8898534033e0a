"""How a cluster is found, and what is said where there is none. Nothing here starts Ray."""

from __future__ import annotations

import socket

import pytest
import ray

from actors.cluster import ADDRESS, Cluster, code_environment, connect
from discovery.errors import ConfigError


def test_an_address_where_nothing_listens_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(ADDRESS, f"127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        with pytest.raises(ConfigError, match=r"RAY_ADDRESS.*--local"):
            connect()


@pytest.mark.parametrize(("mode", "told"), [("token", True), ("disabled", False), ("", False)])
def test_the_link_says_how_to_get_a_token_where_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, mode: str, told: bool
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    hint = Cluster(owned=False, dashboard_url="127.0.0.1:8265").dashboard_hint
    assert "http://127.0.0.1:8265" in hint
    assert ("ray get-auth-token" in hint) == told
    assert Cluster(owned=False).dashboard_hint == ""


def test_our_packages_travel_to_other_nodes_unless_the_job_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    modules = code_environment()["py_modules"]
    assert [path.rpartition("/")[2] for path in modules] == ["discovery", "actors", "tune"]
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert code_environment() == {}


def test_a_borrowed_connection_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    shut: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: shut.append("down"))
    with connect():
        pass
    assert shut == []
    with Cluster(owned=True):
        pass
    assert shut == ["down"]
