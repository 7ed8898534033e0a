"""The service in a thread of this process, with small models, and what a test wants to know of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from discovery.client import Client
from discovery.connection import Connection
from serve.backend import Backend
from serve.tokens import Tokens
from serve.web import make_app
from tests.serving import backend, home

ORACLE = "tests.browser.small_oracle:crystal_oracle"
WAIT_S = 120.0


@dataclass(frozen=True)
class Running:
    """A service that answers at `url`."""

    url: str
    token: str = ""

    def campaign(self, name: str) -> dict[str, Any]:
        """The summary of the campaign with that name."""
        with Client(self.url, self.token) as client:
            return next(one for one in client.campaigns() if one["name"] == name)

    def candidates(self, name: str) -> list[dict[str, Any]]:
        """All its candidates."""
        with Client(self.url, self.token) as client:
            return list(client.candidates(self.campaign(name)["id"]))

    def wait_until(self, campaign: str, status: str) -> None:
        """Wait for a status."""
        deadline = time.monotonic() + WAIT_S
        with Client(self.url, self.token) as client:
            while (found := client.campaign(campaign))["status"] != status:
                assert time.monotonic() < deadline, f"{found['status']}: {found['error']}"
                time.sleep(0.2)


@contextmanager
def running(folder: Path, token: str = "") -> Iterator[Running]:
    """A small service with a home in `folder`; with a token, where one is given, that may write."""
    tokens = Tokens.parse(f"write:{token}" if token else "")
    with serving(backend(home(folder), tokens=tokens, allowed_oracles=frozenset({ORACLE}))) as url:
        yield Running(url, token)


@contextmanager
def serving(made: Backend) -> Iterator[str]:
    """The address of a backend that is served from a thread until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(
        make_app(made), host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with Connection(f"http://127.0.0.1:{port}", retries=20) as connection:
            connection.request("GET", "/readyz")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        made.hosts.close()  # type: ignore[attr-defined]
